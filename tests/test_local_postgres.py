"""The embedded engine on PostgreSQL: processes that learn from each other."""

import multiprocessing
from collections.abc import Iterator

import pytest

from bighub_langgraph.local import LocalBighub
from tests import postgres
from tests.local_engine import engine, live, refund


@pytest.fixture(scope="module")
def url(postgres_server: str) -> Iterator[str]:
    with postgres.database(postgres_server) as made:
        yield made


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
