"""The repository of decisions, their labels and sessions: the one place that writes them.

Gapless sequences number new evidence and new limits, by which every process notices them.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, delete, func, select, update

from bighub_langgraph.core.models import Recommendation
from bighub_langgraph.local.engine_store import PreparedStatement, Store
from bighub_langgraph.local.schemas.wire_format import load_json, to_json_text
from bighub_langgraph.local.scoring.features import Action, Evidence, Label, SessionHistory
from bighub_langgraph.local.scoring.session import Session
from bighub_langgraph.local.tables import decisions, evidence, heads, memory, outcomes

MAX_DECISIONS_IN_MEMORY = 20_000
RETENTION_INTERVAL = 5_000  # decisions between two deletions, as the model is saved before each
RUN_RECOMMENDATIONS = (Recommendation.PROCEED, Recommendation.CAUTION)
_LABELS_PER_QUERY, _GOOD_LABELS_PER_QUERY = 500, 10


class DecisionRow(NamedTuple):
    """A decision as it is stored.

    `seen`, `reply` and `session` are JSON: as text, or what it stands for, until it is written. The
    last is the summary of the session with this call.
    """

    request_id: str
    idempotency_key: str | None
    digest: str
    at: float
    domain: str
    action: str
    actor: str
    target: str | None
    value: float | None
    session_id: str | None
    risk: float
    recommendation: str
    auto_executed: bool
    seen: Any
    reply: Any
    approval: str
    severity: float = 0.0
    comment: str | None = None
    resolved_at: float | None = None
    outcome: str | None = None
    outcome_at: float | None = None
    followed: bool | None = None
    label: int | None = None
    label_at: float | None = None
    label_seq: int | None = None
    modified_action: str | None = None
    key_id: str | None = None
    agent_report: str | None = None
    session: Any = None

    def to_columns(self) -> dict[str, Any]:
        """Return the values of the columns."""
        columns = self._asdict()
        for name in ("seen", "reply", "session"):
            if not isinstance(columns[name], str | None):
                columns[name] = to_json_text(columns[name])
        return columns


class StoreState(NamedTuple):
    """The newest numbers of evidence and limits, and a session's summary so far."""

    evidence: int
    controls: int
    session: Session


class LabelRow(NamedTuple):
    """A label as it is stored, as evidence to learn from, with its decision."""

    seq: int
    replaced_seq: int | None
    evidence: Evidence
    decision: DecisionRow


class Sequences:
    """The sequences of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def lock(self, tx: Connection) -> None:
        """Lock the sequences before any other row, so that transactions never deadlock."""
        if not self._store.sqlite:
            _LOCK_HEAD.rows(tx, name="evidence")

    def next_value(self, tx: Connection, name: str, count: int = 1) -> int:
        """Advance a sequence and return its new number.

        Its row stays locked until the commit, so numbers become visible in order, without gaps.
        """
        if self._store.in_memory:
            number = (self._store.rows.find(_SEQUENCES, name) or 0) + count
            self._store.rows.put(_SEQUENCES, name, number)
            return number
        return int(_ADVANCE_HEAD.rows(tx, name=name, count=count)[0][0])


class DecisionRepository:
    """The decisions, labels and sessions of a store."""

    def __init__(self, store: Store, sequences: Sequences) -> None:
        self._store = store
        self._sequences = sequences

    def read_state(self, tx: Connection, session_id: str | None = None) -> StoreState:
        """Return what a decision depends on, in one statement.

        The session is locked until the end of the transaction.
        """
        if self._store.in_memory:
            find = self._store.rows.find
            evidence, controls = find(_SEQUENCES, "evidence"), find(_SEQUENCES, "controls")
            session = find(_SESSIONS, session_id)
        else:
            if session_id and not self._store.sqlite:
                _LOCK_SESSION.rows(tx, session_id=session_id)
            [(evidence, controls, text)] = _STATE.rows(tx, session_id=session_id)
            session = text and Session.from_json(load_json(text))
        return StoreState(evidence or 0, controls or 0, session or Session())

    def update_session(self, tx: Connection, session_id: str, session: Session) -> None:
        """Replace the summary of a session that has a decision."""
        if self._store.in_memory:
            self._store.rows.put(_SESSIONS, session_id, session)
        else:
            _UPDATE_SESSION.write(tx, session_id=session_id, session=to_json_text(session))

    def insert(self, tx: Connection, decision: DecisionRow) -> bool:
        """Insert a decision; return False if its idempotency key exists."""
        if not self._store.in_memory:
            insert = self._store.prepare(decisions, only=DecisionRow._fields)
            return bool(insert.write(tx, **decision.to_columns()))
        rows, key = self._store.rows, decision.idempotency_key
        if key is not None:
            if rows.has(_KEYS, key):
                return False
            rows.put(_KEYS, key, None)
        rows.put(decisions, decision.request_id, decision)
        if decision.session_id:
            rows.put(_SESSIONS, decision.session_id, decision.session)
        return True

    def find(self, tx: Connection, request_id: str) -> DecisionRow | None:
        """Return a decision by its id, locked until the end of the transaction."""
        decision: DecisionRow | None = self._store.rows.find(decisions, request_id)
        if decision is not None:
            return decision
        rows = _BY_ID.rows(tx, request_id=request_id)
        return DecisionRow(*rows[0]) if rows else None

    def find_by_key(self, tx: Connection, key: str) -> DecisionRow | None:
        """Return a decision by its idempotency key."""
        rows = _BY_KEY.rows(tx, key=key)
        return DecisionRow(*rows[0]) if rows else None

    def update(
        self,
        tx: Connection,
        decision: DecisionRow,
        *,
        label: Label | None = None,
        at: float,
        **changes: Any,
    ) -> LabelRow | None:
        """Change columns of a decision; with a label, also insert the label and return it."""
        about = None
        if label is not None:
            seq = self._sequences.next_value(tx, "evidence")
            previous = (decision.label, decision.label_at, decision.label_seq)
            about = (seq, decision.request_id, decision.domain, at, int(label), *previous)
            self._store.insert_row(tx, evidence, seq, dict(zip(_LABEL_COLUMNS, about, strict=True)))
            changes |= {"label": int(label), "label_at": at, "label_seq": seq}
        changed_decision = decision._replace(**changes)
        if self._store.in_memory:
            self._store.rows.put(decisions, decision.request_id, changed_decision)
        elif changes:
            _prepare_update(*changes).write(tx, this=decision.request_id, **changes)
        return about and _to_label_row(about, changed_decision)

    def insert_report(self, tx: Connection, **report: Any) -> int | None:
        """Insert a report of an outcome and return its number; None if its key exists."""
        rows, key = self._store.rows, (report["request_id"], report["idempotency_key"])
        if not self._store.in_memory:
            new = self._store.prepare(outcomes, returning="id").rows(tx, **report)
            return new[0][0] if new else None
        if key[1] is not None and rows.has(outcomes, key):
            return None
        number = self._sequences.next_value(tx, "reports")
        rows.put(outcomes, number if key[1] is None else key, {"id": number, **report})
        return number

    def has_surplus(self, tx: Connection) -> bool:
        """Whether there are rows to delete. A database on disk keeps everything."""
        return self._store.in_memory and _last_id(tx) > MAX_DECISIONS_IN_MEMORY

    def delete_surplus(self, tx: Connection) -> None:
        """Delete the oldest decisions of an engine in memory, and what is as old as they are."""
        if self.has_surplus(tx):
            oldest_id = _last_id(tx) - MAX_DECISIONS_IN_MEMORY
            tx.execute(delete(decisions).where(decisions.c.id <= oldest_id))
            oldest = tx.execute(select(func.min(decisions.c.at))).scalar_one()
            for table in (outcomes, evidence, memory):
                tx.execute(delete(table).where(table.c.at < oldest))
            self._store.rows.delete(_SESSIONS, lambda session: session.last_at < oldest)


def list_labels(tx: Connection, *, after: int, newest: int) -> list[LabelRow]:
    """Return the first labels after a sequence number."""
    return [_parse_label(row) for row in _LABELS.rows(tx, after=after, newest=newest)]


def iterate_good_labels(
    tx: Connection, domain: str, *, after: int, newest: int
) -> Iterator[LabelRow]:
    """Yield the good outcomes of a domain after a sequence number, in order."""
    while rows := _GOOD_LABELS.rows(tx, domain=domain, after=after, newest=newest):
        yield from map(_parse_label, rows)
        after = rows[-1][0]


def find_replaced(tx: Connection, seq: int) -> Label | None:
    """Return the label that the label with a sequence number replaced."""
    rows = _REPLACED_LABEL.rows(tx, seq=seq)
    return None if not rows or rows[0][0] is None else Label(rows[0][0])


def _parse_label(row: tuple[Any, ...]) -> LabelRow:
    count = len(_LABEL_COLUMNS)
    return _to_label_row(row[:count], DecisionRow._make(row[count:]))


def _to_label_row(label_values: tuple[Any, ...], decision: DecisionRow) -> LabelRow:
    seq, request_id, domain, at, label, replaces, replaced_at, replaced_seq = label_values
    facts, history, *novelties = load_json(decision.seen)
    about = domain, decision.action, decision.actor, decision.target, decision.value, facts
    evidence = Evidence(
        request_id=request_id,
        action=Action(*about, SessionHistory(*history)),
        decided_at=decision.at,
        at=at,
        label=Label(label),
        replaces=None if replaces in (None, Label.NOTHING) else Label(replaces),
        replaced_at=at if replaced_at is None else replaced_at,
        risk=decision.risk,
        novelties=tuple(novelties),
        automatic=decision.approval != "approved"
        and (decision.auto_executed or decision.recommendation in RUN_RECOMMENDATIONS),
    )
    return LabelRow(seq, replaced_seq, evidence, decision)


def _last_id(tx: Connection) -> int:
    return tx.execute(select(func.max(decisions.c.id))).scalar_one() or 0


@cache
def _prepare_update(*columns: str) -> PreparedStatement:
    statement = update(decisions).where(decisions.c.request_id == bindparam("this"))
    return PreparedStatement(statement, columns=columns)


def _newest_of_session(column: Any) -> Select[Any]:
    """A query of a column of the newest decision of a session."""
    rows = select(column).where(decisions.c.session_id == bindparam("session_id"))
    return rows.order_by(decisions.c.id.desc()).limit(1)


_STATE = PreparedStatement(
    select(
        select(heads.c.number).where(heads.c.name == "evidence").scalar_subquery(),
        select(heads.c.number).where(heads.c.name == "controls").scalar_subquery(),
        _newest_of_session(decisions.c.session).scalar_subquery(),
    )
)
_UPDATE_SESSION = PreparedStatement(
    update(decisions)
    .where(decisions.c.id == _newest_of_session(decisions.c.id).scalar_subquery())
    .values(session=bindparam("session"))
)
_LOCK_HEAD = PreparedStatement(
    select(heads.c.number).where(heads.c.name == bindparam("name")).with_for_update()
)
_ADVANCE_HEAD = PreparedStatement(
    update(heads)
    .where(heads.c.name == bindparam("name"))
    .values(number=heads.c.number + bindparam("count"))
    .returning(heads.c.number)
)
_SEQUENCES, _KEYS, _SESSIONS = "sequences", "idempotency keys", "sessions"  # in memory
_DECISION = [decisions.c[name] for name in DecisionRow._fields]
_BY_ID = PreparedStatement(
    select(*_DECISION).where(decisions.c.request_id == bindparam("request_id")).with_for_update()
)
_BY_KEY = PreparedStatement(
    select(*_DECISION).where(decisions.c.idempotency_key == bindparam("key"))
)
_REPLACED_COLUMNS = ("replaces", "replaced_at", "replaced_seq")
_LABEL_COLUMNS = ("seq", "request_id", "domain", "at", "label", *_REPLACED_COLUMNS)
_LABELED_DECISIONS = (
    select(*(evidence.c[name] for name in _LABEL_COLUMNS), *_DECISION)
    .join(decisions, decisions.c.request_id == evidence.c.request_id)
    .where(evidence.c.seq > bindparam("after"), evidence.c.seq <= bindparam("newest"))
    .order_by(evidence.c.seq)
)
_LABELS = PreparedStatement(_LABELED_DECISIONS.limit(_LABELS_PER_QUERY))
_REPLACED_LABEL = PreparedStatement(
    select(evidence.c.replaces).where(evidence.c.seq == bindparam("seq"))
)
_GOOD_LABELS = PreparedStatement(
    _LABELED_DECISIONS.where(
        evidence.c.domain == bindparam("domain"), evidence.c.label == int(Label.GOOD)
    ).limit(_GOOD_LABELS_PER_QUERY)
)
_LOCK_SESSION = PreparedStatement(
    select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("session_id"), 0)))
)
