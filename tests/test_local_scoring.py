"""The parts of the risk model, one by one."""

import ast
import itertools
import json
import random
from bisect import bisect_left
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bighub_langgraph.local import DomainSettings, Settings
from bighub_langgraph.local.scoring import risk_limit
from bighub_langgraph.local.scoring.codec import decode, dump_model, encode, load_model
from bighub_langgraph.local.scoring.features import (
    Action,
    Evidence,
    Label,
    SessionHistory,
    extract_facts,
)
from bighub_langgraph.local.scoring.precedents import (
    MAX_PRECEDENTS,
    Comparison,
    Precedent,
    Precedents,
    embed_action,
)
from bighub_langgraph.local.scoring.rate_changes import RateChanges
from bighub_langgraph.local.scoring.regression import Regression, logit
from bighub_langgraph.local.scoring.risk_limit import DriftDetector
from bighub_langgraph.local.scoring.risk_model import Model
from bighub_langgraph.local.scoring.session import Session, assess_health

SCORING = Path(risk_limit.__file__).parent
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
def test_scoring_imports_no_clock_no_random_numbers_and_no_database(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert imported & IMPURE == set()


@given(st.integers(0, 500), st.integers(1, 500), st.floats(0.5, 3.0))
def test_the_observed_rate_lies_within_its_interval(bad: int, good: int, spreads: float) -> None:
    lowest, highest = risk_limit.estimate_interval(bad, bad + good, spreads)
    assert -1e-9 <= lowest <= bad / (bad + good) <= highest <= 1 + 1e-9


# By cutoff: how often a call has a risk up to it and above the one before, and its true bad rate.
# A limit is wrong if the calls up to it go wrong at 10 % or more.
STATIONARY_WORLDS = {
    "one rate": ((0.2, 0.1), (0.2, 0.1), (0.2, 0.1), (0.2, 0.1), (0.2, 0.1)),
    "only high risks": ((0.0, 0.1), (0.0, 0.1), (0.0, 0.1), (0.0, 0.1), (1.0, 0.1)),
    "low risks are right": ((0.2, 0.01), (0.2, 0.02), (0.2, 0.05), (0.2, 0.12), (0.2, 0.3)),
    "low risks are wrong": ((0.5, 0.1), (0.2, 0.1), (0.1, 0.2), (0.1, 0.2), (0.1, 0.3)),
}


@pytest.mark.parametrize("confidence_level", [0.8, 0.95])
@pytest.mark.parametrize("world", STATIONARY_WORLDS.values(), ids=list(STATIONARY_WORLDS))
def test_a_wrong_risk_limit_is_rarely_taken_however_often_it_is_computed(
    world: tuple[tuple[float, float], ...], confidence_level: float
) -> None:
    settings = DomainSettings(max_bad_rate=0.1, confidence_level=confidence_level)
    shares = list(itertools.accumulate(share for share, _ in world))
    rates = itertools.accumulate(share * rate for share, rate in world)
    wrong = {
        cutoff
        for cutoff, share, rate in zip(risk_limit.CUTOFFS, shares, rates, strict=True)
        if share and rate >= 0.1 * share - 1e-9
    }
    chance, taken = random.Random(4), 0
    for _ in range(100):
        limit, limits = risk_limit.RiskLimit(), set()
        for _ in range(250):
            place = bisect_left(shares, chance.random() * shares[-1])
            label = Label.BAD if chance.random() < world[place][1] else Label.GOOD
            limit.add(evidence(0, label)._replace(risk=risk_limit.CUTOFFS[place]), settings)
            limits.add(limit.limit)
        taken += bool(limits & wrong)
    assert taken / 100 <= 1 - confidence_level + 0.05  # more than the sampling error


@pytest.mark.parametrize(
    ("limit", "confidence_level", "needed"), [(0.1, 0.95, 33), (0.2, 0.8, 10), (0.01, 0.99, 498)]
)
def test_as_many_good_outcomes_as_estimated_lead_to_a_limit(
    limit: float, confidence_level: float, needed: int
) -> None:
    assert risk_limit.estimate_outcomes_needed(limit, confidence_level) == needed
    settings = DomainSettings(max_bad_rate=limit, confidence_level=confidence_level)
    track = risk_limit.RiskLimit()
    for number in range(needed):
        assert track.limit == 0.0
        track.add(evidence(number)._replace(risk=track.shrunk_rate()), settings)
    assert track.limit > 0.0


@pytest.mark.parametrize(("rate", "most"), [(0.0, 33), (0.04, 185)])
def test_a_low_rate_is_known_to_be_low_after_few_outcomes(rate: float, most: int) -> None:
    needed = []
    for seed in range(50):
        chance, track = random.Random(seed), risk_limit.RiskLimit()
        for total in itertools.count(1):
            label = Label.BAD if chance.random() < rate else Label.GOOD
            track.add(evidence(total, label)._replace(risk=track.shrunk_rate()), DomainSettings())
            if track.limit:
                needed.append(total)
                break
    assert sorted(needed)[25] <= most


def test_without_counts_every_rate_is_possible() -> None:
    assert risk_limit.estimate_interval(0, 0, 2.0) == (0.0, 1.0)


@pytest.mark.parametrize("label", [Label.BAD, Label.GOOD])
def test_a_restart_of_a_limit_changes_no_risk(label: Label) -> None:
    limit = risk_limit.RiskLimit()
    for number in range(20):
        limit.add(evidence(number, label), DomainSettings())
    before = limit.shrunk_rate()
    limit.restart(1.0)
    assert limit.shrunk_rate() == before


def test_a_rise_raises_an_alarm_and_a_steady_rate_does_not() -> None:
    chance = random.Random(7)
    detector = DriftDetector()
    steady = [detector.add(bad=chance.random() < 0.05, at=0.0) for _ in range(1_000)]
    assert not any(steady)
    assert any(detector.add(bad=chance.random() < 0.20, at=0.0) for _ in range(200))
    assert detector.is_drifting


def test_arguments_are_flattened_to_named_facts() -> None:
    context = {
        "session_id": "s",
        "arguments": {
            "amount": 5,
            "items": [{"sku": "A1", "price": 2}, {"sku": "B2", "price": 3}],
            "text": "x" * 100,
            "rush": True,
        },
    }
    assert extract_facts(context) == {
        "amount": 5.0,
        "items.#": 2.0,
        "items[].price": 5.0,
        "items[].sku=A1": "yes",
        "items[].sku=B2": "yes",
        "rush": "true",
        "text.length": 100.0,
    }


def test_the_summary_of_a_session_has_a_bounded_size() -> None:
    summary = Session()
    for number in range(500):
        words = {f"argument{each}": f"word{number}-{each}" for each in range(5)}
        call = action(number, name=f"action{number}", facts=words)
        summary = summary.with_call(call, f"digest{number}", float(number))
        label = Label.BAD if number % 2 == 0 else Label.GOOD
        summary = summary.with_outcome(call.name, label)
    text = json.dumps(summary)
    assert len(text) < 8_000
    assert (summary.calls, summary.errors) == (500, 250)
    assert Session.from_json(json.loads(text)) == summary


@pytest.mark.parametrize(
    ("history", "health"),
    [
        (SessionHistory(), None),
        (SessionHistory(has_session=True, calls=4), "healthy"),
        (SessionHistory(has_session=True, calls=9, errors_in_a_row=1), "strained"),
        (SessionHistory(has_session=True, calls=9, repeats=3), "poor"),
    ],
)
def test_health_follows_from_the_history(history: SessionHistory, health: str | None) -> None:
    assert assess_health(history) == health


def action(number: int, **changed: object) -> Action:
    fields = {"domain": "d", "name": "pay", "actor": "a", "target": f"t{number}", "value": 5.0}
    return Action(**{**fields, **changed})  # type: ignore[arg-type]


def evidence(number: int, label: Label = Label.GOOD, **changed: object) -> Evidence:
    return Evidence(f"r{number}", action(number, **changed), 0.0, 0.0, label, risk=0.3)


def add_call(precedents: Precedents, each: Evidence) -> None:
    precedents.add(each, embed_action(each.action))


def nearest(precedents: Precedents, proposed: Action, limit: int) -> list[Precedent]:
    return precedents.compare(embed_action(proposed), 0.0, DomainSettings(), limit).nearest


def test_a_bounded_number_of_precedents_is_kept_and_the_same_call_is_found_again() -> None:
    precedents = Precedents()
    for number in range(MAX_PRECEDENTS + 50):
        add_call(precedents, evidence(number))
    assert len(precedents.calls) == MAX_PRECEDENTS
    (first,) = nearest(precedents, action(MAX_PRECEDENTS), 1)
    assert first.request_id == f"r{MAX_PRECEDENTS}"
    assert first.summary == f"pay of 5 for t{MAX_PRECEDENTS}"
    assert first.similarity == pytest.approx(1.0, abs=1e-3)


def test_a_similar_call_is_nearer_than_a_different_one() -> None:
    precedents = Precedents()
    add_call(precedents, evidence(2, value=9_000.0))
    add_call(precedents, evidence(1, value=5.5))
    similar, different = nearest(precedents, action(1), 2)
    assert (similar.request_id, different.request_id) == ("r1", "r2")
    assert similar.similarity > different.similarity


@given(
    st.floats(0, 100), st.floats(0, 100), st.floats(0, 1), st.lists(st.floats(-50, 0), min_size=4)
)
def test_the_risk_rises_with_a_bad_outcome_and_falls_with_a_good_one_whatever_the_regression_says(
    bad: float, good: float, regression: float, agreement: list[float]
) -> None:
    def risk(bad: float, good: float) -> float:
        near = Comparison(bad, bad + good, 0.0, [], agreement[:4])
        return near.estimate_risk(regression, is_named=True)

    assert risk(bad, good + 1) - 1e-9 <= risk(bad, good) <= risk(bad + 1, good) + 1e-9


def test_the_regression_counts_for_little_where_similar_calls_end_otherwise() -> None:
    precedents, settings = Precedents(), DomainSettings()
    for number in range(40):
        label = Label.BAD if number % 2 else Label.GOOD
        add_call(precedents, evidence(number, label, target=f"t{number % 2}"))
    near = precedents.compare(embed_action(action(0, target="t1")), 0.0, settings, 0)
    before = near.estimate_risk(0.5, is_named=True)
    for request_id in filter(precedents.is_sampled, precedents.slots):
        proposed = action(0, target=f"t{int(request_id[1:]) % 2}")
        each = precedents.compare(embed_action(proposed), 0.0, settings, 0)
        precedents.update_agreement(request_id, each, 0.5, is_named=True)
    near = precedents.compare(embed_action(action(0, target="t1")), 0.0, settings, 0)
    assert near.estimate_risk(0.5, is_named=True) > before


def test_the_regression_learns_which_feature_predicts_the_outcome() -> None:
    model = Regression.with_prior(0.5)
    for number in range(200):
        bad = number % 2 == 0
        model.learn(str(number), {"base": 1.0, "risky" if bad else "safe": 1.0}, bad=bad)
    assert model.predict({"base": 1.0, "risky": 1.0}) > 0.8
    assert model.predict({"base": 1.0, "safe": 1.0}) < 0.2


@pytest.mark.parametrize("first", [True, False, None])
def test_a_corrected_label_counts_as_if_it_had_been_learned_at_once(*, first: bool | None) -> None:
    features = [{"base": 1.0, "kind": 1.0, "number": number % 7 / 3} for number in range(80)]
    at_once, corrected = Regression.with_prior(0.3), Regression.with_prior(0.3)
    for number, each in enumerate(features):
        at_once.learn(str(number), each, bad=number < 60)
        corrected.learn(str(number), each, bad=first)
    for number, each in enumerate(features):
        if first is not (number < 60):
            corrected.learn(str(number), each, bad=number < 60, replaces=first)
    predictions = [model.predict(features[0]) for model in (at_once, corrected)]
    assert logit(predictions[0]) == pytest.approx(logit(predictions[1]), abs=0.5)


def test_a_regression_is_restored_from_its_state() -> None:
    model, features = Regression.with_prior(0.3), {"base": 1.0, "number": 0.5}
    for number in range(1_100):
        model.learn(str(number), {**features, f"kind {number % 300}": 1.0}, bad=number % 3 == 0)
        if number % 100:
            continue
        twin = decode(json.loads(json.dumps(encode(model))))
        for each in (model, twin):
            each.learn(f"again {number}", features, bad=True)
        assert twin.predict(features) == model.predict(features)


def test_an_identifier_that_occurs_once_takes_no_weight() -> None:
    model = Regression.with_prior(0.3)
    for number in range(100):
        features = {"base": 1.0, f"order-{number}": 1.0, "kind": 1.0}
        model.learn(str(number), features, bad=False)
    assert list(model.positions) == ["base", "kind"]


def test_a_weight_that_is_not_used_any_more_goes_to_a_feature_that_is() -> None:
    model = Regression.with_prior(0.3)
    for number in range(3_000):
        bad = number % 2 == 0 and number > 2_000
        kind = "late" if bad else f"kind {number // 4}"
        model.learn(str(number), {"base": 1.0, kind: 1.0}, bad=bad)
    assert model.predict({"base": 1.0, "late": 1.0}) > 0.8


def search(labels: list[bool], changes: RateChanges) -> RateChanges:
    return changes.search(np.array(labels, dtype=float), np.arange(len(labels), dtype=float))


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_a_steady_bad_rate_has_no_change(rate: float) -> None:
    chance, changes = random.Random(3), RateChanges()
    labels = [chance.random() < rate for _ in range(4_000)]
    for end in range(512, len(labels), 8):
        changes = search(labels[end - 512 : end], changes)
    assert changes.count == 0


@pytest.mark.parametrize(("before", "after"), [(0.03, 0.25), (0.3, 0.03)])
def test_a_change_is_found_where_it_happened_and_once(before: float, after: float) -> None:
    chance, changes = random.Random(3), RateChanges()
    labels = [chance.random() < (before if number < 400 else after) for number in range(512)]
    for _ in range(2):
        changes = search(labels, changes)
        assert changes.count == 1
        assert changes.times == pytest.approx([400], abs=20)
    assert [changes.find_period(at) for at in (0.0, changes.times[0], 511.0)] == [0, 1, 1]


def learn_outcomes(model: Model, labels: list[bool], first: int = 0) -> None:
    for number, bad in enumerate(labels, first):
        label, at = Label.BAD if bad else Label.GOOD, float(number)
        each = evidence(number, label, target=None)
        model.learn(each._replace(decided_at=at, at=at))


def risk_after_labels(*parts: list[bool]) -> float:
    model, count = Model(Settings(default=DomainSettings(label_delay=0.0))), 0
    for labels in parts:
        learn_outcomes(model, labels, count)
        count += len(labels)
    return model.assess(action(0, target=None), float(count)).risk


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("before", "after"), [(0.03, 0.4), (0.4, 0.03), (0.3, 0.7)])
def test_a_change_is_noticed_by_an_outcome_that_speaks_for_it(
    before: float, after: float, seed: int
) -> None:
    chance, model = random.Random(seed), Model(Settings(default=DomainSettings(label_delay=0.0)))
    learn_outcomes(model, [chance.random() < before for _ in range(600)])
    risk = model.assess(action(0, target=None), 600.0).risk
    steps = []
    for number in range(600, 720):
        bad = chance.random() < after
        learn_outcomes(model, [bad], number)
        previous, risk = risk, model.assess(action(0, target=None), number + 1.0).risk
        steps.append((abs(risk - previous), bad, risk > previous))
    _, bad, rose = max(steps)
    assert bad == rose == (after > before)


def test_the_risk_follows_a_change_of_the_bad_rate() -> None:
    one_in_ten, one_in_two = [True, *[False] * 9], [True, False]
    assert risk_after_labels(one_in_ten * 100, one_in_two * 100) == pytest.approx(0.5, abs=0.1)
    assert risk_after_labels(one_in_two * 500, one_in_ten * 20) == pytest.approx(0.1, abs=0.1)


def test_the_order_of_few_outcomes_says_nothing_of_a_change() -> None:
    model, labels = Model(Settings(default=DomainSettings(label_delay=0.0))), [True, False]
    learn_outcomes(model, [bad for bad in labels for _ in range(255)])
    assert model.domains["d"].actions["pay"].changes.count == 0


def test_what_is_not_yet_older_than_the_label_delay_is_no_change() -> None:
    model = Model(Settings(default=DomainSettings(label_delay=200.0)))
    learn_outcomes(model, [number % 10 == 0 for number in range(600)])
    learn_outcomes(model, [True] * 40, 600)  # of these calls the good outcomes do not count yet
    assert model.domains["d"].actions["pay"].changes.count == 0


def test_bad_outcomes_that_are_known_earlier_than_good_ones_are_no_change() -> None:
    model = Model(Settings(default=DomainSettings(label_delay=100.0)))
    for number in range(2_000):
        for label, decided_at in ((Label.BAD, number), (Label.GOOD, number - 100)):
            if decided_at >= 0 and (decided_at % 3 == 0) is (label is Label.BAD):
                each = evidence(decided_at, label, target=None)
                model.learn(each._replace(decided_at=float(decided_at), at=float(number)))
    assert model.domains["d"].actions["pay"].changes.count == 0


def test_successes_younger_than_past_corrections_are_no_change() -> None:
    model = Model(Settings(default=DomainSettings(label_delay=0.0)))
    learn_outcomes(model, [number % 3 == 0 for number in range(600)])
    for _ in range(5):
        model.record_correction("d", 100.0, 600.0)
    learn_outcomes(model, [False] * 100, 600)
    assert model.domains["d"].actions["pay"].changes.count == 0
    learn_outcomes(model, [False] * 100, 700)
    assert model.domains["d"].actions["pay"].changes.count == 1


@pytest.mark.parametrize("seed", range(4))
def test_few_corrections_of_many_outcomes_count_as_if_they_had_been_learned_at_once(
    seed: int,
) -> None:
    chance = random.Random(seed)
    targets = [f"t{chance.randrange(3)}" if chance.random() < 0.6 else None for _ in range(480)]
    calls = [
        evidence(number, target=target or f"new {number}")._replace(decided_at=float(number))
        for number, target in enumerate(targets)
    ]
    bad = chance.sample(calls, 5)
    at_once, corrected = (Model(Settings(default=DomainSettings(label_delay=0.0))) for _ in "ab")
    for call in calls:
        at_once.learn(call._replace(label=Label.BAD) if call in bad else call)
        corrected.learn(call)
    for call in bad:
        corrected.learn(call._replace(label=Label.BAD, replaces=Label.GOOD))
    for target in ("t0", "t1", "t2"):
        risks = [m.assess(action(0, target=target), 480.0).risk for m in (at_once, corrected)]
        assert logit(risks[0]) == pytest.approx(logit(risks[1]), abs=1.5)


def test_a_model_is_restored_from_its_state() -> None:
    settings = Settings(default=DomainSettings(label_delay=0.0))
    model = Model(settings)
    for number in range(600):
        label = Label.BAD if number % 5 == 0 or number > 520 else Label.GOOD
        labelled_call = evidence(number, label, facts={"kind": "a", "n": float(number)})
        model.learn(labelled_call._replace(decided_at=float(number), at=float(number)))
    assert model.domains["d"].actions["pay"].changes.count
    again = load_model(settings, json.loads(json.dumps(dump_model(model))))
    for each in (model, again):
        each.learn(evidence(700, Label.BAD))
        each.learn(evidence(550, Label.GOOD)._replace(replaces=Label.BAD))
    proposed = action(3, facts={"kind": "a", "n": 4.0})
    assert model.assess(proposed, 1.0) == again.assess(proposed, 1.0)


def test_of_a_domain_the_last_128_actions_are_known() -> None:
    model = Model(Settings(default=DomainSettings(label_delay=0.0)))

    def learn(number: int, name: str) -> None:
        model.learn(evidence(number, Label.BAD, name=name))

    for number in range(300):
        learn(2 * number, f"action {number}")
        learn(2 * number + 1, "often used")
    kept_actions = {
        name
        for name in ("often used", *(f"action {number}" for number in range(300)))
        if model.assess(action(0, name=name), 1000.0).total
    }
    assert kept_actions == {"often used", *(f"action {number}" for number in range(173, 300))}
