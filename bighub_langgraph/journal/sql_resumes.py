"""Threads that can go on: those whose calls are decided, by the approvals in the journal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from bighub_langgraph.core.models import State
from bighub_langgraph.journal import schema
from bighub_langgraph.sqldb import Database, execute_many

MAX_THREADS = 1000


@dataclass(frozen=True, slots=True)
class PausedThread:
    """A thread that has not gone on since a person was asked about its calls.

    Attributes:
        calls: The states of these calls, by key.
        changes: The versions of their records, which grow with every transition.
        runners: The processes that asked about each call, or took its answer, last.
        tries: How often in a row the thread has failed; then `due_at` and `error` say when it is
            tried again, and why it failed.
    """

    thread: str
    calls: dict[str, State]
    changes: tuple[int, ...]
    runners: dict[str, str]
    tries: int
    due_at: float
    error: str


class ResumeQueue:
    """The threads of a journal's agents that wait to go on."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def find_decided(self, agent: str, at: float, thread: str | None = None) -> list[PausedThread]:
        """Return threads with a call that is decided, those that are due at a time."""
        values = {"agent": agent, "at": at, "limit": MAX_THREADS}
        if thread is not None:
            values["thread"] = thread
        return _group_by_thread(
            self._db.fetch_rows(schema.select_decided_threads(of_one=thread is not None), **values)
        )

    def find_failing(self, agent: str) -> list[PausedThread]:
        """Return the threads whose last run failed."""
        return _group_by_thread(self._db.fetch_rows(schema.SELECT_FAILING_THREADS, agent=agent))

    def waiting_requests(self, agent: str) -> dict[str, str]:
        """Return the keys of the calls that wait for a person, by BIGHUB's id of the request."""
        rows = self._db.fetch_rows(schema.SELECT_WAITING_REQUESTS, agent=agent)
        return {row["request_id"]: row["key"] for row in rows}

    def mark_resumed(self, keys: Iterable[str]) -> None:
        """Record that a thread has gone on behind the answers about some calls."""
        with self._db.transaction() as db:
            execute_many(db, schema.CLOSE_QUESTION, [{"key": key} for key in keys])

    def retry_later(self, keys: Iterable[str], tries: int, due_at: float, error: str) -> None:
        """Try the thread of some calls again later; with 0 tries it has not failed."""
        values = {"tries": tries, "due_at": due_at, "error": error}
        with self._db.transaction() as db:
            execute_many(db, schema.RETRY_RESUME, [{"key": key, **values} for key in keys])


def _group_by_thread(rows: Sequence[dict[str, Any]]) -> list[PausedThread]:
    """Group rows, ordered by thread, into threads."""
    threads = []
    for thread, group in groupby(rows, itemgetter("thread")):
        calls = list(group)
        last_failure = max(calls, key=itemgetter("tries"))
        threads.append(
            PausedThread(
                thread,
                {call["key"]: State(call["state"]) for call in calls},
                tuple(call["version"] for call in calls),
                {call["key"]: call["runner"] for call in calls},
                **{name: last_failure[name] for name in ("tries", "due_at")},
                error=last_failure["error"] or "",
            )
        )
    return threads
