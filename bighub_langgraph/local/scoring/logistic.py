"""Online Bayesian logistic regression over named features, with a full covariance."""

import math
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from bighub_langgraph.local.scoring.odds import expit

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FIRST_ROOM = 64
_MOST_CANDIDATES = 8_000
_LEAST_CURVATURE = 1e-4
_TOGETHER = 16
_ROWS = 40  # of a product at once; BLAS shares larger ones between threads, and waits for them


class Logistic:
    """A Gaussian belief about the weights, moved by one label at a time.

    Every label shrinks the covariance by the product of one vector with itself. Sixteen of them
    wait and are subtracted together, which touches a large matrix a sixteenth as often.

    A feature gets a place when it is met a second time, until the room is full; so identifiers that
    come once take none, and cost and memory stay bounded.
    """

    def __init__(
        self, *, variance: float, most: int, means: Mapping[str, float] | None = None
    ) -> None:
        self._variance = variance
        self._most = most
        self._places: dict[str, int] = {}
        self._met_once: dict[str, None] = {}
        self._mean: NDArray[np.float64] = np.zeros(_FIRST_ROOM)
        self._covariance: NDArray[np.float64] = np.eye(_FIRST_ROOM) * variance
        self._waiting: NDArray[np.float64] = np.zeros((_TOGETHER, _FIRST_ROOM))
        self._waits = 0
        for name, mean in (means or {}).items():
            self._places[name] = len(self._places)
            self._mean[self._places[name]] = mean
        # Where every place is taken from the start, all features always come, in their order.
        self._all = np.arange(most) if len(self._places) == most else None

    def predict(self, features: Mapping[str, float]) -> float:
        """The probability of a bad outcome, moderated by how unsure the weights are."""
        spots, numbers = self._known(features)
        margin = float(self._mean.take(spots) @ numbers)
        # Read by their numbers in the whole: rows of which few columns are wanted cost more.
        among = self._covariance.take((spots * len(self._mean))[:, None] + spots)
        shrunk = self._waiting[: self._waits].take(spots, axis=1) @ numbers
        spread = float(numbers @ among @ numbers - shrunk @ shrunk)
        return expit(margin / math.sqrt(1 + math.pi * spread / 8))

    def learn(self, features: Mapping[str, float], *, bad: bool, weight: float = 1.0) -> None:
        """Move the belief towards one label."""
        self._place(features)
        spots, numbers = self._known(features)
        columns = self._columns(spots, numbers)
        spread = float(columns.take(spots) @ numbers)
        chance = expit(float(self._mean.take(spots) @ numbers))
        curvature = weight * max(chance * (1 - chance), _LEAST_CURVATURE)
        share = 1 / (1 + curvature * spread)
        self._mean += columns * (weight * (float(bad) - chance) * share)
        np.multiply(columns, math.sqrt(curvature * share), out=self._waiting[self._waits])
        self._waits += 1
        if self._waits == _TOGETHER:
            self._shrink()

    def correct(self, features: Mapping[str, float], *, bad: bool, weight: float = 1.0) -> None:
        """Turn a label that was learned before into its opposite."""
        spots, numbers = self._known(features)
        columns = self._columns(spots, numbers)
        self._mean += columns * (weight if bad else -weight)

    def widen(self, factor: float) -> None:
        """Be less sure: what was learned counts for less against what comes."""
        self._shrink()
        self._covariance *= factor
        excess = np.sqrt(np.maximum(1.0, np.diag(self._covariance) / self._variance))
        self._covariance /= np.outer(excess, excess)

    def state(self) -> dict[str, Any]:
        """Everything to keep, as plain JSON."""
        self._shrink()
        used = len(self._places)
        return {
            "places": list(self._places),
            "met_once": list(self._met_once),
            "mean": self._mean[:used].tolist(),
            "covariance": b64encode(self._covariance[:used, :used].tobytes()).decode(),
        }

    def restored(self, state: dict[str, Any]) -> Self:
        """This regression with what `state` described."""
        self._places = {name: place for place, name in enumerate(state["places"])}
        self._met_once = dict.fromkeys(state["met_once"])
        used = len(self._places)
        self._mean, self._covariance = np.zeros(0), np.zeros((0, 0))
        self._waits = 0
        self._grow(max(_FIRST_ROOM, used))
        self._mean[:used] = state["mean"]
        packed = np.frombuffer(b64decode(state["covariance"]))
        self._covariance[:used, :used] = packed.reshape(used, used)
        return self

    def _known(
        self, features: Mapping[str, float]
    ) -> tuple["NDArray[np.intp]", "NDArray[np.float64]"]:
        numbers = list(features.values())
        if self._all is not None:
            return self._all, np.array(numbers)
        places = self._places
        spots = [places.get(name, -1) for name in features]
        if -1 in spots:
            numbers = [number for spot, number in zip(spots, numbers, strict=True) if spot >= 0]
            spots = [spot for spot in spots if spot >= 0]
        return np.array(spots, dtype=np.intp), np.array(numbers)

    def _columns(
        self, spots: "NDArray[np.intp]", numbers: "NDArray[np.float64]"
    ) -> "NDArray[np.float64]":
        """The covariance of every weight with a sum of features; read by rows, it is symmetric."""
        waiting = self._waiting[: self._waits]
        found: NDArray[np.float64] = numbers @ self._covariance.take(spots, axis=0)
        found -= (waiting.take(spots, axis=1) @ numbers) @ waiting
        return found

    def _shrink(self) -> None:
        waiting = self._waiting[: self._waits]
        for first in range(0, len(self._covariance) if self._waits else 0, _ROWS):
            rows = slice(first, first + _ROWS)
            self._covariance[rows] -= waiting[:, rows].T @ waiting
        self._waits = 0

    def _place(self, features: Mapping[str, float]) -> None:
        places, met_once = self._places, self._met_once
        if len(places) >= self._most:
            return
        for name in features:
            if name in places or len(places) >= self._most:
                continue
            if name not in met_once:
                met_once[name] = None
                if len(met_once) > _MOST_CANDIDATES:
                    del met_once[next(iter(met_once))]
                continue
            del met_once[name]
            places[name] = len(places)
            if len(places) > len(self._mean):
                self._grow(min(self._most, 2 * len(places)))

    def _grow(self, room: int) -> None:
        self._shrink()
        old = len(self._mean)
        covariance = np.eye(room) * self._variance
        covariance[:old, :old] = self._covariance
        self._covariance = covariance
        self._waiting = np.zeros((_TOGETHER, room))
        self._mean = np.concatenate([self._mean, np.zeros(room - old)])
