"""A request that comes again under its Idempotency-Key changes nothing."""

import threading
from pathlib import Path
from typing import Any

import pytest
from bighub import BighubAPIError, RuleCreateModel

from bighub_langgraph.local import LocalBighub
from bighub_langgraph.local.errors import ApiError
from bighub_langgraph.local.routes import handle_request
from tests.local_engine import Clock, engine

LIMIT = RuleCreateModel("small", "shop", 10, 100.0)
BODY = {"name": "small", "domain": "shop", "max_per_day": 10, "max_value": 100.0}
DAY = 86_400.0


def post(client: LocalBighub, key: str, body: Any = None, path: str = "/rules") -> Any:
    """Send a writing request under a key, as over HTTP."""
    return handle_request(client.engine, "POST", path, body=body, idempotency_key=key)


def test_a_constraint_that_is_sent_twice_is_set_once() -> None:
    with engine() as bighub:
        first, second = (bighub.rules.create(LIMIT, idempotency_key="k1") for _ in range(2))
        assert first == second
        assert len(bighub.rules.list()) == 1


def test_the_first_answer_outlives_the_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bighub.db'}"
    with engine(url) as bighub:
        first = bighub.rules.create(LIMIT, idempotency_key="k1")
    with engine(url) as bighub:
        assert bighub.rules.create(LIMIT, idempotency_key="k1") == first


def test_a_constraint_that_is_removed_twice_is_answered_twice() -> None:
    with engine() as bighub:
        rule_id = bighub.rules.create(LIMIT)["rule_id"]
        first, second = (bighub.rules.delete(rule_id, idempotency_key="k2") for _ in range(2))
        assert first == second


def test_a_key_that_was_used_for_something_else_is_refused() -> None:
    with engine() as bighub:
        rule_id = bighub.rules.create(LIMIT, idempotency_key="k1")["rule_id"]
        with pytest.raises(BighubAPIError, match="422"):
            bighub.rules.pause(rule_id, idempotency_key="k1")
        assert bighub.rules.get(rule_id)["status"] == "active"


def test_a_refusal_is_not_kept_so_that_a_mended_request_may_use_its_key() -> None:
    with engine() as bighub:
        with pytest.raises(ApiError, match="422"):
            post(bighub, "k1", {**BODY, "min_value": 1e6})
        assert post(bighub, "k1", BODY)["status"] == "active"


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb"])
def test_a_key_that_nobody_can_read_is_refused(key: str) -> None:
    with engine() as bighub, pytest.raises(ApiError, match="422"):
        post(bighub, key, BODY)


def test_a_body_that_is_too_deep_to_compare_is_refused() -> None:
    outcomes: list[Any] = []
    for _ in range(100_000):
        outcomes = [outcomes]
    with engine() as bighub, pytest.raises(ApiError, match="422"):
        post(bighub, "k1", {"outcomes": outcomes}, "/outcomes/report/batch")


def test_an_outcome_under_a_key_is_counted_once() -> None:
    with engine() as bighub:
        request_id = bighub.actions.evaluate(action="refund", domain="shop")["request_id"]
        body = {"request_id": request_id, "status": "SUCCESS"}
        first, second = (post(bighub, "o1", body, "/outcomes/report") for _ in range(2))
        assert first == second
        assert len(bighub.outcomes.timeline(request_id)["events"]) == 2


def test_what_comes_at_the_same_time_under_one_key_is_done_once(tmp_path: Path) -> None:
    with engine(f"sqlite:///{tmp_path / 'bighub.db'}") as bighub:
        answers: list[Any] = []
        threads = [
            threading.Thread(
                target=lambda: answers.append(bighub.rules.create(LIMIT, idempotency_key="k1"))
            )
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(bighub.rules.list()) == 1
        assert all(answer == answers[0] for answer in answers)
        assert len(answers) == 8


def test_a_purge_forgets_keys_that_are_older_than_a_day() -> None:
    clock = Clock()
    with engine(clock=clock) as bighub:
        bighub.rules.create(LIMIT, idempotency_key="k1")
        assert bighub.rules.purge_idempotency() == {"purged": 0}
        clock.now += DAY + 1
        assert bighub.rules.purge_idempotency() == {"purged": 1}
        bighub.rules.create(LIMIT, idempotency_key="k1")
        assert len(bighub.rules.list()) == 2
