"""The journal's SQL by name. SQLite and PostgreSQL read the same texts.

What is put into a text here is a name or a word of ours; what a user or a model said travels apart.
"""

# ruff: noqa: S608 - see above

from collections.abc import Sequence

from sqlalchemy import Table

from bighub_langgraph.core.models import FINAL_STATES
from bighub_langgraph.journal.tables import calls, history


def _add(table: Table) -> str:
    """An INSERT of a whole row; its number is the database's to give."""
    names = [column.name for column in table.columns if column.name != "id"]
    places = ", ".join(f":{name}" for name in names)
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places})"


ADD_CALL = f"{_add(calls)} ON CONFLICT DO NOTHING"
READ_CALL = "SELECT * FROM bighub_calls WHERE key = :key"
CALLS_OF_REQUEST = """
    SELECT * FROM bighub_calls WHERE request_id = :request_id ORDER BY created_at DESC"""
# Compare and set: whoever moved the record first wins, and the others read it again.
MOVE_CALL = """
    UPDATE bighub_calls SET state = :state, version = :version, moved_at = :moved_at,
        owner = :owner, starts = :starts, expires_at = :expires_at, said = :said,
        codec = :codec, result = :result
    WHERE key = :key AND version = :before AND created_at = :created_at"""

ADD_NOTE = _add(history)
READ_NOTES = "SELECT * FROM bighub_history WHERE key = :key ORDER BY id"

READ_BEAT = "SELECT beat_at FROM bighub_owners WHERE owner = :owner"
BEAT = """
    INSERT INTO bighub_owners (owner, beat_at) VALUES (:owner, :beat_at)
    ON CONFLICT (owner) DO UPDATE SET beat_at = excluded.beat_at"""

ADD_ENTRY = """
    INSERT INTO bighub_outbox
        (key, turn, kind, body, queued_at, tries, refusals, due_at, leased_until, dead_letter)
    VALUES (:key, :turn, :kind, :body, :queued_at, 0, 0, :due_at, 0, 0)"""
# One worker at a time looks for what is due. Each sees what the one before has leased, so that no
# two of them bring entries of the same call.
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(7264513)"
# An entry is due when nothing earlier of its call still has to go first.
READ_DUE = """
    SELECT * FROM bighub_outbox AS one
    WHERE dead_letter = 0 AND leased_until <= :now AND {ready} {of_turn} AND NOT EXISTS (
        SELECT 1 FROM bighub_outbox AS earlier
        WHERE earlier.key = one.key AND earlier.id < one.id AND earlier.dead_letter = 0
            AND (earlier.leased_until > :now OR NOT {earlier_ready}))
    ORDER BY id LIMIT :most"""
LEASE = "UPDATE bighub_outbox SET leased_until = :until, leased_by = :owner WHERE id = :id"
READ_LEASES = "SELECT DISTINCT leased_by AS owner FROM bighub_outbox WHERE leased_until > :now"
END_LEASES = "UPDATE bighub_outbox SET leased_until = 0 WHERE leased_by = :owner"
GIVE_BACK = "UPDATE bighub_outbox SET leased_until = 0 WHERE id = :id"
FORGET = "DELETE FROM bighub_outbox WHERE id = :id"
POSTPONE = """
    UPDATE bighub_outbox SET tries = tries + 1, refusals = refusals + :refused, due_at = :due_at,
        leased_until = 0, error = :error, dead_letter = :dead_letter
    WHERE id = :id"""
COUNT = "SELECT count(*) AS number, coalesce(sum(dead_letter), 0) AS dead_letter FROM bighub_outbox"
COUNT_STATES = "SELECT state, count(*) AS number FROM bighub_calls GROUP BY state"
CALLS_FROM = "SELECT * FROM bighub_calls WHERE key >= :key AND key < :end ORDER BY key LIMIT 2"
RETRY = "UPDATE bighub_outbox SET dead_letter = 0, refusals = 0, due_at = 0 WHERE dead_letter = 1"

_SETTLED = ", ".join(repr(state.value) for state in sorted(FINAL_STATES))
# What an entry still tells of stays, and so does every call of a thread that has an open one.
SETTLED_BEFORE = f"""
    SELECT key FROM bighub_calls AS one WHERE state IN ({_SETTLED}) AND moved_at < :before
        AND NOT EXISTS (SELECT 1 FROM bighub_outbox WHERE bighub_outbox.key = one.key)
        AND NOT EXISTS (SELECT 1 FROM bighub_calls AS other WHERE other.thread = one.thread
            AND other.state NOT IN ({_SETTLED}))
    ORDER BY key LIMIT :most"""
FORGET_NOTES = "DELETE FROM bighub_history WHERE key = :key"
FORGET_CALL = "DELETE FROM bighub_calls WHERE key = :key"
FORGET_OWNERS = "DELETE FROM bighub_owners WHERE beat_at < :before"


def list_calls(wanted: Sequence[str]) -> str:
    """The newest calls that fulfil some conditions."""
    return f"SELECT * FROM bighub_calls {_where(wanted)} ORDER BY created_at DESC LIMIT :most"


def list_entries(wanted: Sequence[str]) -> str:
    """The oldest undelivered entries that fulfil some conditions."""
    return f"SELECT * FROM bighub_outbox {_where(wanted)} ORDER BY id LIMIT :most"


def _where(wanted: Sequence[str]) -> str:
    return f"WHERE {' AND '.join(wanted)}" if wanted else ""
