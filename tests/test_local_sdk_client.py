"""Calls that are evaluated together are decided as if each were evaluated alone, in order."""

import asyncio
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from bighub import BighubAPIError, BighubValidationError, RuleCreateModel

from bighub_langgraph.local import AsyncLocalBighub, Engine, LocalBighub
from tests.local_engine import Clock, engine, live


def deterministic_engine() -> Engine:
    """An engine whose clock and ids are the same every time."""
    ids: Iterator[int] = count()
    return Engine(clock=Clock(), new_id=lambda: f"{next(ids):032x}")


def calls(number: int = 6) -> list[dict[str, Any]]:
    """Calls of one turn of a session."""
    return [
        {
            "action": "refund",
            "value": 10.0 * each,
            "domain": "shop",
            "context": {"session_id": "s", "arguments": {"amount": 10 * each}},
            "raw": True,
            "idempotency_key": f"call-{each}",
        }
        for each in range(number)
    ]


def evaluate_one_by_one(bighub: LocalBighub, requests: list[dict[str, Any]]) -> list[Any]:
    """Return each call's own reply, or the text of its error."""
    replies: list[Any] = []
    for request in requests:
        try:
            replies.append(bighub.decisions.evaluate(**request))
        except BighubAPIError as error:
            replies.append(str(error))
    return replies


def with_error_texts(replies: list[Any]) -> list[Any]:
    """Return the replies, with the texts of errors."""
    return [str(each) if isinstance(each, Exception) else each for each in replies]


def small_limit() -> RuleCreateModel:
    """A constraint that lets two calls of an hour through."""
    return RuleCreateModel("small", "shop", 100, 1_000.0, max_per_hour=2)


@pytest.mark.parametrize("history", [0, 30])
def test_each_is_decided_as_if_it_were_evaluated_alone(history: int) -> None:
    bad: Mapping[str, Any] = {"action": "", "idempotency_key": "bad"}
    again = {**calls()[1]}
    other = {**calls()[2], "value": 7.0}
    requests = [*calls(), {**bad}, again, other, {**calls()[0], "idempotency_key": None}]
    answers = []
    for together in (False, True):
        with LocalBighub(engine=deterministic_engine()) as bighub:
            live(bighub, history, value=10.0)
            bighub.rules.create(small_limit())
            if together:
                answers.append(with_error_texts(bighub.decisions.evaluate_together(requests)))
            else:
                answers.append(evaluate_one_by_one(bighub, requests))
            bighub.engine.close()
    assert answers[0] == answers[1]


def test_one_that_is_refused_does_not_hold_up_the_others() -> None:
    with engine() as bighub:
        requests = [calls()[0], {**calls()[1], "value": -1.0}, {"raw": True}, calls()[2]]
        replies = bighub.decisions.evaluate_together(requests)
        assert isinstance(replies[1], BighubValidationError)
        assert isinstance(replies[2], TypeError)
        assert [each["request_id"] for each in (replies[0], replies[3])] == [
            each["request_id"] for each in bighub.outcomes.pending()["pending"]
        ]


def test_they_are_kept_when_they_are_answered(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bighub.db'}"
    with engine(url) as bighub:
        first = bighub.decisions.evaluate_together(calls())
    with engine(url) as bighub:
        assert bighub.decisions.evaluate_together(calls()) == first


def test_a_store_that_fails_fails_them_all(tmp_path: Path) -> None:
    with engine(f"sqlite:///{tmp_path / 'bighub.db'}") as bighub:
        with bighub.engine.store.transaction() as tx:
            tx.exec_driver_sql("DROP TABLE bighub_decisions")
        replies = bighub.decisions.evaluate_together(calls(2))
        assert [each.status_code for each in replies] == [503, 503]


@pytest.mark.parametrize("name", ["", "bighub.db"])
def test_an_async_client_evaluates_together_too(tmp_path: Path, name: str) -> None:
    url = f"sqlite:///{tmp_path / name}" if name else "sqlite://"

    async def evaluate() -> list[Any]:
        async with AsyncLocalBighub(url) as bighub:
            return await bighub.decisions.evaluate_together(
                [*calls(2), {"action": "", "raw": True}]
            )

    first, second, third = asyncio.run(evaluate())
    assert first["request_id"] != second["request_id"]
    assert isinstance(third, BighubValidationError)
