"""Sessions in the store: what each did so far."""

import json

from sqlalchemy import Connection, bindparam, select

from bighub_langgraph.local.checking import written
from bighub_langgraph.local.scoring.session import Session
from bighub_langgraph.local.store import Prepared, Store
from bighub_langgraph.local.tables import sessions


def read_session(tx: Connection, session_id: str) -> Session:
    """A session's summary so far, locked until the end of the transaction."""
    found = _BY_ID.rows(tx, session_id=session_id)
    return Session.from_json(json.loads(found[0][0])) if found else Session()


def save_session(
    store: Store, tx: Connection, session_id: str, session: Session, at: float
) -> None:
    """Keep a session's new summary."""
    summary = written(session.to_json())
    insert = store.prepared(sessions, replace="session_id")
    insert.write(tx, session_id=session_id, at=at, summary=summary)


_BY_ID = Prepared(
    select(sessions.c.summary)
    .where(sessions.c.session_id == bindparam("session_id"))
    .with_for_update()
)
