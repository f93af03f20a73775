"""The journal's tables, and its SQL by name. SQLite and PostgreSQL run the same statements.

Leases and heartbeats are counted by `clock()`, which is the same for all users of the database and
does not change when the clock of a machine is set; see `bighub_langgraph.sqldb`.
Only names of columns and states of calls are part of a statement; every other value is bound.
"""

# ruff: noqa: S608 - see above

from collections.abc import Iterable

import sqlalchemy as sa

from bighub_langgraph.core.models import EXPIRING_STATES, FINAL_STATES, WAITING_STATES, State
from bighub_langgraph.core.ports import DELIVERY_LEASE, LONGEST_RETRY

metadata = sa.MetaData()

_serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")

calls = sa.Table(
    "bighub_calls",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("thread", sa.Text, nullable=False),
    sa.Column("turn", sa.Text, nullable=False),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("tool", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text),
    sa.Column("created_at", sa.Double, nullable=False),
    # What never changes after the decision: the request, the decision, the edited call's key.
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("state", sa.String(32), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.Column("owner", sa.Text),
    sa.Column("starts", sa.Integer, nullable=False),
    sa.Column("expires_at", sa.Double),
    # The reason, the approval and the tool's error, as JSON.
    sa.Column("details", sa.Text, nullable=False),
    sa.Column("codec", sa.String(32)),
    sa.Column("result", sa.LargeBinary),
    sa.Index("bighub_calls_by_thread", "thread"),
    sa.Index("bighub_calls_by_state", "state", "updated_at"),
    sa.Index("bighub_calls_by_request", "request_id"),
)

_IS_ASKED = sa.text("asked = 1")
history = sa.Table(
    "bighub_history",
    metadata,
    sa.Column("id", _serial, primary_key=True, autoincrement=True),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("event", sa.String(32), nullable=False),
    sa.Column("state", sa.String(32), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("details", sa.Text, nullable=False),
    # 1 where people are asked about the call, or have answered.
    sa.Column("asked", sa.Integer, nullable=False),
    sa.Index("bighub_history_by_key", "key"),
    # For the newest change that an open page has to show; other transitions are not in it.
    sa.Index("bighub_history_asked", "id", sqlite_where=_IS_ASKED, postgresql_where=_IS_ASKED),
)

outbox = sa.Table(
    "bighub_outbox",
    metadata,
    sa.Column("id", _serial, primary_key=True, autoincrement=True),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("turn", sa.Text, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("queued_at", sa.Double, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("refusals", sa.Integer, nullable=False),
    sa.Column("due_at", sa.Double, nullable=False),
    sa.Column("leased_until", sa.Double, nullable=False),
    sa.Column("leased_by", sa.Text),
    sa.Column("dead_letter", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
    sa.Index("bighub_outbox_by_key", "key"),
    sa.Index("bighub_outbox_by_lease", "leased_until"),
    # Ids are never used again: an acknowledged one must not delete a later report.
    sqlite_autoincrement=True,
)

# Calls that people were asked about, with what they are shown.
approvals = sa.Table(
    "bighub_approvals",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("thread", sa.Text, nullable=False),
    sa.Column("namespace", sa.Text, nullable=False),
    sa.Column("guard", sa.Text, nullable=False),
    sa.Column("asked_at", sa.Double, nullable=False),
    # The process that asks, or that took the answers last.
    sa.Column("runner", sa.Text, nullable=False),
    # Whether a worker has seen that the thread went on after the call's answer, and its back-off.
    sa.Column("resumed", sa.Integer, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("due_at", sa.Double, nullable=False),
    sa.Column("error", sa.Text),
    # The other fields of `ApprovalQuestion`, as JSON.
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("bighub_approvals_by_agent", "agent", "resumed"),
)

# Which waiting calls people were notified of, by channel; once more after each start.
notifications = sa.Table(
    "bighub_notifications",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("starts", sa.Integer, primary_key=True),
    sa.Column("channel", sa.String(64), primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
)

# Work that is no tool call, such as a run that continues; a claim is released by deleting it.
claims = sa.Table(
    "bighub_claims",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("result", sa.Text),
)

owners = sa.Table(
    "bighub_owners",
    metadata,
    sa.Column("owner", sa.String(128), primary_key=True),
    sa.Column("beat_at", sa.Double, nullable=False),
)

users = sa.Table(
    "bighub_users",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("roles", sa.Text, nullable=False),
    # Argon2; "" where a proxy signs the user in.
    sa.Column("password", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
)

sessions = sa.Table(
    "bighub_sign_ins",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    # A session, or a link that signs in once.
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Index("bighub_sign_ins_by_name", "name"),
)

# Rows are only ever added.
audit = sa.Table(
    "bighub_audit",
    metadata,
    sa.Column("id", _serial, primary_key=True, autoincrement=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("event", sa.String(32), nullable=False),
    # The key of a call, or the name of a user.
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("details", sa.Text, nullable=False),
)

# -- calls and their history -----------------------------------------------------------------------


def _insert(table: sa.Table) -> str:
    """Return an INSERT of a whole row; the database assigns its id."""
    names = [column.name for column in table.columns if column.name != "id"]
    values = ", ".join(f":{name}" for name in names)
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({values})"


def quote_states(states: Iterable[State]) -> str:
    """Return states for an SQL `IN`."""
    return ", ".join(repr(state.value) for state in sorted(states))


# An edit that the guard has not applied waits too; only such a record of this state can expire.
_EDITED_STATE = frozenset({State.EDITED})
INSERT_CALL = f"{_insert(calls)} ON CONFLICT DO NOTHING"
SELECT_CALL = "SELECT * FROM bighub_calls WHERE key = :key"
SELECT_CALLS_BY_REQUEST = """
    SELECT * FROM bighub_calls WHERE request_id = :request_id ORDER BY created_at DESC"""
SELECT_CALLS_BY_PREFIX = """
    SELECT * FROM bighub_calls WHERE key >= :key AND key < :end ORDER BY key LIMIT 2"""
SELECT_OVERDUE = f"""
    SELECT * FROM bighub_calls
    WHERE state IN ({quote_states(EXPIRING_STATES | _EDITED_STATE)}) AND expires_at <= :at
    ORDER BY expires_at LIMIT :limit"""
SELECT_WAITING = f"""
    SELECT * FROM bighub_calls
    WHERE thread = :thread AND state IN ({quote_states(WAITING_STATES | _EDITED_STATE)})"""
COUNT_WAITING = f"""
    SELECT count(*) AS number, min(created_at) AS oldest FROM bighub_calls
    WHERE state = '{State.AWAITING.value}'"""
COUNT_CALLS = "SELECT state, count(*) AS number FROM bighub_calls GROUP BY state"
# Compare and set: the first transition from a version wins, the others read the record again.
UPDATE_CALL = """
    UPDATE bighub_calls SET state = :state, version = :version, updated_at = :updated_at,
        owner = :owner, starts = :starts, expires_at = :expires_at, details = :details,
        codec = :codec, result = :result
    WHERE key = :key AND version = :previous_version AND created_at = :created_at"""
INSERT_HISTORY = _insert(history)
SELECT_HISTORY = """
    SELECT * FROM bighub_history WHERE key = :key ORDER BY id"""

_NEWEST_OF_CALL = "(SELECT max(id) FROM bighub_history WHERE bighub_history.key = call.key)"
SELECT_NEWEST_CHANGE = "SELECT max(id) AS change FROM bighub_history WHERE asked = 1"
UPSERT_QUESTION = f"""
    {_insert(approvals)} ON CONFLICT (key) DO UPDATE SET agent = excluded.agent,
        thread = excluded.thread, namespace = excluded.namespace, asked_at = excluded.asked_at,
        guard = excluded.guard, runner = excluded.runner, resumed = 0, tries = 0,
        body = excluded.body"""
UPDATE_RUNNER = (
    "UPDATE bighub_approvals SET runner = :runner, resumed = 0, tries = 0 WHERE key = :key"
)
DELETE_QUESTION = "DELETE FROM bighub_approvals WHERE key = :key"
INSERT_NOTIFICATION = f"{_insert(notifications)} ON CONFLICT DO NOTHING"
DELETE_NOTIFICATION = "DELETE FROM bighub_notifications WHERE key = :key"

_FINAL = quote_states(FINAL_STATES)
# Calls with undelivered reports are kept, and so are all calls of a thread with an open call.
SELECT_PRUNABLE = f"""
    SELECT key FROM bighub_calls AS call WHERE state IN ({_FINAL}) AND updated_at < :before
        AND NOT EXISTS (SELECT 1 FROM bighub_outbox WHERE bighub_outbox.key = call.key)
        AND NOT EXISTS (SELECT 1 FROM bighub_calls AS other WHERE other.thread = call.thread
            AND other.state NOT IN ({_FINAL}))
    ORDER BY key LIMIT :limit"""
DELETE_HISTORY = "DELETE FROM bighub_history WHERE key = :key"
DELETE_CALL = "DELETE FROM bighub_calls WHERE key = :key"

# -- users, their sessions, and the audit log ------------------------------------------------------

INSERT_USER = f"{_insert(users)} ON CONFLICT DO NOTHING"
SELECT_USER = "SELECT * FROM bighub_users WHERE name = :name"
SELECT_USERS = "SELECT * FROM bighub_users ORDER BY name"
UPDATE_ROLES = "UPDATE bighub_users SET roles = :roles WHERE name = :name"
UPDATE_PASSWORD = "UPDATE bighub_users SET password = :password WHERE name = :name"  # noqa: S105
DELETE_USER = "DELETE FROM bighub_users WHERE name = :name"
INSERT_SESSION = _insert(sessions)
# A session ends when its user is removed.
SELECT_SESSION = """
    SELECT bighub_users.* FROM bighub_sign_ins JOIN bighub_users
        ON bighub_users.name = bighub_sign_ins.name
    WHERE digest = :digest AND kind = :kind AND expires_at > :at"""
DELETE_SESSION = "DELETE FROM bighub_sign_ins WHERE digest = :digest"
DELETE_SESSIONS = "DELETE FROM bighub_sign_ins WHERE name = :name"
PRUNE_SESSIONS = "DELETE FROM bighub_sign_ins WHERE expires_at <= :at"
INSERT_AUDIT = _insert(audit)
SELECT_AUDIT = "SELECT * FROM bighub_audit ORDER BY id DESC LIMIT :limit"

# -- claims ----------------------------------------------------------------------------------------

INSERT_CLAIM = """
    INSERT INTO bighub_claims (key, owner, at) VALUES (:key, :owner, :at) ON CONFLICT DO NOTHING"""
SELECT_CLAIM = "SELECT * FROM bighub_claims WHERE key = :key"
DELETE_CLAIM = "DELETE FROM bighub_claims WHERE key = :key AND owner = :owner AND result IS NULL"
FINISH_CLAIM = """
    UPDATE bighub_claims SET result = :result, at = :at WHERE key = :key AND owner = :owner"""
PRUNE_CLAIMS = "DELETE FROM bighub_claims WHERE result IS NOT NULL AND at < :before"

# -- owners ----------------------------------------------------------------------------------------

SELECT_BEAT_AGE = "SELECT clock() - beat_at AS age FROM bighub_owners WHERE owner = :owner"
UPSERT_BEAT = """
    INSERT INTO bighub_owners (owner, beat_at) VALUES (:owner, clock())
    ON CONFLICT (owner) DO UPDATE SET beat_at = excluded.beat_at"""
DELETE_OWNERS = "DELETE FROM bighub_owners WHERE beat_at < clock() - :age"

# -- outbox ----------------------------------------------------------------------------------------

INSERT_REPORT = _insert(outbox).replace(":leased_until", "clock() + :lease")
# One worker at a time looks for due reports. Each sees the leases of the one before, so that no
# two of them deliver reports of the same call.
LOCK_OUTBOX = "SELECT pg_advisory_xact_lock(7264513)"
# A report that this process reserved and has not handed out is free for it.
# A lease of the future is one from before the machine started again.
_FREE = f"""
    ({{0}}.leased_until NOT BETWEEN (SELECT clock()) AND (SELECT clock()) + {2 * DELIVERY_LEASE}
        OR {{0}}.leased_by = :reserved) AND {{0}}.id NOT IN :leased"""
# A report is due when no earlier report of its call has to be delivered first. A resolution that
# BIGHUB refused holds nothing up.
_SELECT_DUE = f"""
    SELECT report.*, (SELECT clock()) AS now FROM bighub_outbox AS report
    WHERE dead_letter = 0 AND {_FREE.format("report")} AND id NOT IN :acked
        AND {{ready}} {{of_turn}} AND NOT EXISTS (
        SELECT 1 FROM bighub_outbox AS earlier
        WHERE earlier.key = report.key AND earlier.id < report.id AND earlier.dead_letter = 0
            AND NOT (earlier.kind = 'approval' AND earlier.refusals > 0)
            AND earlier.id NOT IN :acked
            AND NOT ({_FREE.format("earlier")} AND {{earlier_ready}}))
    ORDER BY id LIMIT :limit"""
LEASE_REPORT = f"""
    UPDATE bighub_outbox SET leased_until = clock() + {DELIVERY_LEASE}, leased_by = :owner
    WHERE id = :id"""
SELECT_LEASE_OWNERS = """
    SELECT DISTINCT leased_by AS owner FROM bighub_outbox WHERE leased_until > (SELECT clock())"""
END_LEASES = "UPDATE bighub_outbox SET leased_until = 0 WHERE leased_by = :owner"
RELEASE_REPORT = "UPDATE bighub_outbox SET leased_until = 0 WHERE id = :id"
DELETE_REPORT = "DELETE FROM bighub_outbox WHERE id = :id"
RETRY_REPORT = """
    UPDATE bighub_outbox SET tries = tries + 1, refusals = refusals + :refused, due_at = :due_at,
        leased_until = 0, error = :error, dead_letter = :dead_letter
    WHERE id = :id"""
REQUEUE_REPORTS = """
    UPDATE bighub_outbox SET dead_letter = 0, refusals = 0, due_at = 0 WHERE dead_letter = 1"""
COUNT_REPORTS = """
    SELECT count(*) AS number, coalesce(sum(dead_letter), 0) AS dead_letters
    FROM bighub_outbox WHERE id NOT IN :acked"""


def select_due(turn: str | None, *, early: bool) -> str:
    """Return the query for due reports, of one turn or of all."""
    conditions = ["{0}.due_at <= :at", f"{{0}}.due_at > :at + {LONGEST_RETRY}"]
    if early:
        conditions.append("{0}.refusals = 0")
    if turn is not None:
        # The turn is over: its reports are due at once, memory events included.
        conditions.append("({0}.turn = :turn AND {0}.tries = 0)")
    ready = f"({' OR '.join(conditions)})"
    return _SELECT_DUE.format(
        ready=ready.format("report"),
        earlier_ready=ready.format("earlier"),
        of_turn="" if turn is None else "AND report.turn = :turn",
    )


def select_calls(columns: Iterable[str]) -> str:
    """Return the query for the newest calls by columns, a list of states, or before some time."""
    return (
        f"SELECT * FROM bighub_calls {_build_where(columns)} ORDER BY created_at DESC LIMIT :limit"
    )


def select_approvals(columns: Iterable[str]) -> str:
    """Return the query for the newest calls with what people are shown of them, by columns."""
    special = {
        "state": "call.state IN :state",
        "before": "call.updated_at < :before",
        "agent": "question.agent = :agent",
        "root": "coalesce(question.thread, call.thread) = :root",
        "key": "call.key = :key",
        "tool": "call.tool = :tool",
        "not_notified": """NOT EXISTS (SELECT 1 FROM bighub_notifications AS sent WHERE
            sent.key = call.key AND sent.starts = call.starts AND sent.channel = :not_notified)""",
    }
    where = " AND ".join(special[name] for name in columns)
    return f"""
        SELECT call.*, question.agent, question.thread AS root, question.namespace,
            question.asked_at, question.body AS question,
            {_NEWEST_OF_CALL} AS change
        FROM bighub_calls AS call LEFT JOIN bighub_approvals AS question ON question.key = call.key
        {f"WHERE {where}" if where else ""} ORDER BY call.created_at DESC LIMIT :limit"""


def select_reports(columns: Iterable[str]) -> str:
    """Return the query for the oldest undelivered reports by some columns."""
    return f"SELECT * FROM bighub_outbox {_build_where(columns)} ORDER BY id LIMIT :limit"


def _build_where(columns: Iterable[str]) -> str:
    special = {"state": "state IN :state", "before": "updated_at < :before"}
    conditions = [special.get(name, f"{name} = :{name}") for name in columns]
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""
