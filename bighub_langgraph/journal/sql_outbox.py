"""The outbox's rows: reports that are reserved, leased, acknowledged or retried."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa

from bighub_langgraph.core.errors import JournalError
from bighub_langgraph.core.ports import DELIVERY_LEASE, QueuedReport
from bighub_langgraph.journal import schema
from bighub_langgraph.journal.liveness import ProcessIdentity, is_alive, process_of
from bighub_langgraph.journal.row_mapping import report_from_row, to_storable
from bighub_langgraph.sqldb import Database, execute, execute_many, fetch_rows


class Outbox:
    """The undelivered reports of a journal; any worker may deliver them.

    The process that ran a call reserves its reports in the transaction that stores them. Leasing
    them is then a matter of this process's memory, and acknowledged reports are deleted by its
    next transaction, so that a call needs no commit for its delivery. The reservation is a lease
    in the database: other processes wait until it expires or this process is gone.
    """

    def __init__(self, database: Database, process: ProcessIdentity) -> None:
        self._db = database
        self._process = process
        self.reset()

    def reset(self) -> None:
        """Forget what a forked child inherited from its parent."""
        self._lease_ends: dict[int, float] = {}  # reserved reports that are handed out, until when
        self._acked_ids: set[int] = set()
        self._has_reserved = False
        self._lock = threading.Lock()

    def reserve(self, rows: Sequence[dict[str, Any]]) -> None:
        """Reserve new reports for this process."""
        self._has_reserved = True
        for row in rows:
            row |= {"lease": DELIVERY_LEASE, "leased_by": self._reservation_owner}

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A transaction that also deletes the reports acknowledged so far."""
        acked_ids = sorted(self._acked_ids)
        with self._db.transaction() as db:
            execute_many(db, schema.DELETE_REPORT, [{"id": number} for number in acked_ids])
            yield db
        self._acked_ids.difference_update(acked_ids)

    def flush(self) -> None:
        """Delete the reports acknowledged so far."""
        if self._acked_ids:
            with self.transaction():
                pass

    def lease_batch(
        self, at: float, limit: int, turn: str | None = None, *, early: bool = False
    ) -> list[QueuedReport]:
        """Lease due reports; one waits for the earlier ones of its call."""
        query = schema.select_due(turn, early=early)
        with self._lock:
            now = time.monotonic()
            self._lease_ends = {
                number: end for number, end in self._lease_ends.items() if end > now
            }
            values: dict[str, Any] = {
                "at": at,
                "limit": limit,
                "reserved": self._reservation_owner,
                "leased": list(self._lease_ends),
            }
            if turn is not None:
                values["turn"] = to_storable(turn)
            with self._db.read_connection() as db:
                rows = fetch_rows(db, query, **values, acked=list(self._acked_ids))
                dead_owners = self._find_dead_owners(db)
            if dead_owners or not all(map(self._is_reserved, rows)):
                rows = self._lease(query, values, dead_owners)
            elif rows:
                self._lease_ends.update({row["id"]: now + _remaining_lease(row) for row in rows})
            else:
                self.flush()
        return [report_from_row(row) for row in rows]

    def ack(self, ids: Sequence[int]) -> None:
        """Remove delivered reports. Their rows are deleted by this process's next transaction."""
        self._acked_ids.update(ids)
        self._end_leases(ids)

    def release(self, ids: Sequence[int]) -> None:
        """End the lease of reports that were not tried."""
        with self.transaction() as db:
            execute_many(db, schema.RELEASE_REPORT, [{"id": number} for number in ids])
        self._end_leases(ids)

    def nack(
        self, ids: Sequence[int], until: float, error: str, *, refused: bool, dead_letter: bool
    ) -> None:
        """Retry reports later, or make them dead letters."""
        values = {"due_at": until, "error": to_storable(error), "refused": int(refused)}
        values["dead_letter"] = int(dead_letter)
        with self.transaction() as db:
            execute_many(db, schema.RETRY_REPORT, [{"id": number, **values} for number in ids])
        self._end_leases(ids)

    def pending_count(self, *, include_dead_letters: bool = False) -> int:
        """Count the reports that are not delivered."""
        [row] = self._db.fetch_rows(schema.COUNT_REPORTS, acked=list(self._acked_ids))
        return int(row["number"]) - (0 if include_dead_letters else int(row["dead_letters"]))

    def close(self) -> None:
        """Delete acknowledged reports and leave reserved ones to other processes."""
        if self._acked_ids or self._has_reserved:
            # On failure the reports stay, and some are delivered once more.
            with suppress(JournalError), self.transaction() as db:
                execute(db, schema.END_LEASES, owner=self._reservation_owner)
            self._has_reserved = False

    @property
    def _reservation_owner(self) -> str:
        """The owner of reserved reports."""
        return f"{self._process.name}/reserved"

    def _is_reserved(self, row: Mapping[str, Any]) -> bool:
        """Whether a report is reserved for as long as a worker keeps its lease."""
        is_long_enough = DELIVERY_LEASE / 2 <= _remaining_lease(row) <= 2 * DELIVERY_LEASE
        return is_long_enough and row["leased_by"] == self._reservation_owner

    def _lease(
        self, query: str, values: Mapping[str, Any], dead_owners: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        with self.transaction() as db:
            if not self._db.sqlite:
                fetch_rows(db, schema.LOCK_OUTBOX)
            execute_many(db, schema.END_LEASES, dead_owners)
            rows = fetch_rows(db, query, **values, acked=list(self._acked_ids))
            owner = self._process.name
            leases = [{"id": row["id"], "owner": owner} for row in rows]
            execute_many(db, schema.LEASE_REPORT, leases)
        return rows

    def _find_dead_owners(self, db: sa.Connection) -> list[dict[str, Any]]:
        """Return the owners of leases whose process is known to be gone."""
        rows = fetch_rows(db, schema.SELECT_LEASE_OWNERS)
        return [row for row in rows if row["owner"] and is_alive(process_of(row["owner"])) is False]

    def _end_leases(self, ids: Sequence[int]) -> None:
        for number in ids:
            self._lease_ends.pop(number, None)


def _remaining_lease(row: Mapping[str, Any]) -> float:
    remaining: float = row["leased_until"] - row["now"]
    return remaining
