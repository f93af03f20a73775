"""The journal for people: what ran, who said what, what waits, what may be forgotten."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bighub_langgraph.core.models import CallRecord, State
from bighub_langgraph.core.ports import QueuedReport
from bighub_langgraph.journal import queries
from bighub_langgraph.journal.database import Database
from bighub_langgraph.journal.rows import queued_of, record_of, storable

DAY = 86_400.0
AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Line:
    """One call in the books.

    Attributes:
        moved_at: When it came into its state, in seconds since the epoch.
        in_doubt: Whether nobody knows what became of it. A call that is running in a process that
            is gone is in doubt before anybody has noted it.
    """

    record: CallRecord
    moved_at: float
    in_doubt: bool


@dataclass(frozen=True, slots=True)
class Note:
    """One move of a call, as the history keeps it for ever.

    Attributes:
        said: Who did it and why: the decision, an approval with its approver and whether that name
            was verified, an error, a reason, the process.
    """

    at: float
    event: str
    state: State
    version: int
    said: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Waiting:
    """One undelivered entry.

    Attributes:
        dead_letter: Whether it was set dead_letter and waits for a person.
        error: Why the last try failed.
    """

    queued: QueuedReport
    queued_at: float
    due_at: float
    dead_letter: bool
    error: str


class Books:
    """Reads the tables of a journal, and forgets what is old and settled."""

    def __init__(self, database: Database, abandoned: Callable[[CallRecord], bool]) -> None:
        self._db = database
        self._abandoned = abandoned

    def calls(
        self,
        *,
        thread: str | None = None,
        tool: str | None = None,
        states: Collection[State] = (),
        limit: int = 1000,
    ) -> list[Line]:
        """Calls, the newest first."""
        given: dict[str, Any] = {"most": limit}
        for name, text in (("thread", thread), ("tool", tool)):
            if text is not None:
                given[name] = storable(text)
        wanted = [f"{name} = :{name}" for name in ("thread", "tool") if name in given]
        if states:
            # Words of ours, so they may stand in the text.
            wanted.append(f"state IN ({', '.join(repr(one.value) for one in sorted(states))})")
        with self._db.reading() as db:
            rows = db.rows(queries.list_calls(wanted), **given)
        return [self._line(row) for row in rows]

    def matching(self, prefix: str) -> list[Line]:
        """The calls whose key begins so, two at most: people do not type whole keys."""
        with self._db.reading() as db:
            rows = db.rows(queries.CALLS_FROM, key=prefix, end=prefix + "g")
        return [self._line(row) for row in rows]

    def history(self, key: str) -> list[Note]:
        """Every move of a call, the first one first."""
        with self._db.reading() as db:
            rows = db.rows(queries.READ_NOTES, key=key)
        return [_note(row) for row in rows]

    def outbox(self, *, dead_letter: bool | None = None, limit: int = 1000) -> list[Waiting]:
        """What is not delivered, the oldest first; with `dead_letter` only what was set dead_letter, or not."""
        wanted = [] if dead_letter is None else [f"dead_letter = {int(dead_letter)}"]
        with self._db.reading() as db:
            rows = db.rows(queries.list_entries(wanted), most=limit)
        return [_waiting(row) for row in rows]

    def retry(self) -> int:
        """Give everything that was set dead_letter a fresh start; returns how many entries those were."""
        with self._db.writing() as db:
            return db.change(queries.RETRY)

    def counts(self) -> dict[State, int]:
        """How many calls are in each state."""
        with self._db.reading() as db:
            return {State(row["state"]): row["number"] for row in db.rows(queries.COUNT_STATES)}

    def in_doubt(self, *, thread: str | None = None, tool: str | None = None) -> list[Line]:
        """The calls of which nobody knows what became of them."""
        lines = self.calls(thread=thread, tool=tool, states={State.UNKNOWN, State.RUNNING})
        return [line for line in lines if line.in_doubt]

    def prune(self, older_than: float) -> int:
        """Forget settled and delivered calls whose threads have nothing open."""
        before = self._db.now() - older_than
        forgotten = sum(self._pruned(before))
        with self._db.writing() as db:
            db.change(queries.FORGET_OWNERS, before=min(before, self._db.now() - DAY))
        return forgotten

    def _pruned(self, before: float) -> Iterator[int]:
        # Some hundred at a time, so that nobody who claims a call waits long.
        while True:
            with self._db.writing() as db:
                keys = db.rows(queries.SETTLED_BEFORE, before=before, most=AT_ONCE)
                db.change_each(queries.FORGET_NOTES, keys)
                db.change_each(queries.FORGET_CALL, keys)
            yield len(keys)
            if len(keys) < AT_ONCE:
                return

    def _line(self, row: Mapping[str, Any]) -> Line:
        record = record_of(row)
        lost = record.state is State.RUNNING and self._abandoned(record)
        return Line(record, row["moved_at"], lost or record.state is State.UNKNOWN)


def _note(row: Mapping[str, Any]) -> Note:
    said = json.loads(row["note"])
    return Note(row["at"], row["event"], State(row["state"]), row["version"], said)


def _waiting(row: Mapping[str, Any]) -> Waiting:
    dead_letter, error = bool(row["dead_letter"]), row["error"] or ""
    return Waiting(queued_of(row), row["queued_at"], row["due_at"], dead_letter, error)
