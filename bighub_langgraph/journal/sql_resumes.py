"""Threads that can go on: those whose calls are decided, by the approvals in the journal."""

# ruff: noqa: S608 - as in `schema`, only states of calls are part of a statement

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count, groupby
from operator import itemgetter
from typing import Any

from bighub_langgraph.core.models import ASKABLE_STATES, State
from bighub_langgraph.journal.row_mapping import name_row, read_rows
from bighub_langgraph.journal.schema import quote_states
from bighub_langgraph.sqldb import Database, execute_many

# How many threads are read at a time.
PAGE = 1000

_QUESTIONS = """
    SELECT question.key, question.thread, question.guard, question.runner, question.tries,
        question.due_at, question.error, call.state, call.version
    FROM bighub_approvals AS question JOIN bighub_calls AS call ON call.key = question.key
    WHERE question.agent = :agent AND question.resumed = 0"""
_IS_DECIDED = f"call.state <> {State.AWAITING.value!r}"
_IS_OPEN = f"CASE WHEN call.state IN ({quote_states(ASKABLE_STATES)}) THEN 1 ELSE 0 END"
_IS_UNANSWERED = f"call.state = {State.AWAITING.value!r} AND question.asked_at <= :asked_before"
SELECT_FAILING_THREADS = f"{_QUESTIONS} AND question.tries > 0 ORDER BY question.thread"
SELECT_WAITING_REQUESTS = f"""
    SELECT call.key, call.request_id
    FROM bighub_approvals AS question JOIN bighub_calls AS call ON call.key = question.key
    WHERE question.agent = :agent AND question.resumed = 0 AND call.request_id IS NOT NULL
        AND call.state = {State.AWAITING.value!r}"""
CLOSE_QUESTION = "UPDATE bighub_approvals SET resumed = 1, tries = 0, error = NULL WHERE key = :key"
RETRY_RESUME = """
    UPDATE bighub_approvals SET tries = :tries, due_at = :due_at, error = :error WHERE key = :key"""


def select_paused_threads(
    *, unanswered: bool = False, of_one: bool = False, complete: bool | None = None
) -> str:
    """Return the query for the questions of threads with a due call: decided, or unanswered.

    With `complete` a person is asked about none of the thread's calls any more, or about some.
    """
    is_due = f"question.due_at <= :at AND {_IS_UNANSWERED if unanswered else _IS_DECIDED}"
    of_thread = " AND question.thread = :thread" if of_one else ""
    of_kind = "" if complete is None else f" AND max({_IS_OPEN}) = {int(not complete)}"
    return f"""
        {_QUESTIONS} AND question.thread IN (
            SELECT question.thread
            FROM bighub_approvals AS question JOIN bighub_calls AS call ON call.key = question.key
            WHERE question.agent = :agent AND question.resumed = 0{of_thread}
            GROUP BY question.thread HAVING max(CASE WHEN {is_due} THEN 1 ELSE 0 END) = 1{of_kind}
            ORDER BY min(CASE WHEN {is_due} THEN call.updated_at END), question.thread
            LIMIT :limit OFFSET :offset)
        ORDER BY question.thread"""


@dataclass(frozen=True, slots=True)
class PausedThread:
    """A thread that has not gone on since a person was asked about its calls.

    Attributes:
        calls: The states of these calls, by key.
        changes: The versions of their records, which grow with every transition.
        runners: The processes that asked about each call, or took its answer, last.
        guards: What the guards that asked about each call are set to.
        tries: How often in a row the thread has failed; then `due_at` and `error` say when it is
            tried again, and why it failed.
    """

    thread: str
    calls: dict[str, State]
    changes: tuple[int, ...]
    runners: dict[str, str]
    guards: dict[str, str]
    tries: int
    due_at: float
    error: str

    @property
    def is_decided(self) -> bool:
        """Whether somebody has answered about one of its calls, or nobody needs to any more."""
        return any(state is not State.AWAITING for state in self.calls.values())


class ResumeQueue:
    """The threads of a journal's agents that wait to go on."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def find_decided(
        self, agent: str, at: float, thread: str | None = None, *, complete: bool | None = None
    ) -> list[PausedThread]:
        """Return threads with a call that is decided, those that are due at a time.

        With `complete` only those of which a person is asked about no call any more, or about some.
        """
        return self._find_threads(thread, agent=agent, at=at, complete=complete)

    def find_unanswered(
        self, agent: str, at: float, asked_before: float, thread: str | None = None
    ) -> list[PausedThread]:
        """Return threads with a call that nobody has answered since a time, those that are due."""
        return self._find_threads(thread, agent=agent, at=at, asked_before=asked_before)

    def find_failing(self, agent: str) -> list[PausedThread]:
        """Return the threads whose last run failed."""
        return _group_by_thread(self._db.fetch_rows(SELECT_FAILING_THREADS, agent=agent))

    def waiting_requests(self, agent: str) -> dict[str, str]:
        """Return the keys of the calls that wait for a person, by BIGHUB's id of the request.

        An id that several of them have names none.
        """
        rows = self._db.fetch_rows(SELECT_WAITING_REQUESTS, agent=agent)
        numbers = Counter(row["request_id"] for row in rows)
        return {row["request_id"]: row["key"] for row in rows if numbers[row["request_id"]] == 1}

    def mark_resumed(self, keys: Iterable[str]) -> None:
        """Record that a thread has gone on behind the answers about some calls."""
        with self._db.transaction() as db:
            execute_many(db, CLOSE_QUESTION, [{"key": key} for key in keys])

    def retry_later(self, keys: Iterable[str], tries: int, due_at: float, error: str) -> None:
        """Try the thread of some calls again later; with 0 tries it has not failed."""
        values = {"tries": tries, "due_at": due_at, "error": error}
        with self._db.transaction() as db:
            execute_many(db, RETRY_RESUME, [{"key": key, **values} for key in keys])

    def _find_threads(
        self, thread: str | None, *, complete: bool | None = None, **values: Any
    ) -> list[PausedThread]:
        if thread is not None:
            values["thread"] = thread
        query = select_paused_threads(
            unanswered="asked_before" in values, of_one=thread is not None, complete=complete
        )
        threads: list[PausedThread] = []
        for offset in count(0, PAGE):
            rows = self._db.fetch_rows(query, **values, limit=PAGE, offset=offset)
            threads += _group_by_thread(rows)
            if len({row["thread"] for row in rows}) < PAGE:
                break
        return threads


def _group_by_thread(rows: Sequence[dict[str, Any]]) -> list[PausedThread]:
    """Group rows, ordered by thread, into threads; one that cannot be read hides no other."""
    groups = [list(group) for _, group in groupby(rows, itemgetter("thread"))]
    return read_rows(groups, _build_thread)


def _build_thread(calls: Sequence[dict[str, Any]]) -> PausedThread:
    last_failure, thread = max(calls, key=itemgetter("tries")), calls[0]["thread"]
    with name_row(f"a call of thread {thread}", "bighub_calls"):
        states = {call["key"]: State(call["state"]) for call in calls}
    return PausedThread(
        thread,
        states,
        tuple(call["version"] for call in calls),
        {call["key"]: call["runner"] for call in calls},
        {call["key"]: call["guard"] for call in calls},
        **{name: last_failure[name] for name in ("tries", "due_at")},
        error=last_failure["error"] or "",
    )
