"""The journal's tables, and the steps that bring an older database up to date."""

from collections.abc import Callable, Sequence

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
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

calls = Table(
    "bighub_calls",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("thread", Text, nullable=False),
    Column("turn", Text, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("tool", Text, nullable=False),
    Column("state", String(32), nullable=False),
    Column("version", Integer, nullable=False),
    Column("owner", Text),
    Column("starts", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("body", Text, nullable=False),
    Column("codec", String(32)),
    Column("result", LargeBinary),
    Index("bighub_calls_by_thread", "thread"),
    Index("bighub_calls_by_state", "state"),
)

history = Table(
    "bighub_history",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("key", String(64), nullable=False),
    Column("at", Float, nullable=False),
    Column("event", String(32), nullable=False),
    Column("state", String(32), nullable=False),
    Column("version", Integer, nullable=False),
    Column("note", Text, nullable=False),
    Index("bighub_history_by_key", "key"),
)

outbox = Table(
    "bighub_outbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("key", String(64), nullable=False),
    Column("turn", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("body", Text, nullable=False),
    Column("tries", Integer, nullable=False, default=0),
    Column("due_at", Float, nullable=False, default=0.0),
    Column("leased_until", Float, nullable=False, default=0.0),
    Column("aside", Integer, nullable=False, default=0),
    Column("error", Text),
    Index("bighub_outbox_by_key", "key"),
    Index("bighub_outbox_by_due", "aside", "due_at"),
)

owners = Table(
    "bighub_owners",
    metadata,
    Column("owner", String(128), primary_key=True),
    Column("beat_at", Float, nullable=False),
)

schema = Table("bighub_schema", metadata, Column("version", Integer, nullable=False))


def _create(db: Connection) -> None:
    metadata.create_all(db, tables=[calls, history, outbox, owners])


# Step n brings a database from version n to n + 1. Never change one that was released.
MIGRATIONS: Sequence[Callable[[Connection], None]] = (_create,)

# Any number, as long as every process uses the same one.
_LOCK = 7_264_512


def migrate(engine: Engine) -> None:
    """Bring the database to the newest version; refuse one that is newer than this program."""
    with engine.begin() as db:
        if db.dialect.name == "postgresql":
            db.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        version = _version(db)
        if version > len(MIGRATIONS):
            raise JournalError(
                f"the journal has schema version {version}, this program knows "
                f"{len(MIGRATIONS)}: upgrade bighub-langgraph here, or use another database"
            )
        for step in MIGRATIONS[version:]:
            step(db)
        db.execute(update(schema).values(version=len(MIGRATIONS)))


def _version(db: Connection) -> int:
    if not inspect(db).has_table(schema.name):
        schema.create(db)
        db.execute(insert(schema).values(version=0))
    return int(db.execute(select(schema.c.version)).scalar_one())
