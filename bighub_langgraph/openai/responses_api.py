"""The model's service: the Responses API over a blocking or an async client of any kind."""

import asyncio
import inspect
import os
import sys
import time
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from bighub_langgraph.circuit_breaker import CircuitBreaker
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.jsonable import short_repr
from bighub_langgraph.core.redaction import redact_exception, redact_text
from bighub_langgraph.openai.errors import (
    AdapterConfigurationError,
    ProviderResponseError,
    StreamInterruptedError,
)
from bighub_langgraph.openai.resilience import RetryPolicy, retry_transient
from bighub_langgraph.openai.response_parsing import (
    ModelResponse,
    get_field,
    is_response,
    parse_response,
)
from bighub_langgraph.openai.stream_parsing import StreamParser

Json = dict[str, Any]

ENCRYPTED_REASONING = "reasoning.encrypted_content"

# For clients that we open; `RETRIES` also for those that do not retry themselves.
TIMEOUT = 30.0  # seconds
RETRIES = 2


class ResponsesApi:
    """Sends requests to the model's service.

    Each request passes the circuit breaker once. Transient errors are retried in one layer: by the
    client itself where it can, here otherwise.

    Attributes:
        opened_client: The client, where none was passed; it is ours to close.
        sdk_client: The client of OpenAI's SDK that can be used.
        other_sdk_client: The client that cannot, but in `other_adapter`.
    """

    sdk_client: ClassVar[str]
    other_sdk_client: ClassVar[str]
    other_adapter: ClassVar[str]

    def __init__(
        self,
        client: Any,
        *,
        api_key: str | None,
        timeout: float | None,
        max_retries: int | None,
        retry: RetryPolicy,
        breaker: CircuitBreaker,
    ) -> None:
        self.opened_client: Any = None
        if client is None:
            client = self.opened_client = self._open_client(api_key)
            timeout = TIMEOUT if timeout is None else timeout
        self._client: Any = client
        self._check_client()
        self._breaker = breaker
        retries = RETRIES if max_retries is None else max_retries
        self._retry = replace(retry, attempts=retries + 1)
        if callable(with_options := getattr(client, "with_options", None)):
            # The SDK's own retries honour Retry-After; a second layer would multiply the requests.
            self._retry = replace(retry, attempts=1)
            # A copy loses what was patched onto the user's object, such as tracing.
            if max_retries not in {None, getattr(client, "max_retries", None)}:
                self._client = with_options(max_retries=max_retries)
        takes_timeout, self._streams = _accepted_parameters(self._client.responses.create)
        self._extra = {"timeout": timeout} if takes_timeout and timeout is not None else {}
        # Models that do not reason, and refuse requests for encrypted reasoning.
        self._without_encryption: set[str] = set()

    @abstractmethod
    async def _call(self, create: Callable[[], Any]) -> Any:
        """Call a function of the client."""

    @abstractmethod
    def _iterate(self, events: Any) -> AsyncGenerator[Any, None]:
        """Yield the events of a stream, and close it."""

    @abstractmethod
    async def _sleep(self, seconds: float) -> None:
        """Wait between two attempts."""

    async def respond(self, request: Json) -> ModelResponse:
        """Return the response.

        Raises:
            ProviderResponseError: The service failed, in any way.
        """
        with _SERVICE_FAILURES, self._breaker:
            return parse_response(await self._send(request))

    async def stream(self, request: Json) -> AsyncGenerator[Json | ModelResponse, None]:
        """Yield the events of the response, and the response last.

        Raises:
            ProviderResponseError: The service failed, in any way.
        """
        with _SERVICE_FAILURES, self._breaker:
            if self._streams:
                request = {**request, "stream": True}
            answer = await self._send(request)
            if is_response(answer):
                response = parse_response(answer)
                for event in _events_of(response):
                    yield event
                yield response
            else:
                async with aclosing(_parse_stream(self._iterate(answer))) as parts:
                    async for part in parts:
                        yield part

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
        create = partial(self._client.responses.create, **{**self._extra, **request})
        return await retry_transient(partial(self._call, create), self._retry, self._sleep)

    def _open_client(self, api_key: str | None) -> Any:
        if not (api_key or os.environ.get("OPENAI_API_KEY")):
            raise AdapterConfigurationError(
                "no model is configured: pass openai_api_key= or openai_client=, "
                "or set OPENAI_API_KEY"
            )
        import openai

        return getattr(openai, self.sdk_client)(api_key=api_key, max_retries=RETRIES)

    def _check_client(self) -> None:
        client = self._client
        if not callable(getattr(getattr(client, "responses", None), "create", None)):
            name = redact_text(short_repr(client))
            raise AdapterConfigurationError(f"openai_client has no responses.create: {name}")
        # Looked up, not imported: code that passes one of OpenAI's clients has imported it.
        if isinstance(client, getattr(sys.modules.get("openai"), self.other_sdk_client, ())):
            raise AdapterConfigurationError(
                f"openai_client is an openai.{self.other_sdk_client}: "
                f"pass it to {self.other_adapter}"
            )


class BlockingResponsesApi(ResponsesApi):
    """The service over a blocking client, for code without an event loop."""

    sdk_client, other_sdk_client = "OpenAI", "AsyncOpenAI"
    other_adapter = "AsyncBighubOpenAI"

    async def _call(self, create: Callable[[], Any]) -> Any:
        answer = create()
        if inspect.isawaitable(answer):
            if inspect.iscoroutine(answer):
                answer.close()
            raise AdapterConfigurationError(
                "openai_client is an asynchronous client; pass it to AsyncBighubOpenAI instead"
            )
        return answer

    async def _iterate(self, events: Any) -> AsyncGenerator[Any, None]:
        try:
            for event in events:
                yield event
        finally:
            if close := get_field(events, "close"):
                close()

    async def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - the blocking side has no loop to keep waiting


class AsyncResponsesApi(ResponsesApi):
    """The service over an async client."""

    sdk_client, other_sdk_client = "AsyncOpenAI", "OpenAI"
    other_adapter = "BighubOpenAI"

    async def _call(self, create: Callable[[], Any]) -> Any:
        answer = create()
        return await answer if inspect.isawaitable(answer) else answer

    async def _iterate(self, events: Any) -> AsyncGenerator[Any, None]:
        try:
            async for event in events:
                yield event
        finally:
            if close := get_field(events, "close") or get_field(events, "aclose"):
                await close()

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _ServiceFailures:
    """Raises whatever a client raises as `ProviderResponseError`."""

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Exception) and not isinstance(
            error, ProviderResponseError | ConfigurationError
        ):
            message = f"the model's service failed: {redact_exception(error)}"
            raise ProviderResponseError(message) from error


_SERVICE_FAILURES = _ServiceFailures()


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
            raise StreamInterruptedError(f"the stream broke: {redact_exception(error)}") from error
    if parser.response is None:
        raise StreamInterruptedError("the stream ended before the response was complete")
    yield parser.response


def _events_of(response: ModelResponse) -> list[Json]:
    """Return the events of a response from a client that does not stream."""
    done_event: Json = {
        "type": "response_done",
        "status": response.status,
        "response_id": response.id,
    }
    delta_event: Json = {"type": "llm_delta", "delta": response.text, "response_id": response.id}
    return [delta_event, done_event] if response.text else [done_event]


def _refuses_encryption(error: Exception) -> bool:
    message = str(error).lower()
    is_refusal = get_field(error, "status_code") in {400, 422}
    return is_refusal and ("encrypted" in message or "include" in message)
