"""What a move leaves behind: a note in the history, and what there is to tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bighub_langgraph.core.models import CallRecord, State
from bighub_langgraph.core.reporting import ReportingConfig, build_reports
from bighub_langgraph.journal import queries
from bighub_langgraph.journal.database import Transaction
from bighub_langgraph.journal.rows import entry_row, note_row


@dataclass(frozen=True, slots=True)
class Traces:
    """Rows of the history and of the outbox."""

    note: Mapping[str, Any]
    told: Sequence[Mapping[str, Any]]

    def add_to(self, db: Transaction) -> None:
        """Add them, in the transaction of their move."""
        db.change(queries.ADD_NOTE, **self.note)
        db.change_each(queries.ADD_ENTRY, self.told)


def traces(
    before: CallRecord | None, after: CallRecord, event: str, reporting: ReportingConfig, at: float
) -> Traces:
    """Make the rows before the transaction begins: a user's `redact` may take its time."""
    told = build_reports(before or replace(after, state=State.PROPOSED), after, reporting)
    return Traces(note_row(before, after, event, at), [entry_row(one, at) for one in told])
