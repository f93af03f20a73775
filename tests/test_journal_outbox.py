"""The outbox on SQL: three commits a call, and reports that outlive their process."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver

from bighub_langgraph import BighubGuard, BighubMiddleware, Journal, create_guarded_agent
from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.claims import ToolFinished, claim_and_execute
from bighub_langgraph.core.evaluation import evaluate_calls
from bighub_langgraph.core.models import CallRecord, ToolCall, ToolSucceeded
from bighub_langgraph.core.ports import DELIVERY_LEASE
from bighub_langgraph.core.reporting import ReportKind
from tests.agents import ScriptedModel, Shop, asks_for
from tests.agents import call as call_of
from tests.engines import ScriptedBighub
from tests.faults.killing import forkserver
from tests.test_journal_sql import call, let_pass, ran

LATE = 1e12
REPORTS = [ReportKind.OUTCOME, ReportKind.MEMORY]


@contextmanager
def counted_commits() -> Iterator[list[str]]:
    """The commits that wait for the disk, of SQLite connections that are opened in the block."""
    commits: list[str] = []

    def trace(connection: Any, _: object) -> None:
        waits = True

        def note(sql: str) -> None:
            nonlocal waits
            if sql.startswith("PRAGMA synchronous"):
                waits = sql.endswith("FULL")
            elif sql.startswith("COMMIT") and waits:
                commits.append(sql)

        connection.set_trace_callback(note)

    sa.event.listen(sa.Engine, "connect", trace)
    try:
        yield commits
    finally:
        sa.event.remove(sa.Engine, "connect", trace)


def run_guarded_call(guard: BighubGuard, number: int) -> None:
    """Evaluate a call, run it, and report its outcome."""
    runtime = guard.runtime
    turn = f"message-{number}"
    tool_call = ToolCall("thread", turn, f"call-{number}", "refund", {"order": "o-1"})

    async def run(_: CallRecord) -> ToolFinished:
        return ToolFinished(ToolSucceeded("refunded"))

    [record] = run_sync(evaluate_calls([tool_call], runtime.settings, runtime.ports))
    assert isinstance(record, CallRecord)
    assert run_sync(claim_and_execute(record.key, runtime.ports, run)).record.is_final
    runtime.delivery.deliver(turn)
    assert runtime.delivery.wait(10)


@pytest.mark.parametrize("in_process", [True, False])
def test_a_guarded_call_takes_three_commits(tmp_path: Path, in_process: bool) -> None:
    bighub = ScriptedBighub()
    bighub.in_process = in_process  # type: ignore[attr-defined]
    with (
        counted_commits() as commits,
        closing(Journal(f"sqlite:///{tmp_path}/calls.db")) as journal,
    ):
        guard = BighubGuard(bighub=bighub, journal=journal)
        for number in range(5):
            commits.clear()
            run_guarded_call(guard, number)
            assert len(commits) <= 3
            assert (len(bighub.reported_outcomes), len(bighub.rounds)) == (number + 1, number + 1)
        assert journal.pending_count() == 0
        guard.close()


@pytest.mark.parametrize("host", ["graph", "middleware"])
def test_the_fences_of_a_run_do_not_wait_for_the_disk(tmp_path: Path, host: str) -> None:
    with (
        counted_commits() as commits,
        closing(Journal(tmp_path / "calls.db")) as journal,
        BighubGuard(bighub=ScriptedBighub(), journal=journal) as guard,
    ):
        script = [asks_for(call_of("look_up", order_id="o-1")), "Done."]
        model, tools, saver = ScriptedModel(script=script), Shop().tools(), InMemorySaver()
        agent: Any = (
            create_guarded_agent(model, tools, guard, checkpointer=saver)
            if host == "graph"
            else create_agent(
                model, tools, middleware=[BighubMiddleware(guard)], checkpointer=saver
            )
        )
        commits.clear()
        agent.invoke({"messages": [("user", "?")]}, {"configurable": {"thread_id": "t"}})
        guard.flush()
        assert len(commits) <= 4  # the decision, the claim, the result, and their delivery


def kinds(journal: Journal, at: float = LATE) -> list[str]:
    return [leased.kind for leased in journal.lease_batch(at, 10)]


def test_a_process_delivers_the_reports_of_the_calls_it_ran(database: str) -> None:
    with closing(Journal(database)) as journal, closing(Journal(database)) as other:
        ran(journal, call())
        assert kinds(other) == []
        assert kinds(journal) == REPORTS
        assert kinds(journal) == []


@pytest.mark.parametrize("end", ["closed", "forgotten"])
def test_a_journal_that_ends_leaves_its_reports_to_others(database: str, end: str) -> None:
    with closing(Journal(database)) as other:
        journal = Journal(database)
        ran(journal, call())
        if end == "closed":
            journal.close()
        del journal
        assert kinds(other) == REPORTS


def _run_and_die(database: str) -> None:
    ran(Journal(database), call())
    os._exit(0)


def test_reports_of_a_dead_process_are_delivered_by_another_at_once(database: str) -> None:
    with closing(Journal(database)) as other:
        process = forkserver.Process(target=_run_and_die, args=(database,))
        process.start()
        process.join()
        assert kinds(other) == REPORTS


def test_reports_of_a_process_that_cannot_be_seen_are_delivered_when_their_lease_ends(
    database: str,
) -> None:
    with closing(Journal(database)) as journal, closing(Journal(database)) as other:
        ran(journal, call())
        let_pass(other, DELIVERY_LEASE - 5)
        assert kinds(other) == []
        let_pass(other, 6)
        assert kinds(other) == REPORTS
        assert kinds(journal) == []


def test_a_reservation_about_to_end_becomes_a_lease_of_full_length(database: str) -> None:
    with closing(Journal(database)) as journal, closing(Journal(database)) as other:
        ran(journal, call())
        let_pass(other, DELIVERY_LEASE - 5)
        assert kinds(journal) == REPORTS
        let_pass(other, DELIVERY_LEASE - 5)
        assert kinds(other) == []


@pytest.mark.parametrize("step", [-86_400.0, 86_400.0])
def test_reports_that_were_postponed_do_not_wait_for_a_clock_that_was_set(
    database: str, step: float
) -> None:
    with closing(Journal(database)) as journal:
        ran(journal, call())
        now = time.time()
        reports = journal.lease_batch(now, 10)
        journal.nack([report.id for report in reports], now + 300.0, "away")
        assert kinds(journal, now + step) == REPORTS


def test_an_acknowledged_report_is_not_delivered_again(database: str) -> None:
    with closing(Journal(database)) as journal:
        ran(journal, call())
        [outcome, memory] = journal.lease_batch(LATE, 10)
        journal.ack([outcome.id])
        assert journal.pending_count() == 1
        journal.release([memory.id])
        assert kinds(journal) == [ReportKind.MEMORY]


def test_a_late_acknowledgement_removes_no_later_report(database: str) -> None:
    with closing(Journal(database)) as journal, closing(Journal(database)) as other:
        ran(journal, call())
        leased = journal.lease_batch(LATE, 10)
        let_pass(other, DELIVERY_LEASE + 1)
        other.ack([report.id for report in other.lease_batch(LATE, 10)])
        other.close()
        with closing(Journal(database)) as third:
            ran(third, call("b" * 32))
            journal.ack([report.id for report in leased])
            journal.close()
            assert kinds(third) == REPORTS


def rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        [count] = database.execute("SELECT count(*) FROM bighub_outbox").fetchone()
    return int(count)


def test_acknowledged_reports_are_deleted_soon_although_no_call_follows(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    with closing(Journal(f"sqlite:///{path}", lease=0.3)) as journal:
        ran(journal, call())
        journal.ack([leased.id for leased in journal.lease_batch(LATE, 10)])
        waiting = forkserver.Event()
        assert any(not rows(path) or waiting.wait(0.05) for _ in range(200))


def test_a_flush_leaves_no_acknowledged_report_in_the_database(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    with closing(Journal(f"sqlite:///{path}")) as journal:
        guard = BighubGuard(bighub=ScriptedBighub(), journal=journal)
        run_guarded_call(guard, 1)
        ran(journal, call())
        assert guard.flush() == 0
        assert rows(path) == 0
        guard.close()


PROGRAM = """
import sys
from bighub_langgraph import BighubGuard
from tests.engines import ScriptedBighub
from tests.test_journal_outbox import run_guarded_call

guard = BighubGuard(bighub=ScriptedBighub(), journal=f"sqlite:///{sys.argv[1]}")
run_guarded_call(guard, 1)
"""


def test_a_program_that_ends_without_closing_leaves_nothing_to_deliver_twice(
    tmp_path: Path,
) -> None:
    path = tmp_path / "calls.db"
    subprocess.run([sys.executable, "-c", PROGRAM, str(path)], check=True)
    assert rows(path) == 0
