"""The two estimators that learn: hierarchical Beta counts, and Bayesian logistic regression."""

import math
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bighub_langgraph.local.scoring.features import Evidence, Features

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

PRIOR_RISK = 0.3
_PARENT_STRENGTH, _FEATURE_STRENGTH, _FEATURE_SHARE = 4.0, 8.0, 0.4
_MAX_NODES = 20_000
_NO_COUNTS = (0.0, 0.0, 0.0, 0.0, 0.0)
_ROOT, _SEPARATOR = "*", "\x1f"
_MAX_CANDIDATES = 8_000
_MIN_CURVATURE = 1e-4
_MIN_PROBABILITY = 1e-6


def logit(probability: "ArrayLike") -> "NDArray[np.float64]":
    """Return the log odds of probabilities, kept finite."""
    limited = np.minimum(1 - _MIN_PROBABILITY, np.maximum(_MIN_PROBABILITY, probability))
    log_odds: NDArray[np.float64] = np.log(limited / (1 - limited))
    return log_odds


def expit(log_odds: float) -> float:
    """Return the probability of log odds."""
    return 1 / (1 + math.exp(-min(30.0, max(-30.0, log_odds))))


class Estimate(NamedTuple):
    """A risk, the faded counts of this very action, and the seconds since the latest of them."""

    risk: float
    bad: float
    total: float
    age: float


class BetaCounts:
    """Counts of good and bad labels: in all, by domain, by action, and by feature of an action.

    They give a risk estimate that works with little evidence.
    """

    def __init__(self, *, human_label_weight: float, half_life: float) -> None:
        self._human_label_weight = human_label_weight
        self._half_life = half_life
        # name -> good, bad, approved, denied, and the time up to which these are faded
        self.nodes: dict[str, list[float]] = {}

    def estimate(self, domain: str, features: Features, at: float) -> Estimate:
        """Estimate the risk of an action: each level is shrunk towards the one above it.

        Evidence on a level is not counted again on the one above.
        """
        key = features.action_key
        *outer, own = self._get_counts((_ROOT, f"{domain}/", key), at)
        risk = PRIOR_RISK
        for (bad, total), (inner_bad, inner_total) in pairwise((*outer, own, (0.0, 0.0))):
            outside = max(0.0, total - inner_total) + _PARENT_STRENGTH
            risk = (max(0.0, bad - inner_bad) + _PARENT_STRENGTH * risk) / outside
        names = features.categories + features.identifiers
        shrunk = [
            (bad + _FEATURE_STRENGTH * risk) / (total + _FEATURE_STRENGTH)
            for bad, total in self.get_feature_counts(key, names, at)
            if total
        ]
        base, *shifted = logit([risk, *shrunk]).tolist()
        shift = sum([log_odds - base for log_odds in shifted])
        age = at - self.nodes[key][4] if key in self.nodes else 0.0
        return Estimate(expit(base + _FEATURE_SHARE * shift), *own, age)

    def add(self, evidence: Evidence, features: Features) -> None:
        """Count a label on all levels, and remove the one it replaces."""
        at, label, replaced = evidence.at, int(evidence.label), evidence.replaces
        replaced_weight = math.exp2(min(0.0, evidence.replaced_at - at) / self._half_life)
        keys = [_ROOT, f"{evidence.action.domain}/", features.action_key]
        names = features.categories + features.identifiers
        for key in keys + _feature_keys(features.action_key, names):
            node = self.nodes.setdefault(key, [0.0, 0.0, 0.0, 0.0, at])
            if at > node[4]:
                fading = math.exp2((node[4] - at) / self._half_life)
                node[:] = *(count * fading for count in node[:4]), at
            node[label] += 1.0
            if replaced is not None:
                node[replaced] = max(0.0, node[replaced] - replaced_weight)
        if len(self.nodes) > _MAX_NODES:
            # Drop the tenth with the lowest counts: memory does not grow with the targets.
            by_weight = sorted(self.nodes, key=lambda key: sum(self.nodes[key][:4]))
            for key in by_weight[: _MAX_NODES // 10]:
                del self.nodes[key]

    def get_feature_counts(
        self, action_key: str, names: Iterable[str], at: float
    ) -> list[tuple[float, float]]:
        """Return the bad and the total counts of an action's calls with each categorical feature.

        They are faded to a moment.
        """
        return self._get_counts(_feature_keys(action_key, names), at)

    def _get_counts(self, keys: Iterable[str], at: float) -> list[tuple[float, float]]:
        counts, weight = [], self._human_label_weight
        for key in keys:
            good, bad, approved, denied, faded_at = self.nodes.get(key, _NO_COUNTS)
            fading = math.exp2(min(0.0, faded_at - at) / self._half_life)
            bad = (bad + weight * denied) * fading
            counts.append((bad, (good + weight * approved) * fading + bad))
        return counts


def _feature_keys(action_key: str, names: Iterable[str]) -> list[str]:
    return [f"{action_key}{_SEPARATOR}{name}" for name in names]


class LogisticRegression:
    """A Gaussian belief about the weights, updated by one label at a time.

    A feature gets a weight when it occurs for the second time, until there are `max_weights`. An
    identifier that occurs once takes none, so cost and memory stay bounded.
    """

    def __init__(
        self, *, variance: float, max_weights: int, means: Mapping[str, float] | None = None
    ) -> None:
        self._variance = variance
        self._max_weights = max_weights
        self._positions: dict[str, int] = {}
        self._candidates: dict[str, None] = {}  # features that occurred once
        self._mean: NDArray[np.float64] = np.zeros(max_weights)
        self._covariance: NDArray[np.float64] = np.eye(max_weights) * variance
        for name, mean in (means or {}).items():
            self._positions[name] = len(self._positions)
            self._mean[self._positions[name]] = mean

    def predict(self, features: Mapping[str, float]) -> float:
        """Return the probability of a bad outcome, moderated by the uncertainty of the weights."""
        positions, values = self._select(features)
        margin = float(self._mean.take(positions) @ values)
        block = self._covariance[positions[:, None], positions]
        variance = float(values @ block @ values)
        return expit(margin / math.sqrt(1 + math.pi * variance / 8))

    def learn(self, features: Mapping[str, float], *, bad: bool, weight: float = 1.0) -> None:
        """Move the belief towards one label."""
        self._add_features(features)
        positions, values = self._select(features)
        # The covariance of every weight with the sum of the features; the matrix is symmetric.
        direction = values @ self._covariance.take(positions, axis=0)
        variance = float(direction.take(positions) @ values)
        probability = expit(float(self._mean.take(positions) @ values))
        curvature = weight * max(probability * (1 - probability), _MIN_CURVATURE)
        share = 1 / (1 + curvature * variance)
        self._mean += direction * (weight * (float(bad) - probability) * share)
        update = direction * math.sqrt(curvature * share)
        self._covariance -= np.outer(update, update)

    def correct(self, features: Mapping[str, float], *, bad: bool, weight: float = 1.0) -> None:
        """Turn a label that was learned before into its opposite."""
        positions, values = self._select(features)
        direction = values @ self._covariance.take(positions, axis=0)
        self._mean += direction * (weight if bad else -weight)

    def widen(self, factor: float) -> None:
        """Increase the uncertainty, so that new labels count for more."""
        self._covariance *= factor
        excess = np.sqrt(np.maximum(1.0, np.diag(self._covariance) / self._variance))
        self._covariance /= np.outer(excess, excess)

    def dump_state(self) -> dict[str, Any]:
        """Return the state as JSON-compatible data."""
        used = len(self._positions)
        return {
            "features": list(self._positions),
            "candidates": list(self._candidates),
            "mean": self._mean[:used].tolist(),
            "covariance": b64encode(self._covariance[:used, :used].tobytes()).decode(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Replace the state by one that `dump_state` returned."""
        self._positions = {name: position for position, name in enumerate(state["features"])}
        self._candidates = dict.fromkeys(state["candidates"])
        used = len(self._positions)
        self._mean[:used], self._mean[used:] = state["mean"], 0.0
        self._covariance = np.eye(self._max_weights) * self._variance
        covariance = np.frombuffer(b64decode(state["covariance"]))
        self._covariance[:used, :used] = covariance.reshape(used, used)

    def _select(
        self, features: Mapping[str, float]
    ) -> tuple["NDArray[np.intp]", "NDArray[np.float64]"]:
        """The positions and values of the features that have a weight."""
        names = [name for name in features if name in self._positions]
        positions = np.array([self._positions[name] for name in names], dtype=np.intp)
        return positions, np.array([features[name] for name in names])

    def _add_features(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self._positions or len(self._positions) >= self._max_weights:
                continue
            if name in self._candidates:
                del self._candidates[name]
                self._positions[name] = len(self._positions)
                continue
            self._candidates[name] = None
            if len(self._candidates) > _MAX_CANDIDATES:
                del self._candidates[next(iter(self._candidates))]
