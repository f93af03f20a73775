"""Simulated worlds whose true risks are known: how far each method's risks are from them."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from typing import Any, NamedTuple

from bighub_langgraph.local import DomainSettings, LocalBighub, Settings

REFIT_EVERY = 250  # calls between two refits of a batch method
WARM_UP = 5  # the first part of a stream, in fifths of which errors do not count
CHANGE = 1_250  # the call at which a world that drifts changes
LARGE = 60  # the value above which a new customer is rarely honest
WRONG_REPORTS = 0.1  # the share of outcomes that are reported as their opposite
FALSE_FRAUDS = 0.15  # the share of calls that someone reports as fraud whatever happened


class Call(NamedTuple):
    """A proposed call with its true risk, its outcome, and when a bad outcome is reported."""

    action: str
    domain: str
    actor: str
    target: str | None
    value: float | None
    facts: dict[str, Any]
    risk: float
    bad: bool
    delay: int


def _sigmoid(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def _call(chance: random.Random, risk: float, *, delay: int = 0, **changed: Any) -> Call:
    usual = {"action": "pay", "domain": "d", "actor": "bot", "target": None, "value": None}
    fields = {**usual, "facts": {}, **changed}
    return Call(**fields, risk=risk, bad=chance.random() < risk, delay=delay)


def _people(chance: random.Random, delay: int = 0) -> Iterator[Call]:
    actors = [chance.gauss(0, 0.7) for _ in range(50)]
    targets = [chance.gauss(0, 1.2) for _ in range(200)]
    while True:
        actor, target = chance.randrange(50), min(199, int(chance.expovariate(1 / 30)))
        value, channel = math.exp(chance.gauss(4, 1)), chance.choice(["web", "app", "tel"])
        odds = -2.2 + actors[actor] + targets[target] + 0.6 * (math.log(value) - 4)
        risk = _sigmoid(odds + 0.8 * (channel == "tel"))
        about = {"actor": f"u{actor}", "target": f"t{target}", "value": value}
        yield _call(chance, risk, delay=delay, facts={"channel": channel}, **about)


def _many(chance: random.Random, number: int, field: str) -> Iterator[Call]:
    risks = [chance.betavariate(0.5, 4.5) for _ in range(number)]
    while True:
        index = chance.randrange(number)
        yield _call(chance, risks[index], **{field: f"{field} {index}"})


def _values(chance: random.Random) -> Iterator[Call]:
    while True:
        value = math.exp(chance.gauss(4, 1))
        yield _call(chance, _sigmoid(-3 + 1.8 * (math.log(value) - 4)), value=value)


def _over_time(chance: random.Random, risk_at: Callable[[int], float]) -> Iterator[Call]:
    return (_call(chance, risk_at(at), value=chance.uniform(10, 100)) for at in count())


def _xor(chance: random.Random) -> Iterator[Call]:
    while True:
        facts = {name: chance.choice(kinds) for name, kinds in (("x", "ab"), ("y", "cd"))}
        risk = 0.4 if (facts["x"] == "a") != (facts["y"] == "c") else 0.05
        yield _call(chance, risk, facts={**facts, "z": chance.choice("efgh")})


def _rare(chance: random.Random) -> Iterator[Call]:
    """Few calls are bad, and nearly all of them are large, to one country, of new customers."""
    while True:
        value, country = math.exp(chance.gauss(4, 1)), chance.choice("ABCDE")
        is_new, target = chance.randrange(10) == 0, f"t{chance.randrange(500)}"
        is_fraud = country == "E" and is_new and value > LARGE
        risk = 0.001 + 0.01 * (country == "E") + 0.25 * is_fraud
        facts = {"country": country, "new_customer": is_new, "amount": value}
        yield _call(chance, risk, facts=facts, value=value, target=target)


def _correlated_arguments(chance: random.Random) -> Iterator[Call]:
    """Ten arguments say the same."""
    while True:
        same, other = chance.choice("ab"), chance.choice("cd")
        risk = _sigmoid(-2 + 1.5 * (same == "a") + (other == "c"))
        copies = {f"copy {number}": same for number in range(10)}
        yield _call(chance, risk, facts={**copies, "other": other})


def _misreport(calls: Iterator[Call], report: Callable[[bool], bool]) -> Iterator[Call]:
    return (call._replace(bad=report(call.bad)) for call in calls)


WORLDS: dict[str, Callable[[random.Random], Iterator[Call]]] = {
    "single rate": lambda chance: _over_time(chance, lambda _: 0.1),
    "20 actions": lambda chance: _many(chance, 20, "action"),
    "actors and targets": _people,
    "value": _values,
    "delayed by 300 calls": lambda chance: _people(chance, 300),
    "drift up": lambda chance: _over_time(chance, lambda at: 0.03 if at < CHANGE else 0.25),
    "drift down": lambda chance: _over_time(chance, lambda at: 0.3 if at < CHANGE else 0.03),
    "seasonal": lambda chance: _over_time(chance, lambda at: 0.12 + 0.1 * math.sin(at / 64)),
    "xor": _xor,
    "rare": _rare,
    "noise": lambda chance: _misreport(
        _people(chance), lambda bad: bad != (chance.random() < WRONG_REPORTS)
    ),
    "poisoned": lambda chance: _misreport(
        _people(chance), lambda bad: bad or chance.random() < FALSE_FRAUDS
    ),
    "correlated": _correlated_arguments,
    "1,000 domains": lambda chance: _many(chance, 1_000, "domain"),
}


def measure(calls: int) -> dict[str, Any]:
    figures = {}
    for name, world in WORLDS.items():
        chance = random.Random(0)  # noqa: S311 - a simulation, not a secret
        stream = list(islice(world(chance), calls))
        errors = {method: _error(run(stream), stream) for method, run in METHODS.items()}
        figures[name] = {method: round(error, 4) for method, error in errors.items()}
        print(name, figures[name], flush=True)
    return figures


def _error(risks: Sequence[float], stream: Sequence[Call]) -> float:
    """The root of the mean squared distance to the true risks, after the first fifth."""
    pairs = list(zip(risks, stream, strict=True))[len(stream) // WARM_UP :]
    return math.sqrt(sum((risk - call.risk) ** 2 for risk, call in pairs) / len(pairs))


def _is_known_bad(stream: Sequence[Call], at: int, past: int) -> bool:
    """Whether a call is known to be bad at a moment: a late report is a success until then."""
    return stream[past].bad and past + stream[past].delay < at


def _engine(stream: Sequence[Call]) -> list[float]:
    ticks, risks, due = count(1_700_000_000, 60), [], dict[int, str]()
    settings = Settings(default=DomainSettings(label_delay=0.0))
    with LocalBighub(settings=settings, clock=lambda: float(next(ticks))) as bighub:
        for at, call in enumerate(stream):
            if at in due:
                bighub.outcomes.report(request_id=due.pop(at), status="FRAUD")
            fields = call._asdict()
            proposed = {name: fields[name] for name in ("action", "domain", "actor", "target")}
            context = {"arguments": call.facts}
            reply = bighub.actions.evaluate(**proposed, value=call.value, context=context)
            risks.append(float(reply["risk_score"]))
            is_late = call.bad and call.delay > 0
            status = "FRAUD" if call.bad and not is_late else "SUCCESS"
            bighub.outcomes.report(request_id=reply["request_id"], status=status)
            if is_late:
                due[at + call.delay] = reply["request_id"]
    return risks


def _counts(stream: Sequence[Call]) -> list[float]:
    """Beta counts of each action."""
    risks = []
    for at, call in enumerate(stream):
        same = [
            _is_known_bad(stream, at, past) for past in range(at) if stream[past][:2] == call[:2]
        ]
        risks.append((sum(same) + 0.6) / (len(same) + 2))
    return risks


def _features(call: Call) -> dict[str, float]:
    names = (call.domain, f"{call.domain} {call.action}", call.actor, str(call.target))
    facts = tuple(f"{name}={fact}" for name, fact in call.facts.items())
    size = {} if call.value is None else {"value": math.log(call.value) - 4}
    return {**dict.fromkeys((*names, *facts), 1.0), **size}


def _refit(make: Callable[[], Any]) -> Callable[[Sequence[Call]], list[float]]:
    def run(stream: Sequence[Call]) -> list[float]:
        from sklearn.feature_extraction import DictVectorizer

        inputs = DictVectorizer(sparse=False).fit_transform([_features(call) for call in stream])
        risks = [0.3] * min(REFIT_EVERY, len(stream))
        for at in range(REFIT_EVERY, len(stream), REFIT_EVERY):
            bad = [_is_known_bad(stream, at, past) for past in range(at)]
            block = inputs[at : at + REFIT_EVERY]
            if len(set(bad)) == 1:
                risks += [float(bad[0])] * len(block)
            else:
                risks += make().fit(inputs[:at], bad).predict_proba(block)[:, 1].tolist()
        return risks

    return run


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=0.5, max_iter=200)


def _boosting() -> Any:
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(n_estimators=40, random_state=0)


def _online(stream: Sequence[Call]) -> list[float]:
    from river import linear_model, optim

    model, risks = linear_model.LogisticRegression(optim.AdaGrad(0.3), l2=1e-4), []
    due: dict[int, dict[str, float]] = {}
    for at, call in enumerate(stream):
        if at in due:
            model.learn_one(due.pop(at), y=True)
        features = _features(call)
        risks.append(float(model.predict_proba_one(features).get(True, 0.3)))
        is_late = call.bad and call.delay > 0
        model.learn_one(features, y=call.bad and not is_late)
        if is_late:
            due[at + call.delay] = features
    return risks


METHODS: dict[str, Callable[[Sequence[Call]], list[float]]] = {
    "engine": _engine,
    "Beta counts": _counts,
    "logistic refit": _refit(_logistic),
    "gradient boosting refit": _refit(_boosting),
    "river": _online,
}
