"""Sessions in the store: what each did so far."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, bindparam, func, select

from bighub_langgraph.local.checking import written
from bighub_langgraph.local.remembered import Remembered
from bighub_langgraph.local.scoring.session import Session
from bighub_langgraph.local.store import Prepared, Store
from bighub_langgraph.local.tables import sessions

_IN_MIND = 256


class Sessions:
    """The sessions of a store; those that are at work need not be read again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._holds = False
        self._insert = store.prepared(sessions, replace="session_id")
        self._latest: Remembered[Session] = Remembered(store, _IN_MIND)

    def read(self, tx: Connection, session_id: str) -> Session:
        """A session's summary so far, locked until the end of the transaction."""
        known = self._latest.get(session_id)
        if known is None and self._holds and session_id in self._store.pending:
            known = self._store.pending[session_id][0]
        if known is not None:
            return known
        found = _BY_ID.rows(tx, session_id=session_id)
        if not found and self._store.epoch is None:
            # There is no row to lock yet, and others may be about to write it, too.
            _ALONE.rows(tx, session_id=session_id)
            found = _BY_ID.rows(tx, session_id=session_id)
        return Session.from_json(json.loads(found[0][0])) if found else Session()

    def save(self, tx: Connection, session_id: str, session: Session, at: float) -> None:
        """Keep a session's new summary."""
        if self._holds:
            self._store.pending[session_id] = session, at
        else:
            self._write(tx, session_id, session, at)
        self._latest.put(session_id, session)

    @contextmanager
    def held(self, tx: Connection) -> Iterator[None]:
        """A stretch of a transaction at whose end each session is written once."""
        if self._holds or self._store.epoch is None:  # others may write to the same meanwhile
            yield
            return
        self._holds = True
        try:
            yield
        finally:
            self._holds = False
        if self._store.pending:
            with self._store.transaction():  # refused when SQLite has undone the one around it
                for session_id, (session, at) in self._store.pending.items():
                    self._write(tx, session_id, session, at)
            self._store.pending.clear()

    def clear(self) -> None:
        """Forget what is in mind, not what is in the store."""
        self._latest.clear()

    def _write(self, tx: Connection, session_id: str, session: Session, at: float) -> None:
        summary = written(session.to_json())
        self._insert.write(tx, session_id=session_id, at=at, summary=summary)


_BY_ID = Prepared(
    select(sessions.c.summary)
    .where(sessions.c.session_id == bindparam("session_id"))
    .with_for_update()
)
_ALONE = Prepared(
    select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("session_id"), 0)))
)
