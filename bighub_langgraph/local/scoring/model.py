"""The model: what it expects of an action, and how it learns from what became of it."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from bighub_langgraph.local.scoring.action import Action
from bighub_langgraph.local.scoring.beta import PRIOR_RISK, BetaCounts
from bighub_langgraph.local.scoring.drift import Drift
from bighub_langgraph.local.scoring.evidence import Evidence
from bighub_langgraph.local.scoring.features import (
    Features,
    Scales,
    Traits,
    features,
    size_class,
    size_mark,
    traits_of,
)
from bighub_langgraph.local.scoring.logistic import Logistic
from bighub_langgraph.local.scoring.odds import logit
from bighub_langgraph.local.scoring.precedents import Precedent, Precedents
from bighub_langgraph.local.scoring.promise import Track
from bighub_langgraph.local.settings import Settings

SHOWN_PRECEDENTS = 5
_MOST_WEIGHTS = 320
_MOST_ACTIONS = 5_000
# How much each part counts with much evidence on an action; what is added while there is little;
# and what is added when a call almost like this one is known.
_SHARES = {
    "base": 0.0,
    "beta": 0.15,
    "near": 0.15,
    "logistic": 0.7,
    "scarce beta": 0.2,
    "scarce near": 0.5,
    "scarce logistic": -0.6,
    "close beta": -0.1,
    "close near": 0.6,
    "close logistic": -0.3,
}
_CLOSE = 0.7
_ENOUGH = 3
_FEW, _MOSTLY, _CORRECTIONS = 5, 0.9, 64  # when, and from how many, a delay is learned


class Assessment(NamedTuple):
    """What the model expects of an action, and why."""

    risk: float
    evidence: float
    bad: float
    age: float
    cutoff: float
    parts: dict[str, float]
    precedents: list[Precedent]
    novelties: tuple[str, ...]
    smaller_value: float | None
    drifting: bool
    traits: Traits


class Model:
    """Everything learned so far. The same evidence in the same order gives the same model."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._scales = Scales()
        self._counts = BetaCounts(
            verdict_weight=settings.verdict_weight, half_life=settings.default.half_life
        )
        self._regression = Logistic(
            variance=0.2, most=_MOST_WEIGHTS, means={"base": logit(PRIOR_RISK)}
        )
        self._stack = Logistic(variance=0.02, most=len(_SHARES), means=_SHARES)
        self.precedents = Precedents()
        self.tracks: dict[str, Track] = {}
        self.drifts: dict[str, Drift] = {}
        self._largest: dict[str, float] = {}
        self._corrections: dict[str, list[float]] = {}

    def assess(self, action: Action, at: float) -> Assessment:
        """Say what to expect of an action."""
        settings = self._settings.of(action.domain)
        traits = traits_of(action)
        seen = features(traits, self._scales)
        estimate = self._counts.estimate(traits, seen, action.domain, at)
        neighbours = self.precedents.around(traits.own, traits.place)
        inputs = _inputs(traits.own, seen)
        parts = {
            "beta": estimate.risk,
            "near": neighbours.risk(estimate.risk),
            "logistic": self._regression.predict(inputs),
        }
        # A regression needs more outcomes than it has features before it beats counting.
        parts["scarcity"] = len(inputs) / (len(inputs) + estimate.total)
        parts["closeness"] = max(0.0, (neighbours.closest - _CLOSE) / (1 - _CLOSE)) ** 2
        risk = self._stack.predict(_stacked(parts))
        return Assessment(
            risk=risk,
            evidence=estimate.total,
            bad=estimate.bad,
            age=estimate.age,
            cutoff=self._track(action.domain).cutoff(settings),
            parts=parts,
            precedents=neighbours.shown(SHOWN_PRECEDENTS),
            novelties=self._novelties(action, traits.own, estimate.total, settings.min_evidence),
            smaller_value=self._smaller_value(action.value, traits.own, at, risk),
            drifting=self._drift(action.domain).present,
            traits=traits,
        )

    def learn(self, evidence: Evidence) -> None:
        """Take in what became of an earlier decision."""
        action = evidence.action
        traits = evidence.traits or traits_of(action)
        if evidence.replaces is None:
            self._scales.add(traits.numbers)
        seen = features(traits, self._scales)
        self._counts.count(evidence, traits.own, seen)
        self.precedents.remember(evidence)
        self._track(action.domain).add(evidence, self._settings.of(action.domain))
        self._regress(evidence, _inputs(traits.own, seen))
        self._watch(evidence)
        if action.value is not None and not evidence.label.bad:
            own = traits.own
            self._largest[own] = max(action.value, self._largest.pop(own, 0.0))
            if len(self._largest) > _MOST_ACTIONS:
                del self._largest[next(iter(self._largest))]

    def delay(self, domain: str) -> float:
        """How old a good outcome must be before it is believed: as set, or as corrections came."""
        settings = self._settings.of(domain)
        if settings.correction_delay is not None:
            return settings.correction_delay
        took = sorted(self._corrections.get(domain, ()))
        return took[int(_MOSTLY * (len(took) - 1))] if len(took) >= _FEW else 0.0

    def corrected(self, domain: str, took: float) -> None:
        """Note how long a correction took."""
        earlier = self._corrections.get(domain, [])
        self._corrections[domain] = [*earlier, max(0.0, took)][-_CORRECTIONS:]

    def state(self) -> dict[str, Any]:
        """Everything learned, as plain JSON."""
        return {
            "scales": self._scales.state(),
            "counts": self._counts.state(),
            "regression": self._regression.state(),
            "stack": self._stack.state(),
            "precedents": self.precedents.state(),
            "tracks": {domain: track.state() for domain, track in self.tracks.items()},
            "drifts": {domain: drift.state() for domain, drift in self.drifts.items()},
            "largest": self._largest,
            "corrections": self._corrections,
        }

    def restored(self, state: dict[str, Any]) -> Self:
        """This model with what `state` described."""
        self._scales = Scales.restored(state["scales"])
        self._counts.restored(state["counts"])
        self._regression.restored(state["regression"])
        self._stack.restored(state["stack"])
        self.precedents.restored(state["precedents"])
        self.tracks = {domain: Track(**kept) for domain, kept in state["tracks"].items()}
        self.drifts = {domain: Drift(**kept) for domain, kept in state["drifts"].items()}
        self._largest = dict(state["largest"])
        self._corrections = {domain: list(took) for domain, took in state["corrections"].items()}
        return self

    def _regress(self, evidence: Evidence, inputs: Mapping[str, float]) -> None:
        label, before = evidence.label, evidence.replaces
        weight = 1.0 if label.outcome else self._settings.verdict_weight
        stacked = _stacked(evidence.parts) if evidence.parts else None
        if before is None:
            self._regression.learn(inputs, bad=label.bad, weight=weight)
            if stacked:
                self._stack.learn(stacked, bad=label.bad, weight=weight)
        elif before.bad != label.bad:
            self._regression.correct(inputs, bad=label.bad, weight=weight)
            if stacked:
                self._stack.correct(stacked, bad=label.bad, weight=weight)

    def _watch(self, evidence: Evidence) -> None:
        """Look for drift in real outcomes; a correction is a bad outcome that came late."""
        if not evidence.label.outcome:
            return
        domain = evidence.action.domain
        if self._drift(domain).add(bad=evidence.label.bad, at=evidence.at):
            self._track(domain).doubt()
            self._regression.widen(2.0)

    def _track(self, domain: str) -> Track:
        return self.tracks.get(domain) or self.tracks.setdefault(domain, Track())

    def _drift(self, domain: str) -> Drift:
        return self.drifts.get(domain) or self.drifts.setdefault(domain, Drift())

    def _novelties(self, action: Action, own: str, evidence: float, enough: int) -> tuple[str, ...]:
        found = []
        if evidence < enough:
            found.append(f"{action.name} has {evidence:.0f} of the {enough} outcomes it needs")
        largest = self._largest.get(own)
        if action.value is not None and largest is not None and action.value > 2 * largest + 1:
            found.append(f"{action.value:g} is more than twice the {largest:g} that went well")
        return tuple(found)

    def _smaller_value(self, value: float | None, own: str, at: float, risk: float) -> float | None:
        """The largest smaller size of value that has done clearly better."""
        if value is None:
            return None
        for size in range(size_class(value) - 1, 0, -1):
            bad, total = self._counts.counted_mark(own, size_mark(own, size), at)
            if total >= _ENOUGH and bad / total < risk / 2:
                return float(int(2 ** (size + 0.5) - 1))
        return None


def _inputs(own: str, seen: Features) -> dict[str, float]:
    """An action as one sparse vector, without what is about one thing only."""
    return {"base": 1.0, own: 1.0, **dict.fromkeys(seen.marks, 1.0), **seen.numbers}


def _stacked(parts: Mapping[str, float]) -> dict[str, float]:
    beta, near, logistic = logit(parts["beta"]), logit(parts["near"]), logit(parts["logistic"])
    scarcity, closeness = parts["scarcity"], parts["closeness"]
    return {
        "base": 1.0,
        "beta": beta,
        "near": near,
        "logistic": logistic,
        "scarce beta": scarcity * beta,
        "scarce near": scarcity * near,
        "scarce logistic": scarcity * logistic,
        "close beta": closeness * beta,
        "close near": closeness * near,
        "close logistic": closeness * logistic,
    }
