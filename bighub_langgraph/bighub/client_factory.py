"""From what a user passes as `bighub=` to the clients a guard asks."""

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from bighub_langgraph.bighub.sdk_engine import build_engine
from bighub_langgraph.concurrency import background_loop, call_in_thread, detects_blocking_calls
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.ports import EnginePort

ACCEPTED = (
    '"local" for the embedded engine, the URL of its database, the https URL of a BIGHUB service, '
    "a client with the SDK's methods, or a pair of a blocking and an async client"
)
TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class EngineClients:
    """The clients a guard asks; at least one of the two is there.

    Attributes:
        opened: Whether we opened them, and so close them.
    """

    blocking: Any = None
    asynchronous: Any = None
    opened: bool = False

    def engine(self, retries: int) -> EnginePort:
        """An engine for a caller without an event loop."""
        client = self.blocking if self.blocking is not None else self.asynchronous
        call = _here if self.blocking is not None else _on_background_loop
        return build_engine(client, call, retries=retries, sleep=_sleep)

    def aengine(self, retries: int) -> EnginePort:
        """An engine for coroutines."""
        if self.asynchronous is not None:
            return build_engine(self.asynchronous, _awaited, retries=retries, sleep=asyncio.sleep)
        # The embedded engine too, unless it is in memory: no event loop may wait for a database.
        near = bool(getattr(self.blocking, "never_waits", False))
        call = _here_unless_watched if near else _in_thread
        found = build_engine(self.blocking, call, retries=retries, sleep=asyncio.sleep)
        return replace(found, immediate=found.immediate and near)

    def close(self) -> None:
        """Close the clients that we opened."""
        if not self.opened:
            return
        if self.blocking is not None:
            self.blocking.close()
        if self.asynchronous is not None:
            closing = self.asynchronous.close()
            if inspect.isawaitable(closing):
                background_loop().run(_wait_for(closing))


def open_clients(
    bighub: Any = None, *, api_key: str | None = None, retries: int = 2
) -> EngineClients:
    """Open or take the clients a user means; with nothing at all, the environment's."""
    if bighub is None:
        return _from_environment(api_key, retries)
    if isinstance(bighub, str):
        return _from_text(bighub, api_key, retries)
    if isinstance(bighub, tuple):
        return _from_pair(bighub)
    return (
        EngineClients(asynchronous=bighub)
        if is_async_client(bighub)
        else EngineClients(blocking=bighub)
    )


def is_async_client(client: Any) -> bool:
    """Whether a client's methods are coroutines; refuses what has no methods of BIGHUB's."""
    actions = getattr(client, "actions", None)
    methods = [getattr(actions, name, None) for name in ("submit", "submit_payload")]
    methods.append(getattr(getattr(client, "decisions", None), "evaluate", None))
    found = [method for method in methods if callable(method)]
    if not found:
        raise ConfigurationError(f"bighub={client!r} cannot be asked; pass {ACCEPTED}")
    return any(map(inspect.iscoroutinefunction, found))


def _from_environment(api_key: str | None, retries: int) -> EngineClients:
    key = api_key or os.environ.get("BIGHUB_API_KEY")
    url = os.environ.get("BIGHUB_BASE_URL")
    if not key and not url:
        raise ConfigurationError(
            "no BIGHUB to ask: set BIGHUB_API_KEY (and BIGHUB_BASE_URL for a service of your own), "
            'or pass bighub="local" to decide without an account'
        )
    return _remote(url, key, retries)


def _from_text(text: str, api_key: str | None, retries: int) -> EngineClients:
    if text == "local":
        return _embedded("sqlite://")
    scheme = text.partition("://")[0]
    if scheme.startswith(("sqlite", "postgresql")):
        return _embedded(text)
    if scheme in {"https", "http"}:
        return _remote(text, api_key or os.environ.get("BIGHUB_API_KEY"), retries)
    raise ConfigurationError(f"bighub={text!r} is not understood; pass {ACCEPTED}")


def _from_pair(pair: tuple[Any, ...]) -> EngineClients:
    blocking = [one for one in pair if not is_async_client(one)]
    asynchronous = [one for one in pair if is_async_client(one)]
    if len(blocking) != 1 or len(asynchronous) != 1:
        raise ConfigurationError("a pair of clients is one blocking and one async client")
    return EngineClients(blocking[0], asynchronous[0])


def _embedded(url: str) -> EngineClients:
    from bighub_langgraph.local import LocalBighub

    return EngineClients(LocalBighub(url), opened=True)


def _remote(url: str | None, api_key: str | None, retries: int) -> EngineClients:
    from bighub import AsyncBighubClient, BighubClient

    options: dict[str, Any] = {"api_key": api_key, "timeout": TIMEOUT, "max_retries": retries}
    if url:
        options["base_url"] = url
    try:
        return EngineClients(BighubClient(**options), AsyncBighubClient(**options), opened=True)
    except ValueError as error:
        raise ConfigurationError(f"bighub={url!r}: {error}") from error


async def _here(method: Callable[..., Any], *args: Any, **fields: Any) -> Any:
    return _called(method, *args, **fields)


async def _here_unless_watched(method: Callable[..., Any], *args: Any, **fields: Any) -> Any:
    call = _in_thread if detects_blocking_calls() else _here
    return await call(method, *args, **fields)


async def _in_thread(method: Callable[..., Any], *args: Any, **fields: Any) -> Any:
    return await call_in_thread(_called, method, *args, **fields)


def _called(method: Callable[..., Any], *args: Any, **fields: Any) -> Any:
    """Call a blocking client; a look-alike's plain method may give a coroutine all the same."""
    reply = method(*args, **fields)
    return background_loop().run(_wait_for(reply)) if inspect.isawaitable(reply) else reply


def _awaited(method: Callable[..., Any], *args: Any, **fields: Any) -> Awaitable[Any]:
    """Call an async client; a look-alike's plain method may give the reply itself."""
    reply = method(*args, **fields)
    return reply if inspect.isawaitable(reply) else _given(reply)


async def _on_background_loop(method: Callable[..., Any], *args: Any, **fields: Any) -> Any:
    # Called over there, too: a client may ask for the loop it runs on.
    return background_loop().run(_awaited_there(method, *args, **fields))


async def _awaited_there(method: Callable[..., Any], *args: Any, **fields: Any) -> Any:
    return await _awaited(method, *args, **fields)


async def _sleep(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251 - the blocking side has no loop to keep waiting


async def _given(reply: Any) -> Any:
    return reply


async def _wait_for(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
