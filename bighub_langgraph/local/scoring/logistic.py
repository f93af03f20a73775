"""Online Bayesian logistic regression over named features, with a full covariance."""

import math
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_CANDIDATES = 8_000
_MIN_CURVATURE = 1e-4
_MIN_PROBABILITY = 1e-6


def logit(probability: float) -> float:
    """Return the log odds of a probability, kept finite."""
    if probability < _MIN_PROBABILITY:
        probability = _MIN_PROBABILITY
    elif probability > 1 - _MIN_PROBABILITY:
        probability = 1 - _MIN_PROBABILITY
    return math.log(probability / (1 - probability))


def expit(log_odds: float) -> float:
    """Return the probability of log odds."""
    return 1 / (1 + math.exp(-min(30.0, max(-30.0, log_odds))))


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
        positions, values = [], []
        for name, value in features.items():
            if (position := self._positions.get(name)) is not None:
                positions.append(position)
                values.append(value)
        return np.array(positions, dtype=np.intp), np.array(values)

    def _add_features(self, names: Iterable[str]) -> None:
        positions, candidates = self._positions, self._candidates
        for name in names:
            if name in positions or len(positions) >= self._max_weights:
                continue
            if name not in candidates:
                candidates[name] = None
                if len(candidates) > _MAX_CANDIDATES:
                    del candidates[next(iter(candidates))]
                continue
            del candidates[name]
            positions[name] = len(positions)
