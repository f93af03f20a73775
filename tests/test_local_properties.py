"""The risk agrees with the evidence in every history of outcomes, corrections and silence."""

import random
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bighub_langgraph.local import LocalBighub
from bighub_langgraph.local.scoring.regression import logit
from tests.local_engine import Clock, engine

MAX_CORRECTION = 1.5  # in log odds, between a corrected outcome and one reported at once
SILENCE = 0.01
few = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


class Past(NamedTuple):
    """An earlier call: its kind, its outcome, and whether it was first reported as a success."""

    kind: int
    bad: bool
    has_correction: bool


KINDS: list[dict[str, Any]] = [
    {"value": 20.0, "target": "bob"},
    {"value": 80.0, "target": "carol", "context": {"arguments": {"reason": "late"}}},
    {"value": 20.0},
    {"context": {"arguments": {"reason": "broken", "amount": 5}, "session_id": "s"}},
]
pasts = st.lists(
    st.builds(Past, st.integers(0, len(KINDS) - 1), st.booleans(), st.booleans()), max_size=40
)


def evaluate(client: LocalBighub, kind: int, domain: str = "shop") -> dict[str, Any]:
    request = {"action": "refund", "actor": "agent", "domain": domain, **KINDS[kind]}
    return dict(client.actions.evaluate(**request))


def report(client: LocalBighub, request_id: str, *, bad: bool) -> None:
    client.outcomes.report(request_id=request_id, status="FRAUD" if bad else "SUCCESS")


def run(client: LocalBighub, history: list[Past], *, correct: bool = True, **changed: Any) -> None:
    """Report a history; the corrections come at its end, the last first."""
    late = []
    for past in history:
        request_id = evaluate(client, past.kind, **changed)["request_id"]
        is_late = past.bad and past.has_correction and correct
        report(client, request_id, bad=past.bad and not is_late)
        late += [request_id] if is_late else []
    for request_id in reversed(late):
        report(client, request_id, bad=True)


def risk_after(
    history: list[Past], kind: int, *more: bool, correct: bool = True, silent: int = 0
) -> float:
    with engine(clock=Clock(step=0.0), label_delay=0.0) as client:
        run(client, history, correct=correct)
        for bad in more:
            report(client, evaluate(client, kind)["request_id"], bad=bad)
        for _ in range(silent):
            evaluate(client, kind)
        return float(evaluate(client, kind)["risk_score"])


@few
@given(pasts, st.integers(0, 2))
def test_a_correction_counts_as_if_it_had_been_reported_at_once(
    history: list[Past], kind: int
) -> None:
    late, at_once = (risk_after(history, kind, correct=correct) for correct in (True, False))
    assert abs(logit(late) - logit(at_once)) <= MAX_CORRECTION


class Period(NamedTuple):
    """A part of a history in which all calls go wrong at one rate."""

    rate: float
    outcomes: int


ACTIONS, ACTORS = ("refund", "refund", "refund", "payout"), ("agent", "bot")
SUBJECTS: list[dict[str, Any]] = [
    {},
    {"target": "bob"},
    {"target": "new"},
    {"context": {"arguments": {"to": "bob", "amount": 5}}},
    {"context": {"arguments": {"to": "eve", "amount": 900, "rush": True}}},
]
periods = st.lists(
    st.builds(Period, st.sampled_from([0.0, 0.03, 0.2, 0.5, 0.9, 1.0]), st.integers(60, 300)),
    max_size=4,
)


@few
@given(periods, st.integers(1, len(SUBJECTS)), st.sampled_from([1, 8]), st.integers(0, 99))
@example([Period(0.03, 560), Period(0.4, 80), Period(0.02, 160)], 1, 1, 0)
@example([Period(0.4, 560), Period(0.03, 120), Period(0.9, 60)], 1, 8, 1)
@example([Period(0.1, 560), Period(0.6, 120), Period(0.05, 120)], 5, 8, 2)
def test_one_more_bad_outcome_never_lowers_the_risk_and_a_good_one_never_raises_it(
    history: list[Period], subjects: int, values: int, seed: int
) -> None:
    chance = random.Random(seed)
    with engine(clock=Clock(step=0.0), label_delay=0.0) as client:

        def ask(call: dict[str, Any]) -> dict[str, Any]:
            return dict(client.actions.evaluate(domain="shop", **call))

        for rate in [period.rate for period in history for _ in range(period.outcomes)]:
            call = {
                "action": chance.choice(ACTIONS),
                "actor": chance.choice(ACTORS),
                "value": 20.0 * 2 ** chance.randrange(values),
                **SUBJECTS[chance.randrange(subjects)],
            }
            before, bad = ask(call), chance.random() < rate
            report(client, before["request_id"], bad=bad)
            change = ask(call)["risk_score"] - before["risk_score"]
            assert change >= -1e-6 if bad else change <= 1e-6


@few
@given(pasts, st.integers(0, 2))
def test_after_corrections_too_no_outcome_moves_the_risk_against_what_it_says(
    history: list[Past], kind: int
) -> None:
    good, now, bad = (risk_after(history, kind, *more) for more in ([False], [], [True]))
    assert good - 1e-6 <= now <= bad + 1e-6


@few
@given(pasts, st.integers(0, 2), st.integers(1, 10))
def test_silence_changes_nothing(history: list[Past], kind: int, silent: int) -> None:
    assert abs(risk_after(history, kind, silent=silent) - risk_after(history, kind)) < SILENCE


@pytest.mark.parametrize("kind", range(3))
@pytest.mark.parametrize("total", [10, 40, 150])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_equal_calls_have_the_bad_rate_of_their_outcomes(
    kind: int, total: int, share: float
) -> None:
    history = [Past(kind, number < share * total, has_correction=False) for number in range(total)]
    assert risk_after(history, kind) == pytest.approx(share, abs=1 / total**0.5)


@few
@given(pasts, pasts)
def test_no_domain_moves_another_that_has_its_own_outcomes(
    history: list[Past], other: list[Past]
) -> None:
    risks = []
    for elsewhere in ([], other):
        with engine(clock=Clock(step=0.0), label_delay=0.0) as client:
            run(client, history or [Past(0, bad=False, has_correction=False)])
            run(client, elsewhere, domain="bank")
            risks.append(evaluate(client, 0)["risk_score"])
    assert risks[0] == risks[1]


@few
@given(pasts, st.integers(0, 3))
def test_the_rationale_agrees_with_the_outcomes_and_the_recommendation(
    history: list[Past], kind: int
) -> None:
    with engine(clock=Clock(step=0.0), label_delay=0.0) as client:
        run(client, history)
        reply = evaluate(client, kind)
    bad = sum(past.bad for past in history)
    counts = f"{bad} of {len(history)} known outcomes of refund went wrong"
    assert (counts if history else "no outcome like it is known") in reply["reason"]
    assert f"risk {reply['risk_score']:.2f}: " in reply["reason"]
    if reply["recommendation"] == "do_not_proceed":
        assert bad > len(history) / 2
        assert reply["risk_score"] >= 0.7


@few
@given(pasts)
def test_a_second_engine_over_the_same_file_has_the_same_risks(
    tmp_path_factory: pytest.TempPathFactory, history: list[Past]
) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('engine') / 'engine.db'}"
    with engine(url, clock=Clock(step=0.0)) as first, engine(url, clock=Clock(step=0.0)) as second:
        run(first, history[::2])
        run(second, history[1::2])
        for kind in range(3):
            assert evaluate(first, kind)["risk_score"] == evaluate(second, kind)["risk_score"]


@pytest.mark.parametrize(("first", "last"), [("SUCCESS", "FRAUD"), ("FRAUD", "SUCCESS")])
def test_corrections_of_an_action_that_was_dropped_from_memory_leave_its_calls_decidable(
    first: str, last: str
) -> None:
    with engine(clock=Clock(), label_delay=0.0) as client:

        def ask(action: str = "refund") -> dict[str, Any]:
            return dict(client.actions.evaluate(action=action, actor="a", domain="shop"))

        early = [ask()["request_id"] for _ in range(12)]
        for request_id in early:
            client.outcomes.report(request_id=request_id, status=first)
        for number in range(130):
            report(client, ask(f"action {number}")["request_id"], bad=False)
        for _ in range(5):
            client.outcomes.report(request_id=ask()["request_id"], status=first)
        for request_id in early:
            client.outcomes.report(request_id=request_id, status=last)
        reply = ask()
    bad = 12 if last == "FRAUD" else 0
    assert f"{bad} of 12 known outcomes of refund went wrong" in reply["reason"]
    assert 0 <= reply["risk_score"] <= 1
