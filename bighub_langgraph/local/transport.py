"""The SDK's transport, answered in process: same paths, same JSON, same exceptions."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from bighub import BighubAPIError, BighubRateLimitError, BighubValidationError

from bighub_langgraph.concurrency import detects_blocking_calls
from bighub_langgraph.local.answering import Answer, Request, store_failed
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.routes import ROUTER


class LocalTransport:
    """Answers the SDK's requests from an engine in this process."""

    def __init__(self, engine: Engine, *, closes_engine: bool = True) -> None:
        self._engine = engine
        self._closes_engine = closes_engine

    def request(
        self,
        *,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        json_body: Any = None,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Answer one request, or raise what the SDK raises for its status."""
        request = Request(
            method.upper(), path, params or {}, json_body, _key(idempotency_key, headers)
        )
        return _body_or_raise(ROUTER.answer(self._engine, request))

    def together(
        self, asks: Sequence[Callable[[], Any]], *, of_several_sessions: bool = False
    ) -> list[Any]:
        """Make several requests in their order, with one commit for them all.

        In the place of a reply stands what was raised. When the commit fails, so did they all.
        """
        try:
            with self._engine.together() as tx:
                if of_several_sessions:
                    self._engine.numbers.take_turn(tx)
                return [_tried(ask) for ask in asks]
        except self._engine.store.faults as fault:
            return [_error(store_failed("a commit", fault))] * len(asks)

    def close(self) -> None:
        """Close the engine, if it is this transport's own."""
        if self._closes_engine:
            self._engine.close()


class AsyncLocalTransport:
    """The same for the SDK's async client; what may wait for a disk waits in a thread."""

    def __init__(self, engine: Engine, *, closes_engine: bool = True) -> None:
        self._engine = engine
        self.blocking = LocalTransport(engine, closes_engine=closes_engine)

    async def request(self, **request: Any) -> Any:
        """Answer one request; see `LocalTransport.request`."""
        if self._waits_for_nothing:
            return self.blocking.request(**request)
        return await asyncio.to_thread(self.blocking.request, **request)

    async def together(self, asks: Sequence[Callable[[], Any]], **about: bool) -> list[Any]:
        """Make several blocking requests; see `LocalTransport.together`."""
        if self._waits_for_nothing:
            return self.blocking.together(asks, **about)
        return await asyncio.to_thread(self.blocking.together, asks, **about)

    async def close(self) -> None:
        """Close the engine, if it is this transport's own."""
        await asyncio.to_thread(self.blocking.close)

    @property
    def _waits_for_nothing(self) -> bool:
        return self._engine.store.in_memory and not detects_blocking_calls()


def _key(key: str | None, headers: Mapping[str, str] | None) -> str | None:
    if key or not headers:
        return key or None
    given = {name.lower(): text for name, text in headers.items()}
    return given.get("idempotency-key") or None


def _tried(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception as error:  # noqa: BLE001 - one that fails must not fail the others
        return error


def _body_or_raise(answer: Answer) -> Any:
    if answer.status < HTTPStatus.BAD_REQUEST:
        return answer.body
    raise _error(answer)


def _error(answer: Answer) -> BighubAPIError:
    about: dict[str, Any] = {
        "message": HTTPStatus(answer.status).phrase,
        "status_code": answer.status,
        "detail": answer.body["detail"],
        "response_body": answer.body,
    }
    if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return BighubValidationError(**about, validation_errors=answer.body["detail"])
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return BighubRateLimitError(**about)
    return BighubAPIError(**about)
