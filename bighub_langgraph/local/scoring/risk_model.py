"""The risk model: what it expects of an action, and how it learns from outcomes."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from bighub_langgraph.local.scoring.estimators import (
    PRIOR_RISK,
    BetaCounts,
    Estimate,
    LogisticRegression,
    logit,
)
from bighub_langgraph.local.scoring.features import (
    SIZE_FEATURE,
    Action,
    Evidence,
    Features,
    Scales,
    extract_features,
    size_class,
)
from bighub_langgraph.local.scoring.precedents import Precedent, PrecedentIndex
from bighub_langgraph.local.scoring.risk_limit import DriftDetector, RiskLimit
from bighub_langgraph.local.settings import Settings

SHOWN_PRECEDENTS = 5
_MAX_WEIGHTS = 320
_MAX_ACTIONS = 5_000
# The prior weight of each estimate with much evidence on an action, what is added while there is
# little ("scarce"), and what is added when an almost identical call is known ("close").
_STACK_WEIGHTS = {
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
_CLOSE_SIMILARITY = 0.7
_MIN_CASES_OF_A_SIZE = 3
_MIN_CORRECTIONS, _MAX_CORRECTIONS, _DELAY_QUANTILE = 5, 64, 0.9


class Assessment(NamedTuple):
    """What the model expects of an action, and why; `estimate` is that of the counts alone."""

    risk: float
    estimate: Estimate
    risk_limit: float
    parts: dict[str, float]
    precedents: list[Precedent]
    novelties: tuple[str, ...]
    smaller_value: float | None
    drifting: bool


@dataclass(slots=True)
class DomainState:
    """What is learned by domain."""

    risk_limit: RiskLimit = field(default_factory=RiskLimit)
    drift: DriftDetector = field(default_factory=DriftDetector)
    correction_delays: list[float] = field(default_factory=list)  # seconds


class Model:
    """Everything learned so far. The same evidence in the same order gives the same model."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._scales = Scales()
        self._counts = BetaCounts(
            human_label_weight=settings.human_label_weight, half_life=settings.default.half_life
        )
        self._regression = LogisticRegression(
            variance=0.2, max_weights=_MAX_WEIGHTS, means={"base": float(logit(PRIOR_RISK))}
        )
        self._stack = LogisticRegression(
            variance=0.02, max_weights=len(_STACK_WEIGHTS), means=_STACK_WEIGHTS
        )
        self.precedents = PrecedentIndex()
        self.domains: defaultdict[str, DomainState] = defaultdict(DomainState)
        self._largest_good_values: dict[str, float] = {}

    def assess(self, action: Action, at: float) -> Assessment:
        """Return what to expect of an action: its risk is stacked from three estimates."""
        settings = self._settings.for_domain(action.domain)
        features = self._scales.scale(extract_features(action))
        estimate = self._counts.estimate(action.domain, features, at)
        neighbors = self.precedents.find_nearest(action)
        inputs = _regression_inputs(features)
        similarity = float(neighbors.similarities[0]) if neighbors.calls else 0.0
        closeness = (similarity - _CLOSE_SIMILARITY) / (1 - _CLOSE_SIMILARITY)
        parts = {
            "beta": estimate.risk,
            "near": neighbors.estimate_risk(estimate.risk),
            "logistic": self._regression.predict(inputs),
            # A regression needs more outcomes than it has features before it beats counting.
            "scarcity": len(inputs) / (len(inputs) + estimate.total),
            "closeness": max(0.0, closeness) ** 2,
        }
        risk = self._stack.predict(_stack_inputs(parts))
        domain, value = self.domains[action.domain], action.value
        novelties = []
        if estimate.total < (needed := settings.min_evidence):
            history = f"{estimate.total:.0f} of the {needed} outcomes it needs"
            novelties.append(f"{action.name} has {history}")
        largest = self._largest_good_values.get(features.action_key)
        if value is not None and largest is not None and value > 2 * largest + 1:
            novelties.append(f"{value:g} is more than twice the {largest:g} that went well")
        return Assessment(
            risk=risk,
            estimate=estimate,
            risk_limit=1.0 if settings.max_bad_rate is None else domain.risk_limit.limit,
            parts=parts,
            precedents=neighbors.to_precedents(SHOWN_PRECEDENTS),
            novelties=tuple(novelties),
            smaller_value=self._find_smaller_value(features.action_key, value, at, risk),
            drifting=domain.drift.is_drifting,
        )

    def learn(self, evidence: Evidence) -> None:
        """Learn from the label of an earlier decision."""
        action, label = evidence.action, evidence.label
        settings, domain = self._settings.for_domain(action.domain), self.domains[action.domain]
        features = extract_features(action)
        if evidence.replaces is None:
            self._scales.update(features.numbers)
        features = self._scales.scale(features)
        self._counts.add(evidence, features)
        self.precedents.add(evidence)
        domain.risk_limit.add(evidence, settings)
        self._update_regressions(evidence, _regression_inputs(features))
        # A correction is a bad outcome that came late.
        if label.outcome and domain.drift.add(bad=label.bad, at=evidence.at):
            domain.risk_limit.discount(settings)
            self._regression.widen(2.0)
        if action.value is not None and not label.bad:
            largest = self._largest_good_values
            key = features.action_key
            largest[key] = max(action.value, largest.pop(key, 0.0))
            if len(largest) > _MAX_ACTIONS:
                del largest[next(iter(largest))]

    def label_delay(self, domain: str) -> float:
        """Return how old a good outcome must be before it counts: as set, or as learned."""
        delay = self._settings.for_domain(domain).label_delay
        if delay is not None:
            return delay
        delays = sorted(self.domains[domain].correction_delays)
        if len(delays) < _MIN_CORRECTIONS:
            return 0.0
        return delays[int(_DELAY_QUANTILE * (len(delays) - 1))]

    def record_correction(self, domain: str, delay: float) -> None:
        """Record after how many seconds a good outcome was corrected."""
        state = self.domains[domain]
        state.correction_delays = [*state.correction_delays, max(0.0, delay)][-_MAX_CORRECTIONS:]

    def dump_state(self) -> dict[str, Any]:
        """Return everything learned as JSON-compatible data."""
        return {
            "scales": self._scales.moments,
            "counts": self._counts.nodes,
            "regression": self._regression.dump_state(),
            "stack": self._stack.dump_state(),
            "precedents": self.precedents.dump_state(),
            "domains": {name: asdict(domain) for name, domain in self.domains.items()},
            "largest_good_values": self._largest_good_values,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Replace everything learned by what `dump_state` returned."""
        self._scales.moments = state["scales"]
        self._counts.nodes = state["counts"]
        self._regression.load_state(state["regression"])
        self._stack.load_state(state["stack"])
        self.precedents.load_state(state["precedents"])
        self.domains.clear()
        for name, domain in state["domains"].items():
            limit, drift = RiskLimit(**domain["risk_limit"]), DriftDetector(**domain["drift"])
            self.domains[name] = DomainState(limit, drift, domain["correction_delays"])
        self._largest_good_values = state["largest_good_values"]

    def _update_regressions(self, evidence: Evidence, inputs: Mapping[str, float]) -> None:
        label, replaced = evidence.label, evidence.replaces
        weight = 1.0 if label.outcome else self._settings.human_label_weight
        updates = ((self._regression, inputs), (self._stack, _stack_inputs(evidence.parts)))
        for regression, values in updates:
            if replaced is None:
                regression.learn(values, bad=label.bad, weight=weight)
            elif replaced.bad != label.bad:
                regression.correct(values, bad=label.bad, weight=weight)

    def _find_smaller_value(
        self, action_key: str, value: float | None, at: float, risk: float
    ) -> float | None:
        """The largest smaller value whose size class has clearly better outcomes."""
        if value is None:
            return None
        sizes = range(size_class(value) - 1, 0, -1)
        features = [SIZE_FEATURE.format(action_key, size) for size in sizes]
        counts = self._counts.get_feature_counts(action_key, features, at)
        for size, (bad, total) in zip(sizes, counts, strict=True):
            if total >= _MIN_CASES_OF_A_SIZE and bad / total < risk / 2:
                return float(int(2 ** (size + 0.5) - 1))
        return None


def _regression_inputs(features: Features) -> dict[str, float]:
    """The features as a sparse vector, without those that name a single thing."""
    return {
        "base": 1.0,
        features.action_key: 1.0,
        **dict.fromkeys(features.categories, 1.0),
        **dict(features.numbers),
    }


def _stack_inputs(parts: Mapping[str, float]) -> dict[str, float]:
    estimates = logit([parts[name] for name in ("beta", "near", "logistic")])
    scarce, close = parts["scarcity"] * estimates, parts["closeness"] * estimates
    return dict(zip(_STACK_WEIGHTS, (1.0, *estimates, *scarce, *close), strict=True))
