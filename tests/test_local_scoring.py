"""The pure parts of scoring, each by what it promises."""

import ast
import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bighub_langgraph.local import DomainSettings, Settings
from bighub_langgraph.local.scoring import bounds, drift, session
from bighub_langgraph.local.scoring.action import Action, Past, describe, facts_of
from bighub_langgraph.local.scoring.evidence import Evidence, Label
from bighub_langgraph.local.scoring.logistic import Logistic
from bighub_langgraph.local.scoring.model import Model
from bighub_langgraph.local.scoring.precedents import KEPT, Precedents, embed

SCORING = Path(bounds.__file__).parent
IMPURE = {
    "asyncio",
    "time",
    "random",
    "os",
    "threading",
    "sqlalchemy",
    "datetime",
    "httpx",
    "bighub",
}


@pytest.mark.parametrize("path", sorted(SCORING.glob("*.py")), ids=lambda path: path.stem)
def test_scoring_knows_no_clock_no_chance_and_no_database(path: Path) -> None:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    assert found & IMPURE == set()


@given(st.integers(0, 500), st.integers(1, 500), st.floats(0.5, 0.99))
def test_the_upper_bound_lies_above_what_was_seen(bad: int, good: int, assurance: float) -> None:
    total = bad + good
    upper = bounds.upper_bound(bad, total, assurance)
    lower = bounds.lower_bound(bad, total, assurance)
    assert 0 <= lower <= bad / total <= upper <= 1


@given(st.integers(0, 60), st.integers(1, 600), st.floats(0.01, 0.5), st.integers(1, 14))
def test_what_stays_below_a_limit_has_its_upper_bound_there(
    bad: int, good: int, limit: float, tries: int
) -> None:
    if bounds.stays_below(limit, bad, bad + good, 0.95, tries=tries):
        assert bounds.upper_bound(bad, bad + good, 0.95) <= limit


@pytest.mark.parametrize("assurance", [0.8, 0.95])
def test_a_coin_on_the_limit_is_hardly_ever_believed_to_be_below_however_often_one_looks(
    assurance: float,
) -> None:
    chance, believed = random.Random(4), 0
    for _ in range(300):
        tosses = itertools.accumulate(chance.random() < 0.1 for _ in range(600))
        looks = (
            bounds.stays_below(0.1, bad, total, assurance) for total, bad in enumerate(tosses, 1)
        )
        believed += any(looks)
    assert believed / 300 <= 1 - assurance


def test_without_a_bad_case_the_bound_is_clopper_and_pearsons() -> None:
    assert bounds.upper_bound(0, 28, 0.95) == pytest.approx(1 - 0.05 ** (1 / 28), abs=1e-6)


def test_nothing_counted_bounds_nothing() -> None:
    assert (bounds.upper_bound(0, 0, 0.95), bounds.lower_bound(0, 0, 0.95)) == (1.0, 0.0)


def test_a_rise_is_noticed_and_a_steady_rate_is_not() -> None:
    chance = random.Random(7)
    watch = drift.Drift()
    steady = [watch.add(bad=chance.random() < 0.05, at=0.0) for _ in range(1_000)]
    assert not any(steady)
    assert any(watch.add(bad=chance.random() < 0.20, at=0.0) for _ in range(200))
    assert watch.present


def test_facts_name_what_is_in_the_arguments() -> None:
    context = {
        "session_id": "s",
        "arguments": {
            "amount": 5,
            "items": [{"sku": "A1", "price": 2}, {"sku": "B2", "price": 3}],
            "text": "x" * 100,
            "rush": True,
        },
    }
    assert facts_of(context) == {
        "amount": 5.0,
        "items.#": 2.0,
        "items[].price": 5.0,
        "items[].sku=A1": "yes",
        "items[].sku=B2": "yes",
        "rush": "true",
        "text.length": 100.0,
    }


def test_a_session_remembers_a_bounded_past() -> None:
    summary = session.Session()
    for number in range(500):
        words = tuple(f"word{number}-{each}" for each in range(5))
        call = session.Call(f"action{number}", f"digest{number}", 1.0, words, float(number))
        summary = summary.proposed(call).ended(action=call.action, bad=number % 2 == 0)
    assert len(str(summary.to_json())) < 8_000
    assert (summary.calls, summary.errors) == (500, 250)
    assert session.Session.from_json(summary.to_json()) == summary


@pytest.mark.parametrize(
    ("past", "health"),
    [
        (Past(), None),
        (Past(known=True, calls=4), "healthy"),
        (Past(known=True, calls=9, errors_in_a_row=1), "strained"),
        (Past(known=True, calls=9, repeats=3), "poor"),
    ],
)
def test_health_is_read_from_the_past(past: Past, health: str | None) -> None:
    assert session.health_of(past) == health


def action(number: int, **changed: object) -> Action:
    given = {"domain": "d", "name": "pay", "actor": "a", "target": f"t{number}", "value": 5.0}
    return Action(**{**given, **changed})  # type: ignore[arg-type]


def evidence(number: int, label: Label = Label.GOOD, **changed: object) -> Evidence:
    given = action(number, **changed)
    return Evidence(f"r{number}", given, 0.0, 0.0, label, None, 0.0, 0.3, {})


def test_an_action_is_described_in_a_few_words() -> None:
    assert describe(action(1)) == "pay of 5 for t1"


def test_precedents_keep_a_bounded_number_and_find_the_same_call_again() -> None:
    known = Precedents()
    for number in range(KEPT + 50):
        known.remember(evidence(number))
    assert len(known) == KEPT
    (first, *_) = known.nearest(action(KEPT)).shown(1)
    assert first.request_id == f"r{KEPT}"
    assert first.similarity == pytest.approx(1.0, abs=1e-3)


def test_like_calls_point_the_same_way() -> None:
    near, far = action(1, value=5.5), action(2, value=9_000.0)
    here = embed(action(1))
    assert here @ embed(near) > here @ embed(far)


def test_regression_learns_which_feature_tells() -> None:
    model = Logistic(variance=1.0, most=10, means={"base": 0.0})
    for number in range(60):
        bad = number % 2 == 0
        model.learn({"base": 1.0, "risky" if bad else "safe": 1.0}, bad=bad)
    assert model.predict({"base": 1.0, "risky": 1.0}) > 0.8
    assert model.predict({"base": 1.0, "safe": 1.0}) < 0.2


def test_labels_that_wait_to_be_subtracted_count_already() -> None:
    model = Logistic(variance=1.0, most=10, means={"base": 0.0})
    features = {"base": 1.0, "number": 0.5}
    for number in range(40):
        model.learn(features, bad=number % 3 == 0)
        expected = model.predict(features)
        twin = Logistic(variance=1.0, most=10).restored(model.state())
        assert twin.predict(features) == pytest.approx(expected, rel=1e-12)


def test_an_identifier_that_comes_once_takes_no_place() -> None:
    model = Logistic(variance=1.0, most=4, means={"base": 0.0})
    for number in range(100):
        model.learn({"base": 1.0, f"order-{number}": 1.0, "kind": 1.0}, bad=False)
    assert model.state()["places"] == ["base", "kind"]


def test_a_model_comes_back_from_what_it_kept() -> None:
    settings = Settings(default=DomainSettings(correction_delay=0.0))
    model = Model(settings)
    for number in range(50):
        label = Label.BAD if number % 5 == 0 else Label.GOOD
        model.learn(evidence(number % 40, label, facts={"kind": "a", "n": float(number)}))
    again = Model(settings).restored(model.state())
    proposed = action(3, facts={"kind": "a", "n": 4.0})
    before, after = model.assess(proposed, 1.0), again.assess(proposed, 1.0)
    assert after.risk == pytest.approx(before.risk, abs=1e-3)
    assert (after.cutoff, after.evidence) == (before.cutoff, before.evidence)
