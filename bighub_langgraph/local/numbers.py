"""Numbers that changes draw, so that every process that shares a store notices them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import Connection, bindparam, select, update

from bighub_langgraph.local.remembered import Remembered
from bighub_langgraph.local.store import Prepared, Store
from bighub_langgraph.local.tables import heads


class Numbers:
    """The numbers of a store; they are read again when somebody else may have drawn one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: Remembered[dict[str, int]] = Remembered(store, 1)
        self._held: dict[str, int] | None = None

    def latest(self, tx: Connection) -> Mapping[str, int]:
        """The last number drawn under each name."""
        if self._held is not None:
            return self._held
        known = self._known.get(_ALL)
        if known is None:
            known = {row[0]: row[1] for row in _HEADS.rows(tx)}
            self._known.put(_ALL, known)
        return known

    def take_turn(self, tx: Connection) -> None:
        """Lock the numbers, before any other row: those who lock several then never cross."""
        if self._store.epoch is None:
            _TURN.rows(tx, name="evidence")

    def draw(self, tx: Connection, name: str) -> int:
        """Draw the next number under a name.

        The name's row stays locked until the commit, so numbers appear in order, none missing.
        """
        if self._held is not None:
            self._held[name] += 1
            return self._held[name]
        number = int(_DRAWN.rows(tx, name=name)[0][0])
        if (known := self._known.get(_ALL)) is not None:
            known[name] = number
        return number

    @contextmanager
    def held(self, tx: Connection) -> Iterator[None]:
        """A stretch of a transaction that is undone as a whole; at its end they are written."""
        if self._store.epoch is None or self._held is not None:  # others may draw meanwhile
            yield
            return
        before = self.latest(tx)
        self._held = held = dict(before)
        try:
            yield
        finally:
            self._held = None
        for name, number in held.items():
            if number != before[name]:
                _WRITTEN.write(tx, this=name, number=number)
        self._known.put(_ALL, held)


_ALL = "all"
_HEADS = Prepared(select(heads.c.name, heads.c.number))
_TURN = Prepared(select(heads.c.number).where(heads.c.name == bindparam("name")).with_for_update())
_DRAWN = Prepared(
    update(heads)
    .where(heads.c.name == bindparam("name"))
    .values(number=heads.c.number + 1)
    .returning(heads.c.number)
)
_WRITTEN = Prepared(update(heads).where(heads.c.name == bindparam("this")), columns=["number"])
