"""The journal for people: what ran, who answered what, what is pending, what may be deleted."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bighub_langgraph.core.models import CallRecord, State
from bighub_langgraph.core.ports import ApprovalQuestion, QueuedReport
from bighub_langgraph.journal import schema
from bighub_langgraph.journal.row_mapping import (
    name_row,
    question_from_row,
    read_rows,
    record_from_row,
    report_from_row,
    to_storable,
)
from bighub_langgraph.sqldb import Database, execute, execute_many, fetch_rows

DAY = 86_400.0
PRUNE_BATCH = 500


@dataclass(frozen=True, slots=True)
class CallView:
    """One call with its state.

    Attributes:
        updated_at: When it came into its state, in seconds since the epoch.
        outcome_unknown: Whether its outcome is unknown. That of a call whose process has ended
            while it ran is unknown before its record says so.
    """

    record: CallRecord
    updated_at: float
    outcome_unknown: bool


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """One call with what people are shown of it.

    Attributes:
        question: What was stored when people were asked; None where nobody was, or by a facade.
        asked_at: When they were asked last.
        change: A number that grows with every change of the call.
    """

    call: CallView
    question: ApprovalQuestion | None
    asked_at: float | None
    change: int


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One transition of a call, as the history keeps it.

    Attributes:
        details: Who made it and why: the decision, an approval with its approver and whether that
            name was verified, an error, a reason, the process.
    """

    at: float
    event: str
    state: State
    version: int
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One report that is not delivered.

    Attributes:
        dead_letter: Whether it is a dead letter and waits until someone requeues it.
        error: Why the last delivery failed.
    """

    report: QueuedReport
    queued_at: float
    due_at: float
    dead_letter: bool
    error: str


class JournalAdmin:
    """Reads the tables of a journal, and deletes old calls that are final."""

    def __init__(self, database: Database, is_owner_dead: Callable[[CallRecord], bool]) -> None:
        self._db = database
        self._is_owner_dead = is_owner_dead

    def calls(
        self,
        *,
        thread: str | None = None,
        tool: str | None = None,
        states: Collection[State] = (),
        longer_than: float | None = None,
        limit: int = 1000,
    ) -> list[CallView]:
        """Return calls, newest first; those that are in their state for some seconds."""
        filters = {"thread": thread, "tool": tool}
        values: dict[str, Any] = {
            name: to_storable(text) for name, text in filters.items() if text is not None
        }
        if states:
            values["state"] = [state.value for state in states]
        if longer_than is not None:
            values["before"] = self._db.now() - longer_than
        rows = self._db.fetch_rows(schema.select_calls(values), **values, limit=limit)
        return read_rows(rows, self._build_view)

    def find_by_prefix(self, prefix: str) -> list[CallView]:
        """Return the calls whose key begins with a prefix, two at most."""
        query = schema.SELECT_CALLS_BY_PREFIX
        return [
            self._build_view(row)
            for row in self._db.fetch_rows(query, key=prefix, end=prefix + "g")
        ]

    def approvals(
        self, *, longer_than: float | None = None, limit: int = 1000, **filters: Any
    ) -> list[ApprovalView]:
        """Return calls with what people are shown of them, newest first.

        Filters are `key`, `agent`, `tool`, `root` (the root graph's thread), `state` (a list) and
        `not_notified`, the channel through which people were not notified of them.
        """
        values: dict[str, Any] = {
            name: to_storable(value) if isinstance(value, str) else [str(item) for item in value]
            for name, value in filters.items()
            if value is not None
        }
        if longer_than is not None:
            values["before"] = self._db.now() - longer_than
        rows = self._db.fetch_rows(schema.select_approvals(values), **values, limit=limit)
        return read_rows(
            rows,
            lambda row: ApprovalView(
                self._build_view(row), question_from_row(row), row["asked_at"], row["change"]
            ),
        )

    def record_notifications(self, channel: str, views: Sequence[ApprovalView]) -> None:
        """Store that people were notified of some calls."""
        records = [view.call.record for view in views]
        fields = {"channel": channel, "at": self._db.now()}
        rows = [{"key": record.key, "starts": record.starts, **fields} for record in records]
        with self._db.transaction() as db:
            execute_many(db, schema.INSERT_NOTIFICATION, rows)

    def newest_change(self) -> int:
        """Return a number that grows with every change of a call that people are asked about.

        Such are questions, votes, and all later transitions; calls that run without approval do not
        change it.
        """
        [row] = self._db.fetch_rows(schema.SELECT_NEWEST_CHANGE)
        return row["change"] or 0

    def history(self, key: str) -> list[HistoryEntry]:
        """Return every transition of a call, oldest first."""
        return read_rows(self._db.fetch_rows(schema.SELECT_HISTORY, key=key), _build_history_entry)

    def outbox(self, *, dead_letter: bool | None = None, limit: int = 1000) -> list[OutboxEntry]:
        """Return undelivered reports, oldest first; with `dead_letter` only such, or the others."""
        values = {} if dead_letter is None else {"dead_letter": int(dead_letter)}
        rows = self._db.fetch_rows(schema.select_reports(values), **values, limit=limit)
        return [
            OutboxEntry(
                report=report_from_row(row),
                queued_at=row["queued_at"],
                due_at=row["due_at"],
                dead_letter=bool(row["dead_letter"]),
                error=row["error"] or "",
            )
            for row in rows
        ]

    def requeue(self) -> int:
        """Make every dead letter due again; return how many there were."""
        with self._db.transaction() as db:
            return execute(db, schema.REQUEUE_REPORTS)

    def counts(self) -> dict[str, int]:
        """Return how many calls are in each state."""
        rows = self._db.fetch_rows(schema.COUNT_CALLS)
        return {row["state"]: row["number"] for row in rows}

    def count_waiting(self) -> tuple[int, float | None]:
        """Count the calls that wait for a person, and return when the oldest was made."""
        [row] = self._db.fetch_rows(schema.COUNT_WAITING)
        return row["number"], row["oldest"]

    def unknown_outcomes(
        self, *, thread: str | None = None, tool: str | None = None
    ) -> list[CallView]:
        """Return the calls whose outcome is unknown."""
        views = self.calls(thread=thread, tool=tool, states={State.UNKNOWN, State.RUNNING})
        return [view for view in views if view.outcome_unknown]

    def prune(self, older_than: float) -> int:
        """Delete final and delivered calls of threads without open calls; return how many."""
        before = self._db.now() - older_than
        deleted_count = 0
        keys = None
        # In batches, so that a process that claims a call does not wait long.
        while keys is None or len(keys) == PRUNE_BATCH:
            with self._db.transaction() as db:
                keys = fetch_rows(db, schema.SELECT_PRUNABLE, before=before, limit=PRUNE_BATCH)
                execute_many(db, schema.DELETE_HISTORY, keys)
                execute_many(db, schema.DELETE_QUESTION, keys)
                execute_many(db, schema.DELETE_NOTIFICATION, keys)
                execute_many(db, schema.DELETE_CALL, keys)
            deleted_count += len(keys)
        with self._db.transaction() as db:
            execute(db, schema.PRUNE_CLAIMS, before=before)
            execute(db, schema.DELETE_OWNERS, age=max(older_than, DAY))
        return deleted_count

    def _build_view(self, row: Mapping[str, Any]) -> CallView:
        record = record_from_row(row)
        is_lost = record.state is State.RUNNING and self._is_owner_dead(record)
        return CallView(record, row["updated_at"], is_lost or record.state is State.UNKNOWN)


def _build_history_entry(row: Mapping[str, Any]) -> HistoryEntry:
    with name_row(f"row {row['id']}, of call {row['key']},", "bighub_history"):
        values = {name: row[name] for name in ("at", "event", "version")}
        details = dict(json.loads(row["details"]))
        return HistoryEntry(**values, state=State(row["state"]), details=details)
