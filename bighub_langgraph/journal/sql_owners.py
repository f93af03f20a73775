"""The processes that use a journal: whether they live, and their claims of work that is no call."""

import json
import math
import time
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from bighub_langgraph.core.ports import WorkClaim
from bighub_langgraph.journal import schema
from bighub_langgraph.journal.liveness import (
    ProcessIdentity,
    is_alive,
    is_of_earlier_boot,
    process_of,
)
from bighub_langgraph.journal.row_mapping import name_row
from bighub_langgraph.sqldb import Database, execute, fetch_rows


class SqlOwners:
    """The heartbeats of processes, and the claims that one process at a time holds.

    A process that cannot be looked at counts as dead after `lease` seconds without a heartbeat.
    """

    def __init__(self, database: Database, process: ProcessIdentity, lease: float) -> None:
        self._db = database
        self._process = process
        self._lease = lease
        self.reset()

    def reset(self) -> None:
        """Forget what a forked child inherited from its parent."""
        self._beat_at = -math.inf

    @property
    def is_beat_due(self) -> bool:
        """Whether this process has to write its heartbeat."""
        return time.monotonic() - self._beat_at > self._lease / 3

    def write_beat(self, db: sa.Connection) -> None:
        """Write the heartbeat when it is due, in a transaction that has taken effect so far."""
        if self.is_beat_due:
            execute(db, schema.UPSERT_BEAT, owner=self._process.name)
            self._beat_at = time.monotonic()

    def is_dead(self, owner: str | None) -> bool:
        """Whether the process of an attempt has ended."""
        process = process_of(owner)
        if process == self._process.name:
            return False
        alive = is_alive(process)
        if alive is not None:
            return not alive
        if self._db.sqlite and is_of_earlier_boot(process):
            return True
        # While the database is away no process can write a heartbeat: count from its return.
        if time.monotonic() - self._db.failed_at <= self._lease:
            return False
        rows = self._db.fetch_rows(schema.SELECT_BEAT_AGE, owner=process)
        return all(row["age"] > self._lease for row in rows)

    def claim_work(self, key: str, owner: str, *, durable: bool) -> WorkClaim:
        """Claim work that is no call, unless it has a result or a living process holds it."""
        while True:
            with self._db.transaction(durable=durable) as db:
                if execute(db, schema.INSERT_CLAIM, key=key, owner=owner, at=self._db.now()):
                    self.write_beat(db)
                    return WorkClaim(owner)
                rows = fetch_rows(db, schema.SELECT_CLAIM, key=key)
            for row in rows:
                claim = _build_claim(row)
                if claim.result is not None or not self.is_dead(claim.owner):
                    return claim
                self.end_work_claim(key, claim.owner, None, durable=durable)

    def end_work_claim(
        self, key: str, owner: str, result: Mapping[str, Any] | None, *, durable: bool
    ) -> None:
        """Release a claim, or keep its result."""
        with self._db.transaction(durable=durable) as db:
            if result is None:
                execute(db, schema.DELETE_CLAIM, key=key, owner=owner)
            else:
                values = {"result": json.dumps(result), "at": self._db.now()}
                execute(db, schema.FINISH_CLAIM, key=key, owner=owner, **values)


def _build_claim(row: Mapping[str, Any]) -> WorkClaim:
    result = row["result"]
    if result is None:
        return WorkClaim(row["owner"], None)
    with name_row(f"claim {row['key']}", "bighub_claims"):
        return WorkClaim(row["owner"], dict(json.loads(result)))
