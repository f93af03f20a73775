"""A journal in plain dictionaries: no thread, no file; it ends with the process."""

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bighub_langgraph.core.changing import changed
from bighub_langgraph.core.errors import CallNotRecorded
from bighub_langgraph.core.outcome import Entry, Kind, Telling, entries
from bighub_langgraph.core.ports import MEMORY_GRACE, Queued
from bighub_langgraph.core.record import Record
from bighub_langgraph.core.transitions import Event, advance
from bighub_langgraph.core.words import TERMINAL, State
from bighub_langgraph.journal.owners import ThisProcess, process_of

# How many settled calls are remembered: a process that runs for months must not grow.
MOST_SETTLED = 10_000


@dataclass(slots=True)
class _Slot:
    """An undelivered entry, and where it stands."""

    queued: Queued
    due_at: float
    leased: bool = False
    aside: bool = False


class MemoryJournal:
    """Holds records and outbox for the life of the process.

    Of the calls that are settled and told it remembers the newest `most`; older ones are forgotten,
    unless their thread has an open call. Open calls and what is not told it never forgets.

    Args:
        chosen: Whether the user asked for it in so many words, and so knows what it does not keep.
        clock: Seconds since the epoch.
        most: How many settled calls to remember. A thread whose calls are forgotten must not be
            resumed: they would count as new.
    """

    durable = False
    blocking = False

    def __init__(
        self,
        *,
        chosen: bool = False,
        clock: Callable[[], float] = time.time,
        most: int = MOST_SETTLED,
    ) -> None:
        self.chosen = chosen
        self._clock = clock
        self._most = most
        self._records: dict[str, Record] = {}
        self._moved_at: dict[str, float] = {}
        self._open: dict[str, int] = {}  # calls that are not settled, by thread
        self._settled: deque[str] = deque()  # the keys of the others, oldest first
        self._slots: dict[int, _Slot] = {}
        self._of_turn: dict[str, dict[int, _Slot]] = {}
        self._aside = 0
        self._last = 0
        self._process = ThisProcess()
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

    def of_request(self, request_id: str) -> list[Record]:
        """The calls of a request."""
        with self._lock:
            return [one for one in reversed(self._records.values()) if one.request_id == request_id]

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
            now = self._clock()
            if told := entries(before, after, telling):
                self._queue(told, now)
            self._records[key] = after
            self._moved_at[key] = now
            if after.state in TERMINAL:
                self._close(after)
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
            found: list[_Slot] = []
            for slot in (self._slots if turn is None else self._of_turn.get(turn, {})).values():
                one = slot.queued
                if slot.aside or one.entry.key in held:
                    continue
                over = turn is not None and not one.tries
                due = over or (early and not one.refusals) or slot.due_at <= at
                if slot.leased or not due:
                    held.add(one.entry.key)
                    continue
                found.append(slot)
                if len(found) == limit:
                    break
            for slot in found:
                slot.leased = True
            return [slot.queued for slot in found]

    def delivered(self, ids: Sequence[int]) -> None:
        """Forget entries that arrived."""
        with self._lock:
            for number in ids:
                if (slot := self._slots.pop(number, None)) is not None:
                    self._aside -= slot.aside
                    turn = slot.queued.entry.turn
                    del self._of_turn[turn][number]
                    if not self._of_turn[turn]:
                        del self._of_turn[turn]

    def give_back(self, ids: Sequence[int]) -> None:
        """Let others deliver entries that were leased and not tried."""
        with self._lock:
            for slot in self._found(ids):
                slot.leased = False

    def postpone(
        self,
        ids: Sequence[int],
        until: float,
        why: str,  # noqa: ARG002 - for journals that people can read
        *,
        refused: bool = False,
        aside: bool = False,
    ) -> None:
        """Try entries again later, or set them apart."""
        with self._lock:
            for slot in self._found(ids):
                one = slot.queued
                slot.queued = one._replace(tries=one.tries + 1, refusals=one.refusals + refused)
                slot.due_at, slot.leased = until, False
                if aside and not slot.aside:
                    slot.aside = True
                    self._aside += 1

    def waiting(self, *, aside: bool = False) -> int:
        """How many entries are not delivered."""
        return len(self._slots) if aside else len(self._slots) - self._aside

    def prune(self, older_than: float) -> int:
        """Forget settled calls that are older than so many seconds; see `Journal.prune`."""
        before = self._clock() - older_than
        with self._lock:
            old = [key for key in self._records if self._moved_at[key] < before]
            return sum(self._forgotten(key) for key in old)

    def close(self) -> None:
        """Nothing to let go of."""

    def _opened(self, record: Record, telling: Telling) -> Record:
        stored = self._records.setdefault(record.key, record)
        if stored is not record:
            return stored
        self._moved_at[record.key] = now = self._clock()
        self._open[record.thread] = self._open.get(record.thread, 0) + 1
        if record.state in TERMINAL:
            self._queue(entries(changed(record, state=State.PROPOSED), record, telling), now)
            self._close(record)
        return record

    def _close(self, record: Record) -> None:
        """Count a call as settled, and forget one that was settled long ago."""
        still_open = self._open.pop(record.thread) - 1
        if still_open:
            self._open[record.thread] = still_open
        self._settled.append(record.key)
        if len(self._settled) > self._most:
            self._forget_oldest()
            self._forget_oldest()  # what could not be forgotten in its turn is made up for

    def _forget_oldest(self) -> None:
        if len(self._settled) > self._most:
            key = self._settled.popleft()
            if key in self._records and not self._forgotten(key):
                self._settled.append(key)

    def _forgotten(self, key: str) -> bool:
        """Forget a call that is settled, told, and whose thread has nothing open."""
        record = self._records[key]
        if record.thread in self._open:
            return False
        for untold in self._of_turn.get(record.turn, _NOTHING).values():
            if untold.queued.entry.key == key:
                return False
        del self._records[key], self._moved_at[key]
        return True

    def _queue(self, told: Sequence[Entry], now: float) -> None:
        for number, entry in enumerate(told, self._last + 1):
            due_at = now + MEMORY_GRACE if entry.kind is Kind.MEMORY else 0.0
            slot = _Slot(Queued(number, entry), due_at)
            self._slots[number] = slot
            self._of_turn.setdefault(entry.turn, {})[number] = slot
        self._last += len(told)

    def _found(self, ids: Iterable[int]) -> list[_Slot]:
        return [self._slots[number] for number in ids if number in self._slots]


_NOTHING: Mapping[int, _Slot] = {}
_journals: "weakref.WeakSet[MemoryJournal]" = weakref.WeakSet()


def _unlock_in_child() -> None:
    """A child inherits locks that threads of its parent held; here they are nobody's."""
    for journal in _journals:
        journal._lock = threading.Lock()  # noqa: SLF001 - one class, one module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_in_child)
