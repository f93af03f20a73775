"""The Responses API behind a port of two functions, over a blocking and an asynchronous client."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from bighub_langgraph.openai.errors import AdapterConfigurationError
from bighub_langgraph.openai.replies import attribute
from bighub_langgraph.openai.retries import Retry, retried

__all__ = ["Service", "async_service", "blocking_service", "is_response"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Service:
    """The model's service.

    Attributes:
        create: Asks and waits for the whole answer.
        open: Asks for a streamed answer: its events, for the caller to close; or the whole
            answer at once, from a client that does not stream.
    """

    create: Callable[[Json], Awaitable[Any]]
    open: Callable[[Json], Awaitable[Any]]


def blocking_service(client: Any, *, timeout: float, retry: Retry) -> Service:
    """Stand in front of `openai.OpenAI`, or of anything with its `responses.create`."""
    client, retry = _tuned(client, timeout, retry)

    async def sleep(seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - the blocking side has no loop to keep waiting

    async def asked(request: Json) -> Any:
        answer = client.responses.create(**_accepted(client, request, timeout))
        if inspect.isawaitable(answer):
            _discard(answer)
            raise AdapterConfigurationError(
                "openai_client is an asynchronous client; pass it to AsyncBighubOpenAI instead"
            )
        return answer

    def create(request: Json) -> Awaitable[Any]:
        return retried(partial(asked, request), retry, sleep)

    async def open_stream(request: Json) -> Any:
        answer = await create({**request, "stream": True})
        return answer if is_response(answer) else _walked(answer)

    return Service(create, open_stream)


def async_service(client: Any, *, timeout: float, retry: Retry) -> Service:
    """Stand in front of `openai.AsyncOpenAI`, or of anything with its `responses.create`."""
    client, retry = _tuned(client, timeout, retry)

    async def asked(request: Json) -> Any:
        answer = client.responses.create(**_accepted(client, request, timeout))
        return await answer if inspect.isawaitable(answer) else answer

    def create(request: Json) -> Awaitable[Any]:
        return retried(partial(asked, request), retry, asyncio.sleep)

    async def open_stream(request: Json) -> Any:
        answer = await create({**request, "stream": True})
        return answer if is_response(answer) else _awaited(answer)

    return Service(create, open_stream)


def is_response(answer: Any) -> bool:
    """Say whether a client that was asked to stream gave the whole answer instead."""
    iterates = hasattr(answer, "__next__") or hasattr(answer, "__anext__")
    return not iterates and attribute(answer, "output") is not None


async def _walked(events: Any) -> AsyncIterator[Any]:
    try:
        for event in events:
            yield event
    finally:
        if close := attribute(events, "close"):
            close()


async def _awaited(events: Any) -> AsyncIterator[Any]:
    try:
        async for event in events:
            yield event
    finally:
        if close := attribute(events, "close") or attribute(events, "aclose"):
            await close()


def _tuned(client: Any, timeout: float, retry: Retry) -> tuple[Any, Retry]:
    if callable(options := getattr(client, "with_options", None)):
        # Its own retries honour Retry-After; a second layer around them would multiply the
        # requests.
        return options(max_retries=retry.attempts - 1, timeout=timeout), Retry(attempts=1)
    return client, retry


def _accepted(client: Any, request: Json, timeout: float) -> Json:
    """Leave out `stream` for a client that cannot, and give a timeout to one that takes it."""
    if callable(getattr(client, "with_options", None)):
        return request
    create = client.responses.create
    timed, streams = _takes(getattr(create, "__func__", create))
    if timed:
        request = {**request, "timeout": timeout}
    return request if streams else {k: v for k, v in request.items() if k != "stream"}


@lru_cache(maxsize=64)
def _takes(create: Callable[..., Any]) -> tuple[bool, bool]:
    """Whether a client takes a timeout, and whether it streams."""
    try:
        parameters = inspect.signature(create).parameters
    except (TypeError, ValueError):
        return False, True
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return True, True
    return "timeout" in parameters, "stream" in parameters


def _discard(answer: Any) -> None:
    if inspect.iscoroutine(answer):
        answer.close()
