"""The outbox's rows: what is leased for delivery, delivered or postponed."""

from collections.abc import Sequence
from typing import Any

from bighub_langgraph.core.ports import DELIVERY_LEASE, QueuedReport
from bighub_langgraph.journal import queries
from bighub_langgraph.journal.database import Database, Transaction
from bighub_langgraph.journal.owners import ThisProcess, presence
from bighub_langgraph.journal.rows import queued_of, storable


class Outbox:
    """The undelivered entries of a journal; any worker may deliver them."""

    def __init__(self, database: Database, process: ThisProcess) -> None:
        self._db = database
        self._process = process

    def lease_batch(
        self, at: float, limit: int, turn: str | None = None, *, early: bool = False
    ) -> list[QueuedReport]:
        """Lease what is due; what follows an entry that is not due yet waits for it."""
        now = self._db.now()
        given: dict[str, Any] = {"now": now, "at": at, "most": limit}
        if turn is not None:
            given["turn"] = storable(turn)
        with self._db.writing() as db:
            if not self._db.sqlite:
                db.rows(queries.ONE_AT_A_TIME)
            self._end_leases(db, now)
            rows = db.rows(_due(turn, early=early), **given)
            lease = {"until": now + DELIVERY_LEASE, "owner": self._process.name}
            db.change_each(queries.LEASE, [{"id": row["id"], **lease} for row in rows])
        return [queued_of(row) for row in rows]

    def ack(self, ids: Sequence[int]) -> None:
        """Forget entries that arrived."""
        with self._db.writing() as db:
            db.change_each(queries.FORGET, [{"id": one} for one in ids])

    def release(self, ids: Sequence[int]) -> None:
        """Let others deliver entries that were leased and not tried."""
        with self._db.writing() as db:
            db.change_each(queries.GIVE_BACK, [{"id": one} for one in ids])

    def nack(
        self, ids: Sequence[int], until: float, error: str, *, refused: bool, dead_letter: bool
    ) -> None:
        """Try entries again later, or set them apart."""
        said = {"due_at": until, "error": storable(error), "refused": int(refused)}
        with self._db.writing() as db:
            rows = [{"id": one, "dead_letter": int(dead_letter), **said} for one in ids]
            db.change_each(queries.POSTPONE, rows)

    def pending_count(self, *, include_dead_letters: bool = False) -> int:
        """How many entries are not delivered."""
        with self._db.reading() as db:
            [found] = db.rows(queries.COUNT)
        return int(found["number"]) - (0 if include_dead_letters else int(found["dead_letter"]))

    def _end_leases(self, db: Transaction, now: float) -> None:
        """Take over what a process has leased that is known to be gone."""
        owners = [row["owner"] for row in db.rows(queries.READ_LEASES, now=now)]
        gone = [{"owner": owner} for owner in owners if owner and presence(owner) is False]
        db.change_each(queries.END_LEASES, gone)


def _due(turn: str | None, *, early: bool) -> str:
    """The query for what is due, of one round or of all."""
    ready = ["{0}.due_at <= :at"]
    if early:
        ready.append("{0}.refusals = 0")
    if turn is not None:
        # A round that is over is told at once, its memory events too.
        ready.append("({0}.turn = :turn AND {0}.tries = 0)")
    either = f"({' OR '.join(ready)})"
    return queries.READ_DUE.format(
        ready=either.format("one"),
        earlier_ready=either.format("earlier"),
        of_turn="" if turn is None else "AND one.turn = :turn",
    )
