"""Decisions as their outcomes need them; those just made are in mind, as outcomes come soon."""

from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from bighub_langgraph.local.remembered import Remembered
from bighub_langgraph.local.store import Prepared, Store
from bighub_langgraph.local.tables import decisions

_IN_MIND = 256


class Decided(NamedTuple):
    """As much of a decision as an outcome needs to know."""

    request_id: str
    at: float
    domain: str
    action: str
    actor: str
    session_id: str | None
    risk: float
    recommendation: str
    approval: str
    resolved_at: float | None = None
    outcome: str | None = None
    severity: float = 0.0
    label: int | None = None
    label_at: float | None = None
    label_seq: int | None = None


class Decisions:
    """The decisions of a store."""

    def __init__(self, store: Store) -> None:
        self._latest: Remembered[Decided] = Remembered(store, _IN_MIND)

    def find(self, tx: Connection, request_id: str) -> Decided | None:
        """A decision by its id, locked until the end of the transaction."""
        known = self._latest.get(request_id)
        if known is not None:
            return known
        found = _BY_ID.rows(tx, request_id=request_id)
        return Decided(*found[0]) if found else None

    def made(self, decided: Decided) -> None:
        """Keep in mind what was just written."""
        self._latest.put(decided.request_id, decided)

    def changed(self, request_id: str) -> None:
        """Forget what a decision was: it was written anew."""
        self._latest.drop(request_id)


_BY_ID = Prepared(
    select(*(decisions.c[name] for name in Decided._fields))
    .where(decisions.c.request_id == bindparam("request_id"))
    .with_for_update()
)
