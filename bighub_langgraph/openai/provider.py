"""One answer of the model: asked for once, through the circuit breaker, streamed or whole."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.redaction import redact_text
from bighub_langgraph.openai.breaker import Breaker
from bighub_langgraph.openai.errors import BrokenStream, ProviderResponseError
from bighub_langgraph.openai.replies import Reply, attribute, read_reply
from bighub_langgraph.openai.service import Service, is_response
from bighub_langgraph.openai.streaming import Stream, translated

__all__ = ["ENCRYPTED_REASONING", "Provider"]

log = logging.getLogger("bighub_langgraph")
Json = dict[str, Any]

ENCRYPTED_REASONING = "reasoning.encrypted_content"


@dataclass(frozen=True, slots=True)
class Provider:
    """The model's service, with what was learnt of it.

    Attributes:
        without_encryption: Models that do not reason and refuse to be asked for encrypted
            reasoning.
    """

    service: Service
    breaker: Breaker
    without_encryption: set[str] = field(default_factory=set)

    async def answer(self, request: Json) -> Reply:
        """Ask the model and wait for the whole answer."""
        try:
            with self.breaker.request():
                return read_reply(await self._asked(self.service.create, request))
        except _OURS:
            raise
        except Exception as error:
            raise _fault(error) from error

    async def stream(self, request: Json) -> AsyncGenerator[Json | Reply, None]:
        """Ask the model; give the events of its answer as they come, and the whole answer last."""
        try:
            with self.breaker.request():
                answer = await self._asked(self.service.open, request)
                async with aclosing(_events(answer)) as parts:
                    async for part in parts:
                        yield part
        except _OURS:
            raise
        except Exception as error:
            raise _fault(error) from error

    async def _asked(self, ask: Callable[[Json], Awaitable[Any]], request: Json) -> Any:
        model = str(request.get("model"))
        if request.get("store") is not False or model in self.without_encryption:
            return await ask(request)
        try:
            return await ask(_encrypted(request))
        except Exception as error:
            if not _refuses_encryption(error) or _encrypted(request) == request:
                raise
        # Models that do not reason refuse the wish for encrypted reasoning instead of ignoring it.
        answer = await ask(request)
        self.without_encryption.add(model)
        return answer


_OURS = (ProviderResponseError, ConfigurationError)


def _fault(error: Exception) -> ProviderResponseError:
    """One error of ours for whatever a client may raise."""
    return ProviderResponseError(f"the model's service failed: {_told(error)}")


async def _events(answer: Any) -> AsyncGenerator[Json | Reply, None]:
    if is_response(answer):
        for part in _at_once(read_reply(answer)):
            yield part
        return
    stream = Stream()
    async with aclosing(answer) as events:
        try:
            async for raw in events:
                _refuse_error(raw)
                if said := translated(raw, stream):
                    yield said
        except ProviderResponseError:
            raise
        except Exception as error:
            raise BrokenStream(f"the stream broke: {_told(error)}") from error
    if stream.final is None:
        raise BrokenStream("the stream ended before the answer was complete")
    yield read_reply(stream.final)


def _refuse_error(raw: Any) -> None:
    if attribute(raw, "type") == "error":
        raise BrokenStream(f"the stream reports an error: {_told(attribute(raw, 'message'))}")


def _at_once(reply: Reply) -> Iterator[Json | Reply]:
    if reply.text:
        yield {"type": "llm_delta", "delta": reply.text, "response_id": reply.id}
    yield {"type": "response_done", "status": reply.status, "response_id": reply.id}
    yield reply


def _encrypted(request: Json) -> Json:
    include = list(request.get("include") or ())
    if ENCRYPTED_REASONING in include:
        return request
    return {**request, "include": [*include, ENCRYPTED_REASONING]}


def _refuses_encryption(error: Exception) -> bool:
    told = str(error).lower()
    refused = attribute(error, "status_code") in {400, 422}
    return refused and any(word in told for word in ("encrypted", "include"))


def _told(error: Any) -> str:
    text = redact_text(str(error))
    return f"{type(error).__name__}: {text}" if isinstance(error, Exception) else text
