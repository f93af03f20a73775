"""The model's service: the Responses API over a blocking or an async client of any kind."""

import asyncio
import inspect
import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.redaction import redact_text
from bighub_langgraph.openai.errors import (
    AdapterConfigurationError,
    ProviderResponseError,
    StreamInterruptedError,
)
from bighub_langgraph.openai.resilience import CircuitBreaker, RetryPolicy, retry_transient
from bighub_langgraph.openai.response_parsing import (
    ModelResponse,
    StreamParser,
    get_field,
    is_response,
    parse_response,
)

Json = dict[str, Any]

ENCRYPTED_REASONING = "reasoning.encrypted_content"


class ResponsesApi:
    """Sends requests to the model's service.

    Each request passes the circuit breaker once. Transient errors are retried in one layer: by the
    client itself where it can, here otherwise.
    """

    def __init__(
        self, client: Any, sdk: "Sdk", timeout: float, retry: RetryPolicy, breaker: CircuitBreaker
    ) -> None:
        self._sdk, self._breaker = sdk, breaker
        if callable(with_options := getattr(client, "with_options", None)):
            # The SDK's own retries honour Retry-After; a second layer would multiply the requests.
            client = with_options(max_retries=retry.attempts - 1, timeout=timeout)
            self._retry, self._extra, self._streams = RetryPolicy(attempts=1), {}, True
        else:
            takes_timeout, self._streams = _accepted_parameters(client.responses.create)
            self._retry, self._extra = retry, {"timeout": timeout} if takes_timeout else {}
        self._client = client
        # Models that do not reason, and refuse requests for encrypted reasoning.
        self._without_encryption: set[str] = set()

    async def respond(
        self, request: Json, *, streaming: bool
    ) -> AsyncGenerator[Json | ModelResponse, None]:
        """Yield the response last, and before it, when streaming, its events.

        Raises:
            ProviderResponseError: The service failed, in any way.
        """
        try:
            with self._breaker:
                if streaming and self._streams:
                    request = {**request, "stream": True}
                answer = await self._send(request)
                if not streaming:
                    yield parse_response(answer)
                elif is_response(answer):
                    response = parse_response(answer)
                    for event in _events_of(response):
                        yield event
                    yield response
                else:
                    async with aclosing(_parse_stream(self._sdk.iterate(answer))) as parts:
                        async for part in parts:
                            yield part
        except (ProviderResponseError, ConfigurationError):
            raise
        except Exception as error:
            raise ProviderResponseError(f"the model's service failed: {_text_of(error)}") from error

    async def _send(self, request: Json) -> Any:
        model = str(request.get("model"))
        include = list(request.get("include") or ())
        may_add = request.get("store") is False and ENCRYPTED_REASONING not in include
        if not may_add or model in self._without_encryption:
            return await self._create(request)
        try:
            return await self._create({**request, "include": [*include, ENCRYPTED_REASONING]})
        except Exception as error:
            if not _refuses_encryption(error):
                raise
        # A model that does not reason refuses the extra field instead of ignoring it.
        answer = await self._create(request)
        self._without_encryption.add(model)
        return answer

    async def _create(self, request: Json) -> Any:
        create = partial(self._client.responses.create, **request, **self._extra)
        return await retry_transient(partial(self._sdk.call, create), self._retry, self._sdk.sleep)


@dataclass(frozen=True, slots=True)
class Sdk:
    """How a blocking or an async client is called.

    Attributes:
        client: The client's name in OpenAI's SDK.
        other_client: The name of the client of the other kind, which cannot be used.
        other_adapter: The class of ours that takes the client of the other kind.
        call: Calls a function of the client.
        iterate: Yields the events of a stream and closes it.
    """

    client: str
    other_client: str
    other_adapter: str
    call: Callable[[Callable[[], Any]], Awaitable[Any]]
    iterate: Callable[[Any], AsyncGenerator[Any, None]]
    sleep: Callable[[float], Awaitable[None]]


def open_model_client(sdk: Sdk, client: Any, api_key: str | None) -> tuple[Any, bool]:
    """Return the user's client or a new one, and whether it is ours to close.

    Raises:
        AdapterConfigurationError: There is no key, or the client cannot be used.
    """
    if client is None:
        if not (api_key or os.environ.get("OPENAI_API_KEY")):
            raise AdapterConfigurationError(
                "no model is configured: pass openai_api_key= or openai_client=, "
                "or set OPENAI_API_KEY"
            )
        import openai

        return getattr(openai, sdk.client)(api_key=api_key), True
    if not callable(getattr(getattr(client, "responses", None), "create", None)):
        raise AdapterConfigurationError(f"openai_client has no responses.create: {client!r:.80}")
    # Looked up, not imported: code that passes one of OpenAI's clients has imported it.
    if isinstance(client, getattr(sys.modules.get("openai"), sdk.other_client, ())):
        raise AdapterConfigurationError(
            f"openai_client is an openai.{sdk.other_client}: pass it to {sdk.other_adapter}"
        )
    return client, False


async def _call_blocking(create: Callable[[], Any]) -> Any:
    answer = create()
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise AdapterConfigurationError(
            "openai_client is an asynchronous client; pass it to AsyncBighubOpenAI instead"
        )
    return answer


async def _call_async(create: Callable[[], Any]) -> Any:
    answer = create()
    return await answer if inspect.isawaitable(answer) else answer


async def _iterate_blocking(events: Any) -> AsyncGenerator[Any, None]:
    try:
        for event in events:
            yield event
    finally:
        if close := get_field(events, "close"):
            close()


async def _iterate_async(events: Any) -> AsyncGenerator[Any, None]:
    try:
        async for event in events:
            yield event
    finally:
        if close := get_field(events, "close") or get_field(events, "aclose"):
            await close()


async def _sleep_blocking(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251 - the blocking side has no loop to keep waiting


BLOCKING_SDK = Sdk(
    "OpenAI",
    "AsyncOpenAI",
    "AsyncBighubOpenAI",
    _call_blocking,
    _iterate_blocking,
    _sleep_blocking,
)
ASYNC_SDK = Sdk("AsyncOpenAI", "OpenAI", "BighubOpenAI", _call_async, _iterate_async, asyncio.sleep)


def _accepted_parameters(create: Callable[..., Any]) -> tuple[bool, bool]:
    """Return whether a client takes a timeout, and whether it can stream."""
    try:
        parameters = inspect.signature(create).parameters
    except (TypeError, ValueError):
        return False, True
    if any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values()):
        return True, True
    return "timeout" in parameters, "stream" in parameters


async def _parse_stream(
    raw_events: AsyncGenerator[Any, None],
) -> AsyncGenerator[Json | ModelResponse, None]:
    parser = StreamParser()
    async with aclosing(raw_events) as events:
        try:
            async for raw in events:
                if event := parser.parse(raw):
                    yield event
        except ProviderResponseError:
            raise
        except Exception as error:
            raise StreamInterruptedError(f"the stream broke: {_text_of(error)}") from error
    if parser.response is None:
        raise StreamInterruptedError("the stream ended before the response was complete")
    yield parse_response(parser.response)


def _events_of(response: ModelResponse) -> list[Json]:
    """Return the events of a response from a client that does not stream."""
    done: Json = {
        "type": "response_done",
        "status": response.status,
        "response_id": response.id,
    }
    delta: Json = {"type": "llm_delta", "delta": response.text, "response_id": response.id}
    return [delta, done] if response.text else [done]


def _refuses_encryption(error: Exception) -> bool:
    message = str(error).lower()
    is_refusal = get_field(error, "status_code") in {400, 422}
    return is_refusal and ("encrypted" in message or "include" in message)


def _text_of(error: Exception) -> str:
    return f"{type(error).__name__}: {redact_text(str(error))}"
