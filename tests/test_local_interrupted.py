"""The engine after an interrupt, a full disk, a close and a fork: nothing is locked or stale."""

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

AT_MOST = 500
SESSION = {"session_id": "s"}


def ask(bighub: LocalBighub, way: str, request_id: str) -> Any:
    if way == "evaluate":
        return refund(bighub, context=SESSION)
    if way == "report_batch":
        return bighub.outcomes.report_batch([{"request_id": request_id, "status": "SUCCESS"}])
    calls = [{"action": "refund", "actor": "a", "context": SESSION, "raw": True}] * 2
    return bighub.decisions.evaluate_together(calls)


@pytest.mark.parametrize("way", ["evaluate", "evaluate_together", "report_batch"])
def test_wherever_an_interrupt_falls_others_go_on(way: str, tmp_path: Path) -> None:
    for number in range(1, AT_MOST):
        path = tmp_path / f"{number}.db"
        with LocalBighub(f"sqlite:///{path}") as bighub:
            asked = refund(bighub, context=SESSION)["request_id"]
            signal = Signal("local/transactions.py", number)
            try:
                with signal.comes():
                    ask(bighub, way, asked)
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
    assert 10 < number < AT_MOST - 1


def test_an_interrupt_while_it_learns_takes_nothing_from_what_is_learned() -> None:
    interrupted = 0
    with engine(clock=Clock(step=0)) as bighub, engine(clock=Clock(step=0)) as spared:
        for number in range(1, 300, 2):
            for each in (bighub, spared):
                live(each, 1, context={"arguments": {f"new in {number}": "x", "order": number}})
            try:
                with Signal("local/scoring/", number).comes():
                    refund(bighub)
            except KeyboardInterrupt:
                interrupted += 1
            assert refund(bighub)["risk_score"] == refund(spared)["risk_score"], f"call {number}"
    assert interrupted > 100


def test_a_client_that_was_closed_and_goes_on_sees_what_others_wrote(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'engine.db'}"
    with LocalBighub(url) as first, LocalBighub(url) as second:
        refund(first)
        first.close()
        second.kill_switch.activate({"reason": "stop"})
        refund(second)
        assert refund(first)["result"] == "blocked"


def test_a_call_that_a_full_disk_undid_is_in_no_session(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    with LocalBighub(f"sqlite:///{path}") as bighub:
        refund(bighub, context=SESSION)
        with bighub.engine.store.transaction() as tx:
            pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
            tx.exec_driver_sql("PRAGMA cache_size=5")
            tx.exec_driver_sql(f"PRAGMA max_page_count={pages + 3}")
        about = [{"session_id": "never"}, {"session_id": "big", "objective": "y" * 30_000}]
        calls = [
            {"action": "refund", "actor": "a", "raw": True, "context": context}
            for context in (about[0], about[1], about[0])
        ]
        replies = bighub.decisions.evaluate_together(calls)
        assert all(isinstance(one, BighubAPIError) for one in replies)
    with closing(sqlite3.connect(path)) as database:
        kept = database.execute("SELECT session_id FROM bighub_sessions").fetchall()
    assert kept == [("s",)]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_child_that_is_forked_while_a_thread_decides_goes_on(kind: str, tmp_path: Path) -> None:
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
        deciding = threading.Thread(target=refund, args=(bighub,))
        deciding.start()
        inside.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a child that waits for ever is killed
            try:
                os._exit(int(refund(bighub)["recommendation"] != "review_recommended"))
            finally:
                os._exit(2)
        deciding.join()
        assert os.waitpid(child, 0)[1] == 0
        assert bighub.outcomes.get(request_id)["status"] == "SUCCESS"
        assert bighub.actions.status()["decisions"] == (2 if kind == "memory" else 3)
