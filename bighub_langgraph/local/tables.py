"""The tables of the embedded engine, for SQLite and PostgreSQL."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()


def _partial_index(name: str, *columns: str, where: str) -> Index:
    """An index of the rows that fulfil a condition."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


_serial = BigInteger().with_variant(Integer, "sqlite")

heads = Table(
    "bighub_heads",
    metadata,
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
)

decisions = Table(
    "bighub_decisions",
    metadata,
    Column("id", _serial, primary_key=True, autoincrement=True),
    Column("request_id", Text, nullable=False, unique=True),
    Column("idempotency_key", Text, unique=True),
    Column("digest", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("domain", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("target", Text),
    Column("value", Float),
    Column("session_id", Text),
    Column("risk", Float, nullable=False),
    Column("recommendation", Text, nullable=False),
    Column("auto_executed", Boolean, nullable=False),
    Column("parts", Text, nullable=False),
    Column("seen", Text, nullable=False),
    Column("reply", Text, nullable=False),
    Column("approval", Text, nullable=False),
    Column("comment", Text),
    Column("resolved_at", Float),
    Column("outcome", Text),
    Column("severity", Float, nullable=False),
    Column("outcome_at", Float),
    Column("followed", Boolean),
    Column("label", Integer),
    Column("label_at", Float),
    Column("label_seq", BigInteger),
    Index("bighub_decisions_by_time", "at"),
    # Of pending decisions only, so that others are not inserted and deleted again.
    _partial_index("bighub_decisions_with_approval", "approval", "id", where="approval <> ''"),
    _partial_index("bighub_decisions_without_outcome", "at", where="outcome IS NULL"),
)

outcomes = Table(
    "bighub_outcomes",
    metadata,
    Column("id", _serial, primary_key=True, autoincrement=True),
    Column("request_id", Text, nullable=False),
    Column("idempotency_key", Text),
    Column("at", Float, nullable=False),
    Column("status", Text, nullable=False),
    Column("report", Text, nullable=False),
    UniqueConstraint("request_id", "idempotency_key"),
)

evidence = Table(
    "bighub_evidence",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("request_id", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("label", Integer, nullable=False),
    Column("domain", Text, nullable=False),
    Column("replaces", Integer),
    Column("replaced_at", Float),
    Column("replaced_seq", BigInteger),
    Index("bighub_evidence_by_domain", "domain", "seq"),
)

snapshots = Table(
    "bighub_snapshots",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("settings", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("state", LargeBinary, nullable=False),
)

sessions = Table(
    "bighub_sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("at", Float, nullable=False),
    Column("summary", Text, nullable=False),
    sqlite_with_rowid=False,  # one B-tree to write to instead of two
)

memory = Table(
    "bighub_memory",
    metadata,
    Column("id", _serial, primary_key=True, autoincrement=True),
    Column("event_id", Text, nullable=False, unique=True),
    Column("at", Float, nullable=False),
    Column("source", Text, nullable=False),
    Column("tool", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("actor", Text),
    Column("domain", Text),
    Column("event", Text, nullable=False),
    Index("bighub_memory_by_time", "at"),
)

rules = Table(
    "bighub_rules",
    metadata,
    Column("id", _serial, primary_key=True, autoincrement=True),
    Column("rule_id", Text, nullable=False, unique=True),
    Column("domain", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("rule", Text, nullable=False),
)

rule_versions = Table(
    "bighub_rule_versions",
    metadata,
    Column("id", _serial, primary_key=True, autoincrement=True),
    Column("rule_id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("rule", Text, nullable=False),
    Index("bighub_rule_versions_by_rule", "rule_id", "version"),
)

switches = Table(
    "bighub_switches",
    metadata,
    Column("id", _serial, primary_key=True, autoincrement=True),
    Column("switch_id", Text, nullable=False, unique=True),
    Column("domain", Text),
    Column("active", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("ended_at", Float),
)

answers = Table(
    "bighub_answers",
    metadata,
    Column("idempotency_key", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("answer", Text),
    Index("bighub_answers_by_time", "at"),
)

keys = Table(
    "bighub_keys",
    metadata,
    Column("id", _serial, primary_key=True, autoincrement=True),
    Column("key_id", Text, nullable=False, unique=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("label", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
)
