"""Open the clients that a user names by `bighub=`, and build engine ports over them."""

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
    """The clients of a guard; at least one of the two is set.

    Attributes:
        owned: Whether we opened them, and so close them.
    """

    blocking: Any = None
    asynchronous: Any = None
    owned: bool = False

    @property
    def on_loop(self) -> bool:
        """Whether requests belong on the running event loop: there is only an async client."""
        return self.blocking is None

    @property
    def primary(self) -> Any:
        """The client to show to users."""
        return self.blocking if self.blocking is not None else self.asynchronous

    def build_engine(self, retries: int) -> EnginePort:
        """Return the engine port for a caller without an event loop."""
        call = _call_inline if self.blocking is not None else _call_on_background_loop
        return build_engine(self.primary, call, retries=retries, sleep=_sleep)

    def build_async_engine(self, retries: int) -> EnginePort:
        """Return the engine port for coroutines."""
        if self.asynchronous is not None:
            return build_engine(
                self.asynchronous, _call_async, retries=retries, sleep=asyncio.sleep
            )
        # The embedded engine is called in a thread, too, unless it is in memory: no event loop may
        # wait for a database.
        never_waits = bool(getattr(self.blocking, "never_waits", False))
        call = _call_inline_unless_detected if never_waits else _call_in_thread
        engine = build_engine(self.blocking, call, retries=retries, sleep=asyncio.sleep)
        return replace(engine, in_process=engine.in_process and never_waits)

    def close(self) -> None:
        """Close the clients that we opened."""
        if not self.owned:
            return
        if self.blocking is not None:
            self.blocking.close()
        if self.asynchronous is not None:
            _call(self.asynchronous.close)


def open_clients(
    bighub: Any = None, *, api_key: str | None = None, retries: int = 2
) -> EngineClients:
    """Open or take the clients that a user names; with None, those of the environment.

    Raises:
        ConfigurationError: The value cannot be used; the message lists what can.
    """
    if bighub is None:
        return _from_environment(api_key, retries)
    if isinstance(bighub, str):
        return _from_text(bighub, api_key, retries)
    if isinstance(bighub, tuple):
        return _from_pair(bighub)
    if is_async_client(bighub):
        return EngineClients(asynchronous=bighub)
    return EngineClients(blocking=bighub)


def is_async_client(client: Any) -> bool:
    """Whether a client's methods are coroutines.

    Raises:
        ConfigurationError: The client has none of BIGHUB's methods.
    """
    actions = getattr(client, "actions", None)
    methods = [getattr(actions, name, None) for name in ("submit", "submit_payload")]
    methods.append(getattr(getattr(client, "decisions", None), "evaluate", None))
    callables = [method for method in methods if callable(method)]
    if not callables:
        raise ConfigurationError(f"bighub={client!r} cannot evaluate calls; pass {ACCEPTED}")
    return any(map(inspect.iscoroutinefunction, callables))


def _from_environment(api_key: str | None, retries: int) -> EngineClients:
    key = api_key or os.environ.get("BIGHUB_API_KEY")
    url = os.environ.get("BIGHUB_BASE_URL")
    if not key and not url:
        raise ConfigurationError(
            "no BIGHUB is configured: set BIGHUB_API_KEY (and BIGHUB_BASE_URL for your own "
            'service), or pass bighub="local" to decide without an account'
        )
    return _remote(url, key, retries)


def _from_text(text: str, api_key: str | None, retries: int) -> EngineClients:
    if text == "local":
        return _open_embedded("sqlite://")
    scheme = text.partition("://")[0]
    if scheme.startswith(("sqlite", "postgres")):
        return _open_embedded(text)
    if scheme in {"https", "http"}:
        return _remote(text, api_key or os.environ.get("BIGHUB_API_KEY"), retries)
    raise ConfigurationError(f"bighub={text!r} is not understood; pass {ACCEPTED}")


def _from_pair(pair: tuple[Any, ...]) -> EngineClients:
    blocking = [client for client in pair if not is_async_client(client)]
    asynchronous = [client for client in pair if is_async_client(client)]
    if len(blocking) != 1 or len(asynchronous) != 1:
        raise ConfigurationError("a pair of clients is one blocking and one async client")
    return EngineClients(blocking[0], asynchronous[0])


def _open_embedded(url: str) -> EngineClients:
    from bighub_langgraph.local import LocalBighub

    return EngineClients(LocalBighub(url), owned=True)


def _remote(url: str | None, api_key: str | None, retries: int) -> EngineClients:
    from bighub import AsyncBighubClient, BighubClient

    options: dict[str, Any] = {"api_key": api_key, "timeout": TIMEOUT, "max_retries": retries}
    if url:
        options["base_url"] = url
    try:
        return EngineClients(BighubClient(**options), AsyncBighubClient(**options), owned=True)
    except ValueError as error:
        raise ConfigurationError(f"bighub={url!r}: {error}") from error


# -- how a client's methods are called -------------------------------------------------------------
# A look-alike's plain method may return a coroutine, and a method of an async one a plain value.


def _call(method: Callable[..., Any], *args: Any, **fields: Any) -> Any:
    response = method(*args, **fields)
    if inspect.isawaitable(response):
        return background_loop().run(_await(response))
    return response


async def _call_inline(method: Callable[..., Any], *args: Any, **fields: Any) -> Any:
    return _call(method, *args, **fields)


async def _call_in_thread(method: Callable[..., Any], *args: Any, **fields: Any) -> Any:
    return await call_in_thread(_call, method, *args, **fields)


async def _call_inline_unless_detected(
    method: Callable[..., Any], *args: Any, **fields: Any
) -> Any:
    call = _call_in_thread if detects_blocking_calls() else _call_inline
    return await call(method, *args, **fields)


async def _call_async(method: Callable[..., Any], *args: Any, **fields: Any) -> Any:
    response = method(*args, **fields)
    return await response if inspect.isawaitable(response) else response


async def _call_on_background_loop(method: Callable[..., Any], *args: Any, **fields: Any) -> Any:
    # The method is called on that loop as well: a client may look up the running loop.
    return background_loop().run(_call_async(method, *args, **fields))


async def _sleep(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251 - the blocking side has no loop to keep waiting


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
