"""The embedded engine on PostgreSQL, with several processes and threads."""

import multiprocessing
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from bighub import BighubAPIError

from bighub_langgraph.local import LocalBighub, trainer
from tests import postgres
from tests.local_engine import engine, live, refund


@pytest.fixture(scope="module")
def url(postgres_server: str) -> Iterator[str]:
    with postgres.database(postgres_server) as url:
        yield url


def _teach(url: str, status: str, target: str) -> None:
    with LocalBighub(url) as bighub:
        live(bighub, 60, status=status, target=target)


def test_two_processes_learn_from_each_others_outcomes(url: str) -> None:
    start = multiprocessing.get_context("spawn")
    lessons = (("SUCCESS", "alice"), ("FRAUD", "mallory"))
    with engine(url) as bighub:
        assert refund(bighub, target="alice")["recommendation"] == "review_recommended"
        processes = [start.Process(target=_teach, args=(url, *lesson)) for lesson in lessons]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        assert [process.exitcode for process in processes] == [0, 0]
        assert bighub.actions.status()["evidence"] == 120
        good, bad = (refund(bighub, target=name)["risk_score"] for name in ("alice", "mallory"))
        assert bad > 0.6
        assert good < bad / 2


def test_concurrent_requests_are_all_processed_and_counted(url: str) -> None:
    clients = [LocalBighub(url) for _ in range(2)]
    request_ids: list[str] = []
    sessions = [f"at once {number}" for number in range(8)]

    def work(number: int) -> int:
        bighub, chance = clients[number % 2], random.Random(number)
        decision_count = 0
        for turn in range(15):
            contexts = [{"session_id": each} for each in chance.sample(sessions, 3)]
            calls = [{"action": "refund", "actor": "a", "context": each} for each in contexts]
            match turn % 5:
                case 0:
                    bighub.actions.evaluate_batch(actions=calls)
                case 1:
                    replies = bighub.decisions.evaluate_together(calls)
                    assert not [reply for reply in replies if isinstance(reply, Exception)]
                case _:
                    calls = calls[:1]
                    request_ids.append(refund(bighub, context=contexts[0])["request_id"])
                    try:
                        bighub.approvals.resolve(request_ids[-1], resolution="approved")
                    except BighubAPIError as refused:
                        assert refused.status_code == 409  # noqa: PT017 - another thread was faster
                    some = chance.sample(request_ids, min(5, len(request_ids)))
                    reports = [{"request_id": each, "status": "FRAUD"} for each in some]
                    assert bighub.outcomes.report_batch(reports)["failed"] == 0
                    bighub.outcomes.report(request_id=request_ids[-1], status="SUCCESS")
            decision_count += len(calls)
        return decision_count

    with ThreadPoolExecutor(6) as threads:
        decision_count = sum(threads.map(work, range(6)))
    with clients[0].engine.store.transaction() as tx:
        call_counts = [clients[0].engine.current_state(tx, each).session.calls for each in sessions]
    for client in clients:
        client.close()
    assert sum(call_counts) == decision_count


def test_an_evaluation_does_not_wait_for_a_snapshot_of_another_process(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "SNAPSHOT_INTERVAL", 1)
    with engine(url) as first, engine(url) as second:
        live(first, 2)
        with first.engine.store.transaction():
            refund(first)
            thread = threading.Thread(target=refund, args=(second,), daemon=True)
            thread.start()
            thread.join(20)
            assert not thread.is_alive()


def test_every_query_runs_there_too(url: str) -> None:
    with engine(url) as bighub:
        (request_id,) = live(bighub, 1, context={"session_id": "s"})
        bighub.outcomes.report(request_id=request_id, status="FRAUD", recommendation_followed=True)
        rule = bighub.constraints.create({"name": "n", "domain": "shop", "max_per_day": 100})
        assert refund(bighub, idempotency_key="k") == refund(bighub, idempotency_key="k")
        assert bighub.outcomes.get(request_id)["status"] == "FRAUD"
        assert bighub.outcomes.analytics()["total_outcomes"] >= 1
        assert bighub.outcomes.recommendation_quality()["total_with_outcome"] == 1
        assert bighub.calibration.report()["total"] >= 1
        assert bighub.calibration.quality_history()
        assert bighub.calibration.drift()["domains"]
        assert bighub.events.list(limit=1)["events"]
        assert bighub.actions.ingest_memory(events=[{"tool": "t", "status": "executed"}])
        assert bighub.actions.memory_context()["total_events"] == 1
        assert bighub.kill_switch.status()["active"] is False
        bighub.constraints.delete(rule["rule_id"])
