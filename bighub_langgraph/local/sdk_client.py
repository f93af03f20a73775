"""Drop-in clients: the `bighub` SDK over an engine in this process.

They use the SDK's paths, JSON and exceptions; only the transport is another one.
"""

import asyncio
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Self

from bighub import (
    AsyncBighubClient,
    BighubAPIError,
    BighubClient,
    BighubRateLimitError,
    BighubValidationError,
)
from bighub.decisions import AsyncDecisionsAPI, DecisionsAPI

from bighub_langgraph.concurrency import detects_blocking_calls
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.errors import ApiError
from bighub_langgraph.local.evaluate import find_session_id
from bighub_langgraph.local.routes import handle_request
from bighub_langgraph.local.settings import Settings

_NO_SERVER = "https://embedded.invalid"


class LocalBighub(BighubClient):
    """A `BighubClient` that decides and learns in this process.

    `url` is a database: `sqlite://` for memory, `sqlite:///file.db`, or `postgresql+psycopg://...`.
    Clients with the same `engine` share what it learns.
    """

    decisions: "LocalDecisions"

    def __init__(
        self,
        url: str = "sqlite://",
        *,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
        engine: Engine | None = None,
    ) -> None:
        super().__init__(base_url=_NO_SERVER)
        super().close()  # the connection pool of a remote client
        self.engine = engine or Engine(url, settings=settings, clock=clock)
        self.url = url
        # An engine in memory never waits for a disk: reports are sent at once, and coroutines
        # call it on the event loop.
        self.in_process = self.never_waits = self.engine.store.in_memory
        self._owns_engine = engine is None
        _connect_resources(self, LocalTransport(self.engine), LocalDecisions)

    def close(self) -> None:
        """Close the engine, unless the client was created with one."""
        if self._owns_engine:
            self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __repr__(self) -> str:
        return f"LocalBighub({self.engine.store.name!r})"


class AsyncLocalBighub(AsyncBighubClient):
    """An `AsyncBighubClient` that decides and learns in this process; see `LocalBighub`."""

    decisions: "AsyncLocalDecisions"

    def __init__(
        self,
        url: str = "sqlite://",
        *,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
        engine: Engine | None = None,
    ) -> None:
        super().__init__(base_url=_NO_SERVER)
        self.engine = engine or Engine(url, settings=settings, clock=clock)
        self.url = url
        self.in_process = self.engine.store.in_memory
        self._owns_engine = engine is None
        _connect_resources(self, AsyncLocalTransport(self.engine), AsyncLocalDecisions)

    async def close(self) -> None:
        """Close the engine, unless the client was created with one."""
        if self._owns_engine:
            await asyncio.to_thread(self.engine.close)

    async def __aenter__(self) -> Self:
        return self

    def __repr__(self) -> str:
        return f"AsyncLocalBighub({self.engine.store.name!r})"


class LocalTransport:
    """Answers the SDK's requests from an engine in this process."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def request(
        self,
        *,
        method: str,
        path: str,
        json_body: Any = None,
        idempotency_key: str | None = None,
        headers: Any = None,
        **options: Any,
    ) -> Any:
        """Return the response's JSON, or raise the SDK's exception for its status."""
        del headers  # no endpoint reads one
        options |= {"body": json_body, "idempotency_key": idempotency_key or None}
        try:
            return handle_request(self.engine, method.upper(), path, **options)
        except ApiError as error:
            raise _to_sdk_error(error) from error


class AsyncLocalTransport:
    """The transport of the SDK's async client. It uses a thread for what may wait for a disk."""

    def __init__(self, engine: Engine) -> None:
        self.sync_transport = LocalTransport(engine)

    async def request(self, **request: Any) -> Any:
        """Answer one request; see `LocalTransport.request`."""
        return await self.run(partial(self.sync_transport.request, **request))

    async def run(self, request: Callable[[], Any]) -> Any:
        """Return what a request returns."""
        if self.sync_transport.engine.store.in_memory and not detects_blocking_calls():
            return request()
        return await asyncio.to_thread(request)


class LocalDecisions(DecisionsAPI):
    """The SDK's decisions, and several of them at once."""

    def __init__(self, transport: LocalTransport, **resources: Any) -> None:
        super().__init__(transport, **resources)
        self._engine = transport.engine

    def evaluate_together(self, calls: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Evaluate calls in order, with one commit; each is a mapping of `evaluate`'s arguments.

        Each is decided as if it were evaluated alone after the ones before it. Where `evaluate`
        would raise, the list has the exception.
        """
        contexts = [call.get("context") for call in calls]
        sessions = {find_session_id(each) for each in contexts if isinstance(each, Mapping)}

        def to_operation(call: Mapping[str, Any]) -> Callable[[object], Any]:
            return lambda _tx: self.evaluate(**call)

        operations = [to_operation(call) for call in calls]
        results = self._engine.run_batch(operations, lock_sequences=len(sessions) > 1)
        return [_to_sdk_error(each) if isinstance(each, ApiError) else each for each in results]


class AsyncLocalDecisions(AsyncDecisionsAPI):
    """The SDK's decisions, and several of them at once."""

    def __init__(self, transport: AsyncLocalTransport, **resources: Any) -> None:
        super().__init__(transport, **resources)
        self._run = transport.run
        self._sync_decisions = LocalDecisions(transport.sync_transport)

    async def evaluate_together(self, calls: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Evaluate calls with one commit; see `LocalDecisions.evaluate_together`."""
        results: list[Any] = await self._run(partial(self._sync_decisions.evaluate_together, calls))
        return results


def _to_sdk_error(error: ApiError) -> BighubAPIError:
    details: dict[str, Any] = {
        "message": HTTPStatus(error.status).phrase,
        "status_code": error.status,
        "detail": error.detail,
        "response_body": {"detail": error.detail},
    }
    if error.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return BighubValidationError(**details, validation_errors=[*error.detail])
    if error.status == HTTPStatus.TOO_MANY_REQUESTS:
        return BighubRateLimitError(**details)
    return BighubAPIError(**details)


def _connect_resources(client: Any, transport: Any, decisions: Callable[..., Any]) -> None:
    """Create each of the client's resources again over our transport, later SDKs' too.

    A resource that cannot be created like this fails to connect: its address does not exist.
    """
    for name, resource in list(vars(client).items()):
        with suppress(ValueError):  # a built-in type without a signature
            if list(inspect.signature(type(resource)).parameters) == ["transport"]:
                setattr(client, name, type(resource)(transport))
    client.decisions = decisions(transport, reviews=client.reviews, outcomes=client.outcomes)
