"""Claims of work that is no tool call: one process at a time does it, and its result is kept."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from bighub_langgraph.core.ports import Claim
from bighub_langgraph.journal import schema
from bighub_langgraph.sqldb import Database, execute, fetch_rows


class ClaimTable:
    """The claims of a journal on SQL.

    Args:
        beat: Writes the heartbeat of this process in a transaction, when it is due.
        is_dead: Whether the process of an owner has ended.
    """

    def __init__(
        self,
        database: Database,
        beat: Callable[[sa.Connection], None],
        is_dead: Callable[[str], bool],
    ) -> None:
        self._db = database
        self._beat = beat
        self._is_dead = is_dead

    def claim(self, key: str, owner: str) -> Claim:
        """Take a claim, unless it has a result or a living process holds it; return it."""
        while True:
            with self._db.transaction() as db:
                row = {"key": key, "owner": owner, "at": self._db.now()}
                if execute(db, schema.INSERT_CLAIM, **row):
                    self._beat(db)
                    return Claim(owner)
                rows = fetch_rows(db, schema.SELECT_CLAIM, key=key)
            for stored in rows:
                result = stored["result"]
                claim = Claim(stored["owner"], None if result is None else json.loads(result))
                if claim.result is not None or not self._is_dead(claim.owner):
                    return claim
                self.end(key, claim.owner)

    def end(self, key: str, owner: str, result: Mapping[str, Any] | None = None) -> None:
        """Release a claim, or keep its result."""
        with self._db.transaction() as db:
            if result is None:
                execute(db, schema.DELETE_CLAIM, key=key, owner=owner)
            else:
                values = {"result": json.dumps(result), "at": self._db.now()}
                execute(db, schema.FINISH_CLAIM, key=key, owner=owner, **values)
