"""Gapless sequences in the store, by which every process notices new evidence and new limits."""

from collections.abc import Mapping

from sqlalchemy import Connection, bindparam, select, update

from bighub_langgraph.local.engine_store import Prepared, Store
from bighub_langgraph.local.tables import heads


class Sequences:
    """The sequences of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def current_values(self, tx: Connection) -> Mapping[str, int]:
        """Return the last number of each sequence."""
        return {row[0]: row[1] for row in _VALUES.rows(tx)}

    def lock(self, tx: Connection) -> None:
        """Lock the sequences before any other row, so that transactions never deadlock."""
        if not self._store.sqlite:
            _LOCK.rows(tx, name="evidence")

    def next_value(self, tx: Connection, name: str) -> int:
        """Advance a sequence and return its new number.

        Its row stays locked until the commit, so numbers become visible in order, without gaps.
        """
        return int(_ADVANCE.rows(tx, name=name)[0][0])


_VALUES = Prepared(select(heads.c.name, heads.c.number))
_LOCK = Prepared(select(heads.c.number).where(heads.c.name == bindparam("name")).with_for_update())
_ADVANCE = Prepared(
    update(heads)
    .where(heads.c.name == bindparam("name"))
    .values(number=heads.c.number + 1)
    .returning(heads.c.number)
)
