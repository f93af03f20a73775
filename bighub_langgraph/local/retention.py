"""What an engine in memory forgets: the oldest rows, but not what they taught."""

from sqlalchemy import Connection, delete, func, select

from bighub_langgraph.local.store import Store
from bighub_langgraph.local.tables import decisions, evidence, memory, outcomes, sessions

KEPT = 20_000
EVERY = 1_000


def forget_oldest(store: Store, tx: Connection) -> None:
    """Drop what lies beyond the newest decisions. A database on disk keeps everything."""
    if not store.in_memory:
        return
    newest = tx.execute(select(func.max(decisions.c.id))).scalar_one()
    if newest is None or newest <= KEPT:
        return
    tx.execute(delete(decisions).where(decisions.c.id <= newest - KEPT))
    oldest = tx.execute(select(func.min(decisions.c.at))).scalar_one()
    for table in (outcomes, evidence, sessions, memory):
        tx.execute(delete(table).where(table.c.at < oldest))
