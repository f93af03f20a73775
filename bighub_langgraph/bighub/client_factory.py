"""Open the clients that a user names by `bighub=`, and build engine ports over them."""

import asyncio
import inspect
import os
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from bighub_langgraph.bighub.limits import (
    EVALUATE_TIMEOUT,
    REQUEST_TIMEOUT,
    EngineBreaker,
    build_limited_clients,
    start_abandonable,
)
from bighub_langgraph.bighub.sdk_engine import (
    CallMethod,
    Method,
    SdkEngine,
    is_sdk_client,
)
from bighub_langgraph.concurrency import (
    call_in_thread,
    call_inline,
    detects_blocking_calls,
    run_in_background,
)
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.jsonable import short_repr
from bighub_langgraph.core.ports import EnginePort
from bighub_langgraph.core.redaction import mask_passwords, redact_text

ACCEPTED_VALUES = (
    '"local" for the embedded engine, the URL of its database, the https URL of a BIGHUB service, '
    "a client with the SDK's methods, or a pair of a blocking and an async client"
)


@dataclass(frozen=True, slots=True)
class EngineClients:
    """The clients of a guard; at least one of the two is set.

    Attributes:
        is_owned: Whether we opened them, and so close them.
        evaluate_timeout: The seconds for all tries of one evaluation.
        breaker: Stops evaluations while BIGHUB is down.
    """

    sync_client: Any = field(default=None, repr=False)  # the `repr` of a client shows its key
    async_client: Any = field(default=None, repr=False)
    is_owned: bool = False
    evaluate_timeout: float = EVALUATE_TIMEOUT
    breaker: EngineBreaker = field(default_factory=EngineBreaker)

    @property
    def on_loop(self) -> bool:
        """Whether requests belong on the running event loop: there is only an async client."""
        return self.sync_client is None

    @property
    def primary(self) -> Any:
        """The client to show to users."""
        return self.sync_client if self.sync_client is not None else self.async_client

    def build_engine(self, retries: int) -> EnginePort:
        """Return the engine port for a caller without an event loop."""
        if self._is_embedded:
            return SdkEngine(self.sync_client, _call_inline).build_port()
        call: CallMethod = _call_on_background_loop
        if self.sync_client is not None:
            # A client of another kind may depend on its thread, and has its own time limits.
            call = _call_abandonable if is_sdk_client(self.sync_client) else _call_inline
        return self._build_remote_engine(
            self.primary, call, retries, partial(call_inline, time.sleep)
        )

    def build_async_engine(self, retries: int) -> EnginePort:
        """Return the engine port for coroutines."""
        if self.async_client is not None:
            return self._build_remote_engine(self.async_client, _call_async, retries, asyncio.sleep)
        if not self._is_embedded:
            return self._build_remote_engine(
                self.sync_client, _call_abandonable_async, retries, asyncio.sleep
            )
        # The embedded engine is called in a thread, too, unless it is in memory: no event loop may
        # wait for a database.
        never_waits = getattr(self.sync_client, "never_waits", False) is True
        call = _call_inline_unless_detected if never_waits else _call_in_thread
        engine = SdkEngine(self.sync_client, call).build_port()
        return replace(engine, in_process=engine.in_process and never_waits)

    @property
    def _is_embedded(self) -> bool:
        """Whether the client answers in this process, as the embedded engine does."""
        names = ("in_process", "never_waits")
        return any(isinstance(getattr(self.sync_client, name, None), bool) for name in names)

    def _build_remote_engine(
        self, client: Any, call: CallMethod, retries: int, sleep: Callable[[float], Awaitable[None]]
    ) -> EnginePort:
        engine = SdkEngine(
            client,
            call,
            retries=retries,
            sleep=sleep,
            evaluate_timeout=self.evaluate_timeout,
            breaker=self.breaker,
        )
        return engine.build_port()

    def close(self) -> None:
        """Close the clients that we opened."""
        if not self.is_owned:
            return
        if self.sync_client is not None:
            self.sync_client.close()
        if self.async_client is not None:
            with suppress(RuntimeError):  # its connections belong to a loop that is closed
                _call(self.async_client.close)


def open_clients(
    bighub: Any = None,
    *,
    api_key: str | None = None,
    retries: int = 2,
    evaluate_timeout: float = EVALUATE_TIMEOUT,
) -> EngineClients:
    """Open or take the clients that a user names; with None, those of the environment.

    Raises:
        ConfigurationError: The value cannot be used; the message lists what can.
    """
    is_number = isinstance(evaluate_timeout, int | float)
    if not is_number or not 0 < evaluate_timeout <= threading.TIMEOUT_MAX:
        raise ConfigurationError(
            f"evaluate_timeout is a number of seconds above 0, not {evaluate_timeout!r}"
        )
    clients = _find_clients(bighub, api_key, retries)
    return replace(clients, evaluate_timeout=evaluate_timeout)


def _find_clients(bighub: Any, api_key: str | None, retries: int) -> EngineClients:
    if bighub is None:
        return _from_environment(api_key, retries)
    if isinstance(bighub, str):
        return _from_text(bighub, api_key, retries)
    if isinstance(bighub, tuple):
        return _from_pair(bighub)
    if is_async_client(bighub):
        return EngineClients(async_client=bighub)
    return EngineClients(sync_client=bighub)


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
        name = redact_text(short_repr(client))
        raise ConfigurationError(f"bighub={name} cannot evaluate calls; pass {ACCEPTED_VALUES}")
    return any(map(inspect.iscoroutinefunction, callables))


def _from_environment(api_key: str | None, retries: int) -> EngineClients:
    key = api_key or os.environ.get("BIGHUB_API_KEY")
    url = os.environ.get("BIGHUB_BASE_URL")
    if not key and not url:
        raise ConfigurationError(
            "no BIGHUB is configured: set BIGHUB_API_KEY (and BIGHUB_BASE_URL for your own "
            'service), or pass bighub="local" to decide without an account'
        )
    return _open_remote(url, key, retries)


def _from_text(text: str, api_key: str | None, retries: int) -> EngineClients:
    if text == "local":
        return _open_embedded("sqlite://")
    scheme = text.partition("://")[0]
    if scheme.startswith(("sqlite", "postgres")):
        return _open_embedded(text)
    if scheme in {"https", "http"}:
        return _open_remote(text, api_key or os.environ.get("BIGHUB_API_KEY"), retries)
    raise ConfigurationError(
        f"bighub={mask_passwords(text)!r} is not understood; pass {ACCEPTED_VALUES}"
    )


def _from_pair(pair: tuple[Any, ...]) -> EngineClients:
    sync_clients = [client for client in pair if not is_async_client(client)]
    async_clients = [client for client in pair if is_async_client(client)]
    if len(sync_clients) != 1 or len(async_clients) != 1:
        raise ConfigurationError("a pair of clients is one blocking and one async client")
    return EngineClients(sync_clients[0], async_clients[0])


def _open_embedded(url: str) -> EngineClients:
    from bighub_langgraph.local import LocalBighub

    return EngineClients(LocalBighub(url), is_owned=True)


def _open_remote(url: str | None, api_key: str | None, retries: int) -> EngineClients:
    from bighub import AsyncBighubClient, BighubClient

    options: dict[str, Any] = {"api_key": api_key, "max_retries": retries}
    options["timeout"] = REQUEST_TIMEOUT
    if url:
        options["base_url"] = url
    try:
        clients = BighubClient(**options), AsyncBighubClient(**options)
    except ValueError as error:
        raise ConfigurationError(f"bighub={mask_passwords(str(url))!r}: {error}") from error
    for client, limited_client in zip(clients, build_limited_clients(), strict=True):
        # The SDK has no option for its HTTP client, and reads replies of any size.
        transport: Any = getattr(client, "_transport", None)
        if isinstance(limited_client, type(getattr(transport, "_client", None))):
            transport._client = limited_client  # noqa: SLF001 - the one exception, see its contract test
    return EngineClients(*clients, is_owned=True)


# -- how a client's methods are called -------------------------------------------------------------
# A look-alike's plain method may return a coroutine, and a method of an async one a plain value.


def _call(method: Method, *args: Any, **fields: Any) -> Any:
    response = method(*args, **fields)
    if inspect.isawaitable(response):
        return run_in_background(response)
    return response


async def _call_inline(_: float | None, method: Method, /, *args: Any, **fields: Any) -> Any:
    return _call(method, *args, **fields)


async def _call_in_thread(_: float | None, method: Method, /, *args: Any, **fields: Any) -> Any:
    return await call_in_thread(_call, method, *args, **fields)


async def _call_inline_unless_detected(
    seconds: float | None, method: Method, /, *args: Any, **fields: Any
) -> Any:
    call = _call_in_thread if detects_blocking_calls() else _call_inline
    return await call(seconds, method, *args, **fields)


async def _call_abandonable(
    seconds: float | None, method: Method, /, *args: Any, **fields: Any
) -> Any:
    if seconds is None:
        return _call(method, *args, **fields)
    return start_abandonable(_call, method, *args, **fields).result(seconds)


async def _call_abandonable_async(
    seconds: float | None, method: Method, /, *args: Any, **fields: Any
) -> Any:
    if seconds is None:
        return await call_in_thread(_call, method, *args, **fields)
    response = asyncio.wrap_future(start_abandonable(_call, method, *args, **fields))
    return await asyncio.wait_for(response, seconds)


async def _call_async(seconds: float | None, method: Method, /, *args: Any, **fields: Any) -> Any:
    # A report has no time limit, and `asyncio.timeout(None)` costs as much as one.
    async with nullcontext() if seconds is None else asyncio.timeout(seconds):
        response = method(*args, **fields)
        return await response if inspect.isawaitable(response) else response


async def _call_on_background_loop(
    seconds: float | None, method: Method, /, *args: Any, **fields: Any
) -> Any:
    # The method is called on that loop as well: a client may look up the running loop.
    return run_in_background(_call_async(seconds, method, *args, **fields))
