"""The tables of the embedded engine, for SQLite and PostgreSQL."""

from typing import Any

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
from sqlalchemy.types import TypeEngine

metadata = MetaData()
_serial = BigInteger().with_variant(Integer, "sqlite")


def _columns(kind: type[TypeEngine[Any]], *names: str, nullable: bool = False) -> list[Column[Any]]:
    return [Column(name, kind, nullable=nullable) for name in names]


def _partial_index(name: str, *columns: str, where: str) -> Index:
    """An index of the rows that fulfil a condition."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


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
    *_columns(Text, "digest", "domain", "action", "actor", "recommendation", "approval"),
    *_columns(Text, "seen", "reply"),  # JSON
    *_columns(Float, "at", "risk", "severity"),
    *_columns(Boolean, "auto_executed"),
    *_columns(Text, "target", "session_id", "comment", "outcome", nullable=True),
    *_columns(Text, "modified_action", "key_id", "agent_report", nullable=True),
    *_columns(Float, "value", "resolved_at", "outcome_at", "label_at", nullable=True),
    Column("followed", Boolean),
    Column("label", Integer),
    Column("label_seq", BigInteger),
    # JSON: the summary of the session with this call, current in the session's newest decision.
    Column("session", Text),
    Index("bighub_decisions_by_time", "at"),
    # Of pending decisions only, so that others are not inserted and deleted again.
    _partial_index("bighub_decisions_with_approval", "approval", "id", where="approval <> ''"),
    _partial_index("bighub_decisions_without_outcome", "at", where="outcome IS NULL"),
    _partial_index(
        "bighub_decisions_of_session", "session_id", "id", where="session_id IS NOT NULL"
    ),
)

outcomes = Table(
    "bighub_outcomes",
    metadata,
    Column("id", _serial, primary_key=True, autoincrement=True),
    *_columns(Text, "request_id", "status", "report"),
    *_columns(Float, "at"),
    *_columns(Text, "idempotency_key", nullable=True),
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

memory = Table(
    "bighub_memory",
    metadata,
    Column("id", _serial, primary_key=True, autoincrement=True),
    Column("event_id", Text, nullable=False, unique=True),
    *_columns(Text, "source", "tool", "status", "event"),
    *_columns(Float, "at"),
    *_columns(Text, "actor", "domain", nullable=True),
    Index("bighub_memory_by_time", "at"),
)

rules = Table(
    "bighub_rules",
    metadata,
    Column("id", _serial, primary_key=True, autoincrement=True),
    Column("rule_id", Text, nullable=False, unique=True),
    *_columns(Text, "domain", "status", "rule"),
    *_columns(Float, "created_at", "updated_at"),
    *_columns(Integer, "version"),
)

rule_versions = Table(
    "bighub_rule_versions",
    metadata,
    Column("id", _serial, primary_key=True, autoincrement=True),
    *_columns(Text, "rule_id", "rule"),
    *_columns(Float, "at"),
    *_columns(Integer, "version"),
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
    *_columns(Text, "label", "scopes"),
    *_columns(Float, "created_at"),
    *_columns(Float, "expires_at", "revoked_at", nullable=True),
)
