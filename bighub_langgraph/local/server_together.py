"""Requests that wait are answered together: in one transaction, with one commit for them all."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from bighub_langgraph.local.answering import Answer, store_failed
from bighub_langgraph.local.engine import Engine

Work = Callable[[Connection], Answer]
Told = Answer | BaseException
_MOST = 16  # a longer turn would let those who come next wait too long


class _Waiting(NamedTuple):
    work: Work
    told: asyncio.Future[Answer]


class Together:
    """Does work on a store, of which nobody hears before it is committed.

    SQLite has one writer at a time: what comes while a commit is on its way shares the next one.
    On PostgreSQL every work has a thread and a transaction of its own.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: list[_Waiting] = []
        self._busy = False

    async def run(self, work: Work) -> Answer:
        """Do a work, and wait until it is committed."""
        if not self._engine.store.sqlite:
            return _or_raise((await run_in_threadpool(self._all, [work]))[0])
        told: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(work, told))
        if not self._busy:
            self._go_on()
        return await told

    def _go_on(self) -> None:
        batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        self._busy = bool(batch)
        if batch:
            loop = asyncio.get_running_loop()
            done = loop.run_in_executor(None, self._all, [each.work for each in batch])
            done.add_done_callback(partial(self._tell, batch))

    def _tell(self, batch: list[_Waiting], done: asyncio.Future[list[Told]]) -> None:
        failed = done.exception()
        answers = done.result() if failed is None else [failed] * len(batch)
        for each, answer in zip(batch, answers, strict=True):
            if each.told.done():  # whoever asked has gone
                continue
            if isinstance(answer, BaseException):
                each.told.set_exception(answer)
            else:
                each.told.set_result(answer)
        self._go_on()

    def _all(self, works: list[Work]) -> list[Told]:
        try:
            with self._engine.together() as tx:
                return [_tried(work, tx) for work in works]
        except self._engine.store.faults as fault:
            return [store_failed("a commit", fault)] * len(works)


def _tried(work: Work, tx: Connection) -> Told:
    try:
        return work(tx)
    except Exception as error:  # noqa: BLE001 - one that fails must not fail the others
        return error


def _or_raise(answer: Told) -> Answer:
    if isinstance(answer, BaseException):
        raise answer
    return answer
