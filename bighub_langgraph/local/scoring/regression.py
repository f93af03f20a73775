"""Bayesian logistic regression whose examples are kept, so that a label can be corrected."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VARIANCE = 0.2  # of a weight before any example
BASE_VALUE = 3.0  # of the feature "base", which all calls have: its weight is learned faster
_FIRST_WEIGHTS, _MAX_WEIGHTS = 16, 128
_IDLE_EXAMPLES = 256  # after so many examples without its feature a weight may be freed
_MAX_EXAMPLES, _MAX_CANDIDATES = 1_024, 4_000
_REVISITS, _MORE_REVISITS = 2, 8  # older examples after each change, and more after a surprise
_NEWTON_STEPS, _TOLERANCE = 8, 1e-4
_MIN_CURVATURE = 1e-4
_NEGLIGIBLE = 1e-3  # standard deviations by which a revisit would move an example's log odds
_MIN_SHARE = 0.02  # of the information that stays when an example is taken out


def logit(probability: float) -> float:
    """Return the log odds of a probability, kept finite."""
    share = min(1 - 1e-6, max(1e-6, probability))
    return math.log(share / (1 - share))


def expit(log_odds: float) -> float:
    """Return the probability of log odds."""
    return 1 / (1 + math.exp(-min(30.0, max(-30.0, log_odds))))


@dataclass(slots=True)
class Example:
    """A labelled call, and the Gaussian term it contributes to the belief.

    Attributes:
        step: When its features were looked up; a weight that was freed later is not its own.
        bad: Its label; None when it was withdrawn.
    """

    positions: "NDArray[np.intp]"
    values: "NDArray[np.float64]"
    step: int
    bad: bool | None
    curvature: float = 0.0
    pull: float = 0.0


@dataclass(slots=True)
class Regression:
    """A Gaussian belief about the weights: the product of a prior and a term for each example.

    An example's term is made at its own optimum: what the belief is without it decides. A corrected
    label replaces the term and never overshoots. After each change some older examples are visited
    again, always in the same order, so that they see what was learned since: more of them after a
    label that was not expected.

    A feature gets a weight when it occurs for the second time; when there are too many, one that
    has not occurred for long is freed. So cost and memory stay bounded.
    """

    positions: dict[str, int]
    mean: "NDArray[np.float64]"
    covariance: "NDArray[np.float64]"
    last_used: "NDArray[np.int64]"  # the step at which a weight was used last
    assigned_at: "NDArray[np.int64]"  # the step at which a weight got its feature
    candidates: dict[str, None] = field(default_factory=dict)  # features that occurred once
    examples: dict[str, Example] = field(default_factory=dict)
    ring: list[str] = field(default_factory=list)  # the examples; the newest replaces the oldest
    oldest: int = 0
    visit_index: int = 0
    step: int = 0
    freed_at: int = 0  # the step at which the last weight was freed

    @classmethod
    def with_prior(cls, prior: float) -> "Regression":
        """Return a regression that predicts a probability before any example."""
        mean = np.zeros(_FIRST_WEIGHTS)
        mean[0] = _center(prior) / BASE_VALUE
        steps = np.zeros((2, _FIRST_WEIGHTS), dtype=np.int64)
        return cls({"base": 0}, mean, np.eye(_FIRST_WEIGHTS) * _VARIANCE, *steps)

    def predict(self, features: Mapping[str, float]) -> float:
        """Return the probability of a bad outcome, moderated by the uncertainty of the weights."""
        return self._moderate(*self._select(features))

    def predict_example(self, request_id: str) -> float | None:
        """Return the probability of a bad outcome of a call that was learned, if it is kept."""
        example = self.examples.get(request_id)
        if example is None:
            return None
        return self._moderate(*self._select_own(example))

    def learn(
        self,
        request_id: str,
        features: Mapping[str, float],
        *,
        bad: bool | None,
        replaces: bool | None = None,
    ) -> None:
        """Learn the label of a call, or None to forget it; `replaces` is what it was before."""
        example = self.examples.get(request_id)
        if example is None:
            self.step += 1
            if replaces is None:
                self._place(features)
            positions, values = self._select(features)
            example = Example(positions, values, self.step, bad)
            if replaces is None:
                self.last_used[positions] = self.step
                self._keep(request_id, example)
            else:
                # It is not kept any more: its term is taken to be what it would be today.
                _, margin, _ = self._project(positions, values)
                example.curvature, example.pull = _make_term(margin, bad=replaces)
        example.bad = bad
        surprise = self._visit(example)
        for _ in range(min(_REVISITS + int(_MORE_REVISITS * surprise), len(self.ring))):
            self.visit_index = (self.visit_index + 1) % len(self.ring)
            self._visit(self.examples[self.ring[self.visit_index]])

    def _select(
        self, features: Mapping[str, float]
    ) -> tuple["NDArray[np.intp]", "NDArray[np.float64]"]:
        """The positions and values of the features that have a weight."""
        names = [name for name in features if name in self.positions]
        positions = np.array([self.positions[name] for name in names], dtype=np.intp)
        return positions, np.array([features[name] for name in names])

    def _select_own(self, example: Example) -> tuple["NDArray[np.intp]", "NDArray[np.float64]"]:
        """The positions and values of an example's features that still have their weight."""
        if example.step >= self.freed_at:
            return example.positions, example.values
        own = self.assigned_at.take(example.positions) <= example.step
        return example.positions[own], example.values[own]

    def _moderate(self, positions: "NDArray[np.intp]", values: "NDArray[np.float64]") -> float:
        _, margin, variance = self._project(positions, values)
        return expit(margin / math.sqrt(1 + math.pi * max(0.0, variance) / 8))

    def _project(
        self, positions: "NDArray[np.intp]", values: "NDArray[np.float64]"
    ) -> tuple["NDArray[np.float64]", float, float]:
        """The covariance of each weight with a sum of features, and the sum's mean and variance."""
        direction = values.dot(self.covariance.take(positions, axis=0))
        margin = float(self.mean.take(positions).dot(values))
        return direction, margin, float(direction.take(positions).dot(values))

    def _visit(self, example: Example) -> float:
        """Replace an example's term by the one at its optimum given all others.

        Return how much that says: nearly 1 if a first label was not expected at all.
        """
        example.positions, example.values = self._select_own(example)
        direction, margin, variance = self._project(example.positions, example.values)
        curvature, pull = 0.0, 0.0
        if example.bad is not None:
            share = max(_MIN_SHARE, 1 - example.curvature * variance)
            without, spread = (margin - variance * example.pull) / share, variance / share
            optimum = _find_optimum(without, spread, bad=example.bad)
            curvature, pull = _make_term(optimum, bad=example.bad)
        more, change = curvature - example.curvature, pull - example.pull
        scale, force = max(_MIN_SHARE, 1 + more * variance), change - more * margin
        distance = abs(force) * math.sqrt(max(0.0, variance)) + abs(more) * variance
        if example.curvature and distance < _NEGLIGIBLE:
            return 0.0  # its term stays as it is
        self.mean += direction * (force / scale)
        self.covariance -= np.multiply.outer(direction * (more / scale), direction)
        example.curvature, example.pull = curvature, pull
        return abs(force)

    def _keep(self, request_id: str, example: Example) -> None:
        self.examples[request_id] = example
        if len(self.ring) < _MAX_EXAMPLES:
            self.ring.append(request_id)
            return
        del self.examples[self.ring[self.oldest]]
        self.ring[self.oldest] = request_id
        self.oldest = (self.oldest + 1) % _MAX_EXAMPLES

    def _place(self, names: Iterable[str]) -> None:
        """Give a weight to each feature that occurs for the second time."""
        is_full = False
        for name in names:
            if name in self.positions:
                continue
            if name not in self.candidates:
                self.candidates[name] = None
                if len(self.candidates) > _MAX_CANDIDATES:
                    del self.candidates[next(iter(self.candidates))]
            elif is_full or (position := self._find_place()) is None:
                is_full = True
            else:
                del self.candidates[name]
                self.positions[name] = position
                self.last_used[position] = self.assigned_at[position] = self.step

    def _find_place(self) -> int | None:
        """A free weight; one that has not been used for long is freed."""
        size = len(self.positions)
        if size < len(self.mean):
            return size
        if size < _MAX_WEIGHTS:
            self._grow(min(_MAX_WEIGHTS, 2 * size))
            return size
        position = 1 + int(self.last_used[1:].argmin())
        if self.last_used[position] > self.step - _IDLE_EXAMPLES:
            return None
        name = next(name for name, place in self.positions.items() if place == position)
        del self.positions[name]
        self.freed_at = self.step
        self.mean[position] = self.covariance[position] = self.covariance[:, position] = 0.0
        self.covariance[position, position] = _VARIANCE
        return position

    def _grow(self, size: int) -> None:
        count = len(self.mean)
        covariance = np.eye(size) * _VARIANCE
        covariance[:count, :count] = self.covariance
        self.covariance = covariance
        self.mean, self.last_used, self.assigned_at = (
            np.concatenate([array, np.zeros(size - count, dtype=array.dtype)])
            for array in (self.mean, self.last_used, self.assigned_at)
        )


def _center(prior: float) -> float:
    """The mean log odds whose prediction, moderated by the uncertainty, is the prior."""
    return logit(prior) * math.sqrt(1 + math.pi * _VARIANCE * BASE_VALUE**2 / 8)


def _find_optimum(mean: float, variance: float, *, bad: bool) -> float:
    """The most probable log odds of an example, from the belief without it (Newton's method)."""
    log_odds = mean
    for _ in range(_NEWTON_STEPS):
        probability = expit(log_odds)
        gradient = mean + variance * (bad - probability) - log_odds
        step = gradient / (1 + variance * probability * (1 - probability))
        log_odds += step
        if abs(step) < _TOLERANCE:
            break
    return log_odds


def _make_term(log_odds: float, *, bad: bool) -> tuple[float, float]:
    """The curvature and pull of an example's likelihood at its log odds."""
    probability = expit(log_odds)
    curvature = max(_MIN_CURVATURE, probability * (1 - probability))
    return curvature, curvature * log_odds + (bad - probability)
