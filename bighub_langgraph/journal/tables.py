"""The journal's tables, and the steps that bring an older database up to date."""

import json
from collections.abc import Callable, Sequence

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    insert,
    inspect,
    select,
    text,
    update,
)

from bighub_langgraph.core.errors import JournalError

metadata = MetaData()

_Number = BigInteger().with_variant(Integer, "sqlite")

calls = Table(
    "bighub_calls",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("thread", Text, nullable=False),
    Column("turn", Text, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("tool", Text, nullable=False),
    Column("request_id", Text),
    Column("created_at", Double, nullable=False),
    # What never changes after the decision: the proposal, the decision, where an edit came from.
    Column("body", Text, nullable=False),
    Column("state", String(32), nullable=False),
    Column("version", Integer, nullable=False),
    Column("moved_at", Double, nullable=False),
    Column("owner", Text),
    Column("starts", Integer, nullable=False),
    Column("expires_at", Double),
    # The reason, a person's answer and the tool's error, as JSON.
    Column("said", Text, nullable=False),
    Column("codec", String(32)),
    Column("result", LargeBinary),
    Index("bighub_calls_by_thread", "thread"),
    Index("bighub_calls_by_state", "state", "moved_at"),
    Index("bighub_calls_by_request", "request_id"),
)

history = Table(
    "bighub_history",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("key", String(64), nullable=False),
    Column("at", Double, nullable=False),
    Column("event", String(32), nullable=False),
    Column("state", String(32), nullable=False),
    Column("version", Integer, nullable=False),
    Column("note", Text, nullable=False),
    Index("bighub_history_by_key", "key"),
)

outbox = Table(
    "bighub_outbox",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("key", String(64), nullable=False),
    Column("turn", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("body", Text, nullable=False),
    Column("queued_at", Double, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("refusals", Integer, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("leased_until", Double, nullable=False),
    Column("leased_by", Text),
    Column("dead_letter", Integer, nullable=False),
    Column("error", Text),
    Index("bighub_outbox_by_key", "key"),
    Index("bighub_outbox_by_lease", "leased_until"),
)

owners = Table(
    "bighub_owners",
    metadata,
    Column("owner", String(128), primary_key=True),
    Column("beat_at", Double, nullable=False),
)

schema = Table("bighub_schema", metadata, Column("version", Integer, nullable=False))

Step = Callable[[Connection], None]


def _add_request_ids(db: Connection) -> None:
    """To version 2: calls are found by BIGHUB's id of their evaluation."""
    db.exec_driver_sql("ALTER TABLE bighub_calls ADD COLUMN request_id TEXT")
    db.exec_driver_sql("CREATE INDEX bighub_calls_by_request ON bighub_calls (request_id)")
    for key, body in db.execute(select(calls.c.key, calls.c.body)).all():
        reply = (json.loads(body)["decision"] or {}).get("reply", {})
        if request_id := reply.get("request_id"):
            row = update(calls).where(calls.c.key == key)
            db.execute(row.values(request_id=str(request_id)))


# The step at place n brings a database from version n + 1 to n + 2. A new database is made from the
# tables above, which are always the newest; never change a step that was released.
STEPS: Sequence[Step] = (_add_request_ids,)

# Any number, as long as every worker uses the same one.
_LOCK = 7_264_512


def migrate(engine: Engine, steps: Sequence[Step] = STEPS) -> int:
    """Bring the database to the newest version and return it; refuse one from a newer program."""
    newest = len(steps) + 1
    with engine.begin() as db:
        if db.dialect.name == "postgresql":
            db.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        else:
            db.exec_driver_sql("BEGIN IMMEDIATE")
        version = version_of(db)
        if version is None:
            metadata.create_all(db)
            db.execute(insert(schema).values(version=newest))
            return newest
        if version > newest:
            raise JournalError(
                f"the journal has schema version {version}, this program knows {newest}: "
                "upgrade bighub-langgraph here, or use another database"
            )
        for step in steps[version - 1 :]:
            step(db)
        if version < newest:
            db.execute(update(schema).values(version=newest))
        return newest


def version_of(db: Connection) -> int | None:
    """The version of a database's tables; None where there are none."""
    if not inspect(db).has_table(schema.name):
        return None
    return int(db.execute(select(schema.c.version)).scalar_one())
