"""The embedded engine's memory: files, threads and processes that share one."""

import asyncio
import multiprocessing
import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bighub import (
    AsyncBighubClient,
    AsyncDecision,
    BighubAPIError,
    BighubValidationError,
    RuleCreateModel,
)

from bighub_langgraph.local import AsyncLocalBighub, LocalBighub, repository, trainer
from bighub_langgraph.local.engine_store import StoreError
from bighub_langgraph.sqldb import Database, execute
from tests.local_engine import Clock, Signal, engine, live, refund

BODY: dict[str, Any] = {"action": "refund", "value": 20.0, "domain": "shop"}


def test_a_file_remembers(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'engine.db'}"
    clock = Clock()
    with engine(url, clock=clock) as bighub:
        live(bighub, 60)
        before = refund(bighub)["risk_score"]
    with engine(url, clock=clock) as bighub:
        after = refund(bighub)
    assert after["recommendation"] == "proceed"
    assert after["risk_score"] == pytest.approx(before, rel=1e-3)


def risk(bighub: LocalBighub, domain: str) -> float:
    request: dict[str, Any] = {"action": "refund", "actor": "a", "domain": domain, "value": 20.0}
    reply: Any = bighub.decisions.evaluate(**request, dry_run=True, raw=True)
    return float(reply["risk_score"])


def test_who_opens_a_store_later_expects_what_those_expect_who_were_there(tmp_path: Path) -> None:
    url, clock = f"sqlite:///{tmp_path / 'engine.db'}", Clock(step=0)
    domains = ("shop", "bank")
    with engine(url, clock=clock) as there:
        for number in range(240):
            clock.now += 100
            (request_id,) = live(there, 1, domain=domains[number % 2], target=f"o-{number % 9}")
            if number % 11 == 5:
                clock.now += 1_500
                refund(there)
                there.outcomes.report(request_id=request_id, status="FRAUD")
            if number % 24 == 23:
                with engine(url, clock=clock) as later:
                    for domain in domains:
                        assert risk(later, domain) == risk(there, domain)


def test_a_snapshot_stands_in_for_the_whole_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "SNAPSHOT_INTERVAL", 25)
    url = f"sqlite:///{tmp_path / 'engine.db'}"
    clock = Clock()
    with engine(url, clock=clock) as bighub:
        live(bighub, 60, context={"session_id": "s", "arguments": {"amount": 3}})
        live(bighub, 3, status="FRAUD")
        clock.step = 0
        before = refund(bighub)
        with bighub.engine.store.transaction() as tx:
            tx.exec_driver_sql("DELETE FROM bighub_evidence WHERE seq <= 50")
    with engine(url, clock=clock) as bighub:
        after = refund(bighub)
    assert after["risk_score"] == pytest.approx(before["risk_score"], rel=1e-9)
    assert after["decision_intelligence"]["evidence_count"] == 63


def test_the_file_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    with engine(f"sqlite:///{path}"):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600  # noqa: PTH116 - the mode itself


def test_two_engines_over_one_file_learn_from_each_other(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'engine.db'}"
    clock = Clock()
    with engine(url, clock=clock) as first, engine(url, clock=clock) as second:
        live(first, 60)
        assert refund(second)["recommendation"] == "proceed"
        second.kill_switch.activate({"reason": "stop"})
        assert refund(first)["recommendation"] == "do_not_proceed"


def test_threads_that_use_one_key_get_one_decision(tmp_path: Path) -> None:
    with engine(f"sqlite:///{tmp_path / 'engine.db'}") as bighub, ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: refund(bighub, idempotency_key="k"), range(40)))
        assert len({reply["request_id"] for reply in replies}) == 1
        assert bighub.actions.status()["decisions"] == 1


def test_threads_report_and_decide_at_once() -> None:
    with engine() as bighub, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: live(bighub, 5), range(16)))
        assert bighub.actions.status()["evidence"] == 80
        assert refund(bighub)["decision_intelligence"]["evidence_count"] == pytest.approx(80, 0.01)


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_closing_waits_for_the_threads_that_use_the_database(tmp_path: Path, kind: str) -> None:
    url = "sqlite://" if kind == "memory" else f"sqlite:///{tmp_path / 'engine.db'}"
    database = Database(url, label="the database", error=StoreError)
    closer = threading.Thread(target=database.close)
    with database.transaction() as transaction:
        closer.start()
        closer.join(0.2)  # a database in memory is still waiting
        for _ in range(100):
            execute(transaction, "CREATE TABLE IF NOT EXISTS t (a)")
    closer.join()
    if kind == "file":  # a tool that ends late is still recorded
        assert database.fetch_rows("SELECT * FROM t") == []
        return
    with pytest.raises(StoreError, match="it is closed"):
        database.fetch_rows("SELECT * FROM t")


def test_an_engine_in_memory_that_is_closed_while_threads_use_it_ends_without_a_crash() -> None:
    program = """
import threading
from bighub_langgraph import BighubGuard
guard, begun = BighubGuard(bighub="local"), threading.Barrier(5)
def evaluate():
    begun.wait()
    while True:
        guard.evaluate("pay", {"amount": 1})
for _ in range(4):
    threading.Thread(target=evaluate, daemon=True).start()
begun.wait()
guard.close()
"""
    for _ in range(3):
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_an_engine_in_memory_forgets_the_oldest_rows_but_not_what_they_taught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repository, "MAX_DECISIONS_IN_MEMORY", 10)
    monkeypatch.setattr("bighub_langgraph.local.engine.RETENTION_INTERVAL", 5)
    with engine() as bighub:
        (first, *_) = live(bighub, 60, context={"session_id": "s"})
        with pytest.raises(BighubAPIError, match="404"):
            bighub.outcomes.get(first)
        assert len(bighub.events.list()["events"]) <= 15
        reply = refund(bighub)
        assert reply["recommendation"] == "proceed"
        assert reply["decision_intelligence"]["evidence_count"] == pytest.approx(60, 0.01)


def test_what_forgotten_rows_taught_outlasts_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "MAX_DECISIONS_IN_MEMORY", 10)
    monkeypatch.setattr("bighub_langgraph.local.engine.RETENTION_INTERVAL", 5)
    with engine() as bighub:
        live(bighub, 60)
        with pytest.raises(KeyboardInterrupt), Signal("scoring/regression.py", 1).comes():
            refund(bighub)
        assert refund(bighub)["decision_intelligence"]["evidence_count"] == pytest.approx(60, 0.01)


def test_a_store_that_fails_is_the_services_fault_and_not_the_callers(tmp_path: Path) -> None:
    with engine(f"sqlite:///{tmp_path / 'engine.db'}") as bighub:
        with bighub.engine.store.transaction() as tx:
            tx.exec_driver_sql("ALTER TABLE bighub_decisions DROP COLUMN session")
        with pytest.raises(BighubAPIError) as error_info:
            refund(bighub, context={"session_id": "s"})
        assert error_info.value.status_code == 503
        assert bighub.actions.status()["decisions"] == 0


def learn_and_undo(bighub: LocalBighub, request_id: str) -> None:
    with bighub.engine.batch_transaction():
        bighub.outcomes.report(request_id=request_id, status="FRAUD")
        bighub.rules.create(RuleCreateModel("small", "shop", 10, 1.0))
        response = refund(bighub)
        assert response["decision_intelligence"]["evidence_count"] == 1
        assert response["blocked_by"]
        raise KeyError


def test_what_was_learned_from_a_transaction_that_is_undone_is_forgotten() -> None:
    with engine() as bighub:
        request_id = refund(bighub)["request_id"]
        with pytest.raises(KeyError):
            learn_and_undo(bighub, request_id)
        response = refund(bighub)
        assert response["decision_intelligence"]["evidence_count"] == 0
        assert response["blocked_by"] is None
        bighub.outcomes.report(request_id=request_id, status="SUCCESS")
        assert refund(bighub)["decision_intelligence"]["evidence_count"] == 1


def test_a_part_that_fails_is_undone_and_the_rest_is_kept(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'engine.db'}"
    with engine(url) as bighub:
        request_ids = [refund(bighub, number)["request_id"] for number in range(3)]
        response = bighub.outcomes.report_batch(
            [
                {"request_id": request_ids[0], "status": "SUCCESS"},
                {"request_id": "req_nobody", "status": "SUCCESS"},
                {"request_id": request_ids[2], "status": "FRAUD"},
            ]
        )
        assert [each["index"] for each in response["errors"]] == [1]
    with engine(url) as bighub:
        assert bighub.actions.status()["evidence"] == 2


def _work(url: str, number: int) -> None:
    with LocalBighub(url) as bighub:
        for turn in range(10):
            context = {"arguments": {"turn": turn}, "session_id": f"s{number}"}
            reply = bighub.actions.evaluate(
                **BODY, context=context, idempotency_key=f"{number}-{turn}"
            )
            bighub.outcomes.report(request_id=reply["request_id"], status="SUCCESS")


def test_processes_share_a_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'engine.db'}"
    start = multiprocessing.get_context("spawn")
    with engine(url) as bighub:
        processes = [start.Process(target=_work, args=(url, number)) for number in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0]
        status = bighub.actions.status()
        assert (status["decisions"], status["evidence"]) == (20, 20)


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_the_async_client_is_the_same_engine(kind: str, tmp_path: Path) -> None:
    url = "sqlite://" if kind == "memory" else f"sqlite:///{tmp_path / 'engine.db'}"
    async with AsyncLocalBighub(url, clock=Clock()) as bighub:
        assert isinstance(bighub, AsyncBighubClient)
        replies = await asyncio.gather(
            *(bighub.actions.evaluate(**BODY, idempotency_key=f"k{n}") for n in range(60))
        )
        for reply in replies:
            await bighub.outcomes.report(request_id=reply["request_id"], status="SUCCESS")
        decision = await bighub.decisions.evaluate(**BODY)
        assert isinstance(decision, AsyncDecision)
        assert decision.mode == "autonomous"
        with pytest.raises(BighubValidationError):
            await bighub.actions.evaluate(action="")
        assert len(await bighub.approvals.list(status_filter="settled")) == 60


async def test_a_sync_and_an_async_client_can_share_an_engine() -> None:
    with engine() as bighub:
        live(bighub, 60)
        twin = AsyncLocalBighub(engine=bighub.engine)
        assert (await twin.actions.evaluate(**BODY))["recommendation"] == "proceed"
        await twin.close()
        assert refund(bighub)["recommendation"] == "proceed"
