"""What does not fit is refused with a list of what is wrong, and teaches nothing."""

import math
from collections.abc import Iterator
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import pytest
from bighub import BighubValidationError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bighub_langgraph.local import DomainSettings, LocalBighub
from tests.local_engine import Clock, engine, live, refund


def deep(levels: int) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for _ in range(levels):
        tree = {"a": tree}
    return tree


WRONG: list[dict[str, Any]] = [
    {"value": math.nan},
    {"value": math.inf},
    {"value": -1.0},
    {"value": 1e300},
    {"value": "12"},
    {"value": True},
    {"action": ""},
    {"action": 7},
    {"action": "x" * 501},
    {"action": "a\x00b"},
    {"action": "\ud800"},
    {"actor": ""},
    {"context": {"arguments": {"amount": math.nan}}},
    {"context": {"arguments": {"amount": -math.inf}}},
    {"context": {"arguments": {1: "numbers are no keys"}}},
    {"context": {"arguments": {"when": object()}}},
    {"context": {"arguments": MappingProxyType({"amount": 1})}},
    {"context": {"arguments": {"n": 10**400}}},
    {"context": {"arguments": {"text": "x" * 1_100_000}}},
    {"context": {"arguments": {"list": list(range(30_000))}}},
    {"context": {"arguments": deep(100_000)}},
    {"context": {"arguments": {"bad": "\udfff"}}},
]


@pytest.fixture
def bighub() -> Iterator[LocalBighub]:
    with engine() as client:
        yield client


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: next(iter(wrong)))
def test_nonsense_is_refused_with_the_field_that_is_wrong(
    bighub: LocalBighub, wrong: dict[str, Any]
) -> None:
    with pytest.raises(BighubValidationError) as error_info:
        refund(bighub, **wrong)
    assert error_info.value.status_code == 422
    (fault, *_) = error_info.value.validation_errors
    assert fault["loc"][1] == next(iter(wrong))
    assert bighub.actions.status()["decisions"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "WONDERFUL"},
        {"status": "SUCCESS", "revenue_impact": math.nan},
        {"status": "SUCCESS", "details": {"x": math.inf}},
        {"status": "SUCCESS", "customer_impact_count": -3},
    ],
)
def test_a_nonsense_outcome_teaches_nothing(bighub: LocalBighub, wrong: dict[str, Any]) -> None:
    request_id = refund(bighub)["request_id"]
    with pytest.raises(BighubValidationError):
        bighub.outcomes.report(request_id=request_id, **wrong)
    assert bighub.actions.status()["evidence"] == 0


def test_an_outcome_of_nothing_is_refused(bighub: LocalBighub) -> None:
    with pytest.raises(BighubValidationError):
        bighub.outcomes.report(status="SUCCESS")


def test_a_refused_batch_decides_nothing(bighub: LocalBighub) -> None:
    with pytest.raises(BighubValidationError):
        bighub.actions.evaluate_batch(actions=[{"action": "fine"}, {"action": ""}])
    assert bighub.actions.status()["decisions"] == 0


def test_a_clock_that_jumps_back_hurts_nothing() -> None:
    clock = Clock()
    with engine(clock=clock) as bighub:
        live(bighub, 60, context={"session_id": "s"})
        clock.now -= 10_000_000
        assert refund(bighub, context={"session_id": "s"})["risk_score"] < 0.5
        live(bighub, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_bad_rate": 0.0},
        {"max_bad_rate": 1.5},
        {"confidence_level": 1.0},
        {"half_life": 0.0},
        {"min_evidence": 0},
        {"label_delay": -1.0},
        {"bad_cost": 0.0},
        {"enforcement_mode": "sometimes"},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each says what is wrong in its own words
        DomainSettings(**wrong)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.text(), JSON, max_size=6), st.floats(min_value=0, max_value=1e15))
def test_any_arguments_get_a_decision_or_a_clear_refusal(
    bighub: LocalBighub, arguments: dict[str, Any], value: float
) -> None:
    with suppress(BighubValidationError):
        reply = refund(bighub, value=value, context={"arguments": arguments})
        assert 0 <= reply["risk_score"] <= 1
        bighub.outcomes.report(request_id=reply["request_id"], status="SUCCESS")


def test_a_constraint_with_a_misspelt_limit_is_refused() -> None:
    misspelt: Any = {"name": "x", "domain": "d", "max_valu": 5}
    with LocalBighub() as bighub, pytest.raises(BighubValidationError) as error_info:
        bighub.constraints.create(misspelt)
    assert "max_valu" in str(error_info.value.validation_errors)
