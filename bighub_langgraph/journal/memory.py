"""A journal in plain dictionaries: no thread, no file; it ends with the process."""

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from bighub_langgraph.core.errors import CallNotRecorded
from bighub_langgraph.core.outcome import Entry, Kind, Telling, entries
from bighub_langgraph.core.ports import MEMORY_GRACE, Queued
from bighub_langgraph.core.record import Record
from bighub_langgraph.core.transitions import Event, advance
from bighub_langgraph.core.words import State
from bighub_langgraph.journal.owners import ThisProcess, process_of


class MemoryJournal:
    """Holds records and outbox for the life of the process.

    Args:
        chosen: Whether the user asked for it in so many words, and so knows what it does not keep.
    """

    durable = False
    blocking = False

    def __init__(self, *, chosen: bool = False, clock: Callable[[], float] = time.time) -> None:
        self.chosen = chosen
        self._clock = clock
        self._records: dict[str, Record] = {}
        self._waiting: dict[int, Queued] = {}
        self._not_before: dict[int, float] = {}
        self._leased: set[int] = set()
        self._aside: set[int] = set()
        self._whys: dict[int, str] = {}
        self._last = 0
        self._process = ThisProcess()
        self._moved_at: dict[str, float] = {}
        # Records are replaced under a lock: compare-and-set has to hold over threads too.
        self._lock = threading.Lock()
        _journals.add(self)

    @property
    def owner(self) -> str:
        """This process's name on the calls it runs."""
        return self._process.name

    def find(self, keys: Sequence[str]) -> dict[str, Record]:
        """The records of these keys."""
        return {key: self._records[key] for key in keys if key in self._records}

    def open(self, records: Sequence[Record], telling: Telling) -> list[Record]:
        """Store new records; a stored one wins."""
        with self._lock:
            return [self._opened(record, telling) for record in records]

    def move(self, key: str, event: Event, telling: Telling) -> Record:
        """Advance a record and queue what there is to tell."""
        with self._lock:
            before = self._records.get(key)
            if before is None:
                raise CallNotRecorded([key])
            after = advance(before, event)
            told = entries(before, after, telling)
            self._records[key] = after
            self._moved_at[key] = self._clock()
            self._queue(told)
            return after

    def abandoned(self, record: Record) -> bool:
        """Whether the process that runs a call is gone: only after a fork can it be another one."""
        return process_of(record.owner) != self.owner

    def due(
        self, at: float, limit: int, turn: str | None = None, *, early: bool = False
    ) -> list[Queued]:
        """Lease what is due."""
        with self._lock:
            held: set[str] = set()
            found: list[Queued] = []
            for number, queued in self._waiting.items():
                if number in self._aside or queued.entry.key in held:
                    continue
                over = turn == queued.entry.turn and not queued.tries
                due = over or (early and not queued.refusals)
                due = due or self._not_before.get(number, 0.0) <= at
                if number in self._leased or not due:
                    held.add(queued.entry.key)
                elif turn in {None, queued.entry.turn}:
                    found.append(queued)
                    if len(found) == limit:
                        break
            self._leased.update(one.id for one in found)
            return found

    def delivered(self, ids: Sequence[int]) -> None:
        """Forget entries that arrived."""
        with self._lock:
            for number in ids:
                self._waiting.pop(number, None)
                self._not_before.pop(number, None)
                self._whys.pop(number, None)
                self._aside.discard(number)
                self._leased.discard(number)

    def give_back(self, ids: Sequence[int]) -> None:
        """Let others deliver entries that were leased and not tried."""
        with self._lock:
            self._leased.difference_update(ids)

    def postpone(
        self,
        ids: Sequence[int],
        until: float,
        why: str,
        *,
        refused: bool = False,
        aside: bool = False,
    ) -> None:
        """Try entries again later, or set them apart."""
        with self._lock:
            for number in self._waiting.keys() & set(ids):
                queued = self._waiting[number]
                self._waiting[number] = replace(
                    queued, tries=queued.tries + 1, refusals=queued.refusals + refused
                )
                self._not_before[number] = until
                self._whys[number] = why
                if aside:
                    self._aside.add(number)
            self._leased.difference_update(ids)

    def waiting(self, *, aside: bool = False) -> int:
        """How many entries are not delivered."""
        return len(self._waiting) if aside else len(self._waiting) - len(self._aside)

    def prune(self, older_than: float) -> int:
        """Forget settled calls that are older than so many seconds; see `Journal.prune`."""
        before = self._clock() - older_than
        with self._lock:
            held = {one.entry.key for one in self._waiting.values()}
            threads = {one.thread for one in self._records.values() if not one.terminal}
            old = [
                key
                for key, one in self._records.items()
                if self._moved_at[key] < before and key not in held and one.thread not in threads
            ]
            for key in old:
                del self._records[key], self._moved_at[key]
        return len(old)

    def close(self) -> None:
        """Nothing to let go of."""

    def _opened(self, record: Record, telling: Telling) -> Record:
        stored = self._records.setdefault(record.key, record)
        if stored is record:
            self._moved_at[record.key] = self._clock()
            self._queue(entries(replace(record, state=State.PROPOSED), record, telling))
        return stored

    def _queue(self, told: Iterable[Entry]) -> None:
        for entry in told:
            self._last += 1
            self._waiting[self._last] = Queued(self._last, entry)
            if entry.kind is Kind.MEMORY:
                self._not_before[self._last] = self._clock() + MEMORY_GRACE


_journals: "weakref.WeakSet[MemoryJournal]" = weakref.WeakSet()


def _unlock_in_child() -> None:
    """A child inherits locks that threads of its parent held; here they are nobody's."""
    for journal in _journals:
        journal._lock = threading.Lock()  # noqa: SLF001 - one class, one module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_in_child)
