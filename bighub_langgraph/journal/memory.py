"""A journal in plain dictionaries: no thread, no file; it ends with the process."""

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from bighub_langgraph.core.errors import RecordNotFound
from bighub_langgraph.core.lifecycle import Event, apply_event
from bighub_langgraph.core.models import FINAL_STATES, CallRecord, State
from bighub_langgraph.core.ports import DELIVERY_LEASE, MEMORY_GRACE, LeasedReport
from bighub_langgraph.core.redaction import redact
from bighub_langgraph.core.reporting import (
    Report,
    ReportingConfig,
    ReportKind,
    build_report,
    has_immutable_output,
    report_kinds,
)
from bighub_langgraph.journal.owners import ThisProcess, process_of
from bighub_langgraph.journal.packing import Packed, packed, request_of, thread_of, unpacked

# How many settled calls are remembered: a process that runs for months must not grow.
MOST_SETTLED = 10_000

# So many of them are packed at once, which takes less time than one by one.
PACKED_AT_ONCE = 50


@dataclass(slots=True)
class _Slot:
    """An undelivered entry, and where it stands.

    Attributes:
        said: What it says, where that had to be put in words at once.
    """

    id: int
    kind: ReportKind
    record: CallRecord
    reporting: ReportingConfig
    due_at: float
    said: Report | None = None
    tries: int = 0
    refusals: int = 0
    leased_until: float = 0.0
    dead_letter: bool = False

    @property
    def report(self) -> Report:
        """What it says."""
        return self.said or build_report(self.kind, self.record, self.reporting)

    @property
    def key(self) -> str:
        """The call's record."""
        return self.record.key

    @property
    def turn(self) -> str:
        """The tool round."""
        return self.record.turn


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
        self._records: dict[str, CallRecord | Packed] = {}
        self._moved_at: dict[str, float] = {}
        self._open: dict[str, int] = {}  # calls that are not settled, by thread
        self._settled: deque[str] = deque()  # the keys of the others, oldest first
        self._slots: dict[int, _Slot] = {}
        self._of_turn: dict[str, dict[int, _Slot]] = {}
        self._untold: dict[str, int] = {}  # how many entries of a call are not delivered
        self._told: list[str] = []  # the calls that have none left and are not packed
        self._dead_letters = 0
        self._last = 0
        self._process = ThisProcess()
        # Records are replaced under a lock: compare-and-set has to hold over threads too.
        self._lock = threading.Lock()
        _journals.add(self)

    @property
    def owner(self) -> str:
        """This process's name on the calls it runs."""
        return self._process.name

    def find(self, keys: Sequence[str]) -> dict[str, CallRecord]:
        """The records of these keys."""
        found = ((key, self._records.get(key)) for key in keys)
        return {key: unpacked(one) for key, one in found if one is not None}

    def find_by_request_id(self, request_id: str) -> list[CallRecord]:
        """The calls of a request."""
        with self._lock:
            kept = reversed(self._records.values())
            return [unpacked(one) for one in kept if request_of(one) == request_id]

    def insert(self, records: Sequence[CallRecord], reporting: ReportingConfig) -> list[CallRecord]:
        """Store new records; a stored one wins."""
        with self._lock:
            return [self._opened(record, reporting) for record in records]

    def transition(self, key: str, event: Event, reporting: ReportingConfig) -> CallRecord:
        """Advance a record and queue what there is to tell."""
        with self._lock:
            kept = self._records.get(key)
            if kept is None:
                raise RecordNotFound([key])
            before = unpacked(kept)
            after = apply_event(before, event)
            now = self._clock()
            if told := report_kinds(before, after, reporting):
                self._queue(told, after, reporting, now)
            self._records[key] = after
            self._moved_at[key] = now
            if after.state in FINAL_STATES:
                self._close(after)
            return after

    def is_owner_dead(self, record: CallRecord) -> bool:
        """Whether the process that runs a call is gone: only after a fork can it be another one."""
        return process_of(record.owner) != self.owner

    def lease_batch(
        self, at: float, limit: int, turn: str | None = None, *, early: bool = False
    ) -> Sequence[LeasedReport]:
        """Lease what is due."""
        now = self._clock()
        leased: list[_Slot] = []
        try:
            with self._lock:
                held: set[str] = set()
                for slot in (self._slots if turn is None else self._of_turn.get(turn, {})).values():
                    key = slot.record.key
                    if slot.dead_letter or key in held:
                        continue
                    over = turn is not None and not slot.tries
                    due = over or (early and not slot.refusals) or slot.due_at <= at
                    if slot.leased_until > now or not due:
                        held.add(key)
                        continue
                    leased.append(slot)
                    slot.leased_until = now + DELIVERY_LEASE
                    if len(leased) == limit:
                        break
        except BaseException:  # interrupted: whoever asked never hears of them
            for slot in leased:
                slot.leased_until = 0.0
            raise
        return leased

    def ack(self, ids: Sequence[int]) -> None:
        """Forget entries that arrived."""
        with self._lock:
            for number in ids:
                if (slot := self._slots.pop(number, None)) is not None:
                    self._dead_letters -= slot.dead_letter
                    of_turn = self._of_turn[slot.record.turn]
                    del of_turn[number]
                    if not of_turn:
                        del self._of_turn[slot.record.turn]
                    self._count_as_told(slot.record.key)

    def release(self, ids: Sequence[int]) -> None:
        """Let others deliver entries that were leased and not tried."""
        with self._lock:
            for slot in self._found(ids):
                slot.leased_until = 0.0

    def nack(
        self,
        ids: Sequence[int],
        until: float,
        error: str,  # noqa: ARG002 - for journals that people can read
        *,
        refused: bool = False,
        dead_letter: bool = False,
    ) -> None:
        """Try entries again later, or set them apart."""
        with self._lock:
            for slot in self._found(ids):
                slot.tries += 1
                slot.refusals += refused
                slot.due_at, slot.leased_until = until, 0.0
                if dead_letter and not slot.dead_letter:
                    slot.dead_letter = True
                    self._dead_letters += 1

    def pending_count(self, *, include_dead_letters: bool = False) -> int:
        """How many entries are not delivered."""
        return len(self._slots) if include_dead_letters else len(self._slots) - self._dead_letters

    def prune(self, older_than: float) -> int:
        """Forget settled calls that are older than so many seconds; see `Journal.prune`."""
        before = self._clock() - older_than
        with self._lock:
            old = [key for key in self._records if self._moved_at[key] < before]
            return sum(self._forgotten(key) for key in old)

    def close(self) -> None:
        """Nothing to let go of."""

    def _opened(self, record: CallRecord, reporting: ReportingConfig) -> CallRecord:
        stored = self._records.setdefault(record.key, record)
        if stored is not record:
            return unpacked(stored)
        self._moved_at[record.key] = now = self._clock()
        self._open[record.thread] = self._open.get(record.thread, 0) + 1
        if record.state in FINAL_STATES:
            if told := report_kinds(replace(record, state=State.PROPOSED), record, reporting):
                self._queue(told, record, reporting, now)
            self._close(record)
        return record

    def _close(self, record: CallRecord) -> None:
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
        if key in self._untold or thread_of(self._records[key]) in self._open:
            return False
        del self._records[key], self._moved_at[key]
        return True

    def _count_as_told(self, key: str) -> None:
        """Count an entry as delivered; a call that has no other is seldom asked for."""
        if left := self._untold[key] - 1:
            self._untold[key] = left
            return
        del self._untold[key]
        self._told.append(key)
        if len(self._told) >= PACKED_AT_ONCE:
            for told in self._told:
                if isinstance(kept := self._records.get(told), CallRecord):
                    self._records[told] = packed(kept)
            self._told.clear()

    def _queue(
        self, told: Sequence[ReportKind], record: CallRecord, reporting: ReportingConfig, now: float
    ) -> None:
        of_turn = self._of_turn.setdefault(record.turn, {})
        # What a user's redaction hides may depend on who asks: it is asked where the call was made.
        later = has_immutable_output(record) and reporting.redact is redact
        slots = {}
        for number, kind in enumerate(told, self._last + 1):
            due_at = now + MEMORY_GRACE if kind is ReportKind.MEMORY else 0.0
            said = None if later else build_report(kind, record, reporting)
            slots[number] = _Slot(number, kind, record, reporting, due_at, said)
        queued = len(slots)
        untold = self._untold.get(record.key, 0) + queued
        # All or nothing: where nothing is called, Python looks for no signal.
        self._slots |= slots
        of_turn |= slots
        self._last += queued
        self._untold[record.key] = untold

    def _found(self, ids: Iterable[int]) -> list[_Slot]:
        return [self._slots[number] for number in ids if number in self._slots]


_journals: "weakref.WeakSet[MemoryJournal]" = weakref.WeakSet()


def _unlock_in_child() -> None:
    """A child inherits locks that threads of its parent held; here they are nobody's."""
    for journal in _journals:
        journal._lock = threading.Lock()  # noqa: SLF001 - one class, one module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_in_child)
