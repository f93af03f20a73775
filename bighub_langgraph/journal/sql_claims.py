"""Claims of work that is no tool call: one process at a time does it, and its result is kept."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from bighub_langgraph.core.ports import Claim
from bighub_langgraph.journal import schema
from bighub_langgraph.journal.row_mapping import name_row
from bighub_langgraph.sqldb import Database, execute, fetch_rows


def take_claim(
    database: Database,
    key: str,
    owner: str,
    *,
    durable: bool,
    beat: Callable[[sa.Connection], None],
    is_dead: Callable[[str], bool],
) -> Claim:
    """Take a claim, unless it has a result or a living process holds it; return it.

    With it, `beat` writes the heartbeat of this process when it is due.
    """
    while True:
        with database.transaction(durable=durable) as db:
            if execute(db, schema.INSERT_CLAIM, key=key, owner=owner, at=database.now()):
                beat(db)
                return Claim(owner)
            rows = fetch_rows(db, schema.SELECT_CLAIM, key=key)
        for row in rows:
            claim = _claim_from_row(row)
            if claim.result is not None or not is_dead(claim.owner):
                return claim
            end_claim(database, key, claim.owner, durable=durable)


def end_claim(
    database: Database,
    key: str,
    owner: str,
    result: Mapping[str, Any] | None = None,
    *,
    durable: bool,
) -> None:
    """Release a claim, or keep its result."""
    with database.transaction(durable=durable) as db:
        if result is None:
            execute(db, schema.DELETE_CLAIM, key=key, owner=owner)
        else:
            values = {"result": json.dumps(result), "at": database.now()}
            execute(db, schema.FINISH_CLAIM, key=key, owner=owner, **values)


def _claim_from_row(row: Mapping[str, Any]) -> Claim:
    result = row["result"]
    if result is None:
        return Claim(row["owner"], None)
    with name_row(f"claim {row['key']}", "bighub_claims"):
        return Claim(row["owner"], dict(json.loads(result)))
