"""Group commit: requests that wait are answered in one transaction, with one commit."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from bighub_langgraph.local.engine import Engine

Operation: TypeAlias = Callable[[Connection], Any]
_MAX_BATCH = 16  # a longer batch would delay the requests after it


class GroupCommit:
    """Runs operations on a store; a result is delivered only after its commit.

    SQLite has one writer at a time: what arrives during a commit shares the next one. On PostgreSQL
    each operation has its own thread and transaction.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: list[tuple[Operation, asyncio.Future[Any]]] = []
        self._is_busy = False

    async def run(self, operation: Operation) -> Any:
        """Return what the operation returns, after it is committed; raise what it raises."""
        if not self._engine.store.sqlite:
            (result,) = await run_in_threadpool(self._engine.run_batch, [operation])
            if isinstance(result, BaseException):
                raise result
            return result
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.append((operation, future))
        if not self._is_busy:
            self._start_batch()
        return await future

    def _start_batch(self) -> None:
        batch, self._queue = self._queue[:_MAX_BATCH], self._queue[_MAX_BATCH:]
        self._is_busy = bool(batch)
        if batch:
            operations = [operation for operation, _ in batch]
            results = asyncio.get_running_loop().run_in_executor(
                None, self._engine.run_batch, operations
            )
            results.add_done_callback(partial(self._deliver, [future for _, future in batch]))

    def _deliver(
        self, futures: list[asyncio.Future[Any]], batch_results: asyncio.Future[list[Any]]
    ) -> None:
        error = batch_results.exception()
        results = batch_results.result() if error is None else [error] * len(futures)
        for future, result in zip(futures, results, strict=True):
            if future.done():  # its request was cancelled
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
        self._start_batch()
