"""After an interrupt, a full disk, a close and a fork, nothing is locked or stale."""

import os
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from bighub import BighubAPIError

from bighub_langgraph.local import LocalBighub
from tests.local_engine import Clock, Signal, engine, live, refund

MAX_CALLS = 500
SESSION = {"session_id": "s"}


def call_engine(bighub: LocalBighub, method: str, request_id: str) -> Any:
    if method == "evaluate":
        return refund(bighub, context=SESSION)
    if method == "report_batch":
        return bighub.outcomes.report_batch([{"request_id": request_id, "status": "SUCCESS"}])
    calls = [{"action": "refund", "actor": "a", "context": SESSION, "raw": True}] * 2
    return bighub.decisions.evaluate_together(calls)


@pytest.mark.parametrize("method", ["evaluate", "evaluate_together", "report_batch"])
def test_after_an_interrupt_at_any_point_other_threads_continue(
    method: str, tmp_path: Path
) -> None:
    for number in range(1, MAX_CALLS):
        path = tmp_path / f"{number}.db"
        with LocalBighub(f"sqlite:///{path}") as bighub:
            request_id = refund(bighub, context=SESSION)["request_id"]
            signal = Signal("bighub_langgraph/sqldb.py", number)
            try:
                with signal.comes():
                    call_engine(bighub, method, request_id)
            except KeyboardInterrupt:
                pass
            else:
                break  # there are no more calls
            other = threading.Thread(target=refund, args=(bighub,), daemon=True)
            other.start()
            other.join(20)
            assert not other.is_alive(), f"the store stays locked after call {number}"
            with closing(sqlite3.connect(path, timeout=0)) as another_process:
                another_process.execute("BEGIN IMMEDIATE")
    assert 10 < number < MAX_CALLS - 1


def test_an_interrupt_while_the_model_learns_loses_nothing() -> None:
    interrupts = 0
    with engine(clock=Clock(step=0)) as bighub, engine(clock=Clock(step=0)) as reference:
        for number in range(1, 300, 2):
            context = {"arguments": {f"new in {number}": "x", "order": number}}
            live(reference, 1, context=context)
            request_id = refund(bighub, context=context)["request_id"]
            try:
                with Signal("local/scoring/", number).comes():
                    bighub.outcomes.report(request_id=request_id, status="SUCCESS")
            except KeyboardInterrupt:
                interrupts += 1
            assert refund(bighub)["risk_score"] == refund(reference)["risk_score"], f"call {number}"
    assert interrupts > 100


def test_a_client_that_is_used_after_its_close_sees_changes_of_others(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'engine.db'}"
    with LocalBighub(url) as first, LocalBighub(url) as second:
        refund(first)
        first.close()
        second.kill_switch.activate({"reason": "stop"})
        refund(second)
        assert refund(first)["result"] == "blocked"


def test_a_call_that_failed_on_a_full_disk_is_in_no_session(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    with LocalBighub(f"sqlite:///{path}") as bighub:
        refund(bighub, context=SESSION)
        with bighub.engine.store.transaction() as tx:
            pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
            tx.exec_driver_sql("PRAGMA cache_size=5")
            tx.exec_driver_sql(f"PRAGMA max_page_count={pages + 3}")
        contexts = [{"session_id": "never"}, {"session_id": "big", "objective": "y" * 30_000}]
        calls = [
            {"action": "refund", "actor": "a", "raw": True, "context": context}
            for context in (contexts[0], contexts[1], contexts[0])
        ]
        replies = bighub.decisions.evaluate_together(calls)
        assert all(isinstance(reply, BighubAPIError) for reply in replies)
    with closing(sqlite3.connect(path)) as database:
        session_ids = database.execute("SELECT session_id FROM bighub_decisions").fetchall()
    assert session_ids == [("s",)]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_child_that_is_forked_during_an_evaluation_can_evaluate(
    kind: str, tmp_path: Path
) -> None:
    url = "sqlite://" if kind == "memory" else f"sqlite:///{tmp_path / 'engine.db'}"
    inside, forks = threading.Event(), threading.Event()
    hook = threading.Event()
    os.register_at_fork(before=forks.set)

    def clock() -> float:
        if hook.is_set() and not inside.is_set():
            inside.set()
            forks.wait(10)
        return 1e9

    with LocalBighub(url, clock=clock) as bighub:
        (request_id,) = live(bighub, 1)
        hook.set()
        thread = threading.Thread(target=refund, args=(bighub,))
        thread.start()
        inside.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a child that waits for ever is killed
            try:
                os._exit(int(refund(bighub)["recommendation"] != "review_recommended"))
            finally:
                os._exit(2)
        thread.join()
        assert os.waitpid(child, 0)[1] == 0
        assert bighub.outcomes.get(request_id)["status"] == "SUCCESS"
        assert bighub.actions.status()["decisions"] == (2 if kind == "memory" else 3)
