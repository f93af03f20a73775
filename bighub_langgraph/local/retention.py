"""What an engine in memory forgets: the oldest rows, but not what they taught."""

from sqlalchemy import Connection, delete, func, select

from bighub_langgraph.local.store import Store
from bighub_langgraph.local.tables import decisions, evidence, memory, outcomes, sessions

KEPT = 20_000
EVERY = 5_000  # decisions; before rows are forgotten the model is kept, which takes a while


def is_crowded(store: Store, tx: Connection) -> bool:
    """Whether there is something to forget. A database on disk keeps everything."""
    return store.in_memory and _newest(tx) > KEPT


def forget_oldest(store: Store, tx: Connection) -> None:
    """Drop what lies beyond the newest decisions."""
    if not is_crowded(store, tx):
        return
    tx.execute(delete(decisions).where(decisions.c.id <= _newest(tx) - KEPT))
    oldest = tx.execute(select(func.min(decisions.c.at))).scalar_one()
    for table in (outcomes, evidence, sessions, memory):
        tx.execute(delete(table).where(table.c.at < oldest))


def _newest(tx: Connection) -> int:
    return tx.execute(select(func.max(decisions.c.id))).scalar_one() or 0
