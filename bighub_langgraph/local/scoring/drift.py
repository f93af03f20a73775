"""Drift: noticing that things go wrong more often than they used to."""

import math
from dataclasses import dataclass, field
from typing import Any

_WORSE = 2.5  # the odds of a bad outcome, times this, are what it looks for
_ALARM = 7.5
_DOUBT = 1.6  # how many spreads above its estimate the usual rate is put
_LEAST_RATE, _MOST_RATE = 0.01, 0.99
_LAG = 200  # a drift should not look usual before it was noticed
_ENOUGH = 40
_CALM = 100
_ALARMS_KEPT = 20


@dataclass(slots=True)
class Drift:
    """Page's test on a domain's outcomes: a likelihood ratio that starts again at every fall to 0.

    Usual is the domain's own rate until two hundred outcomes ago, read a little high as it is
    itself uncertain. It is not what the model expected: a model follows a drift and hides it.
    """

    bad: float = 0.0
    total: float = 0.0
    latest: list[bool] = field(default_factory=list)  # outcomes that are not usual yet
    suspicion: float = 0.0
    since_alarm: int = _CALM
    alarms: list[float] = field(default_factory=list)

    def add(self, *, bad: bool, at: float) -> bool:
        """Take in one outcome; the answer is whether it raises the alarm."""
        self.latest.append(bad)
        if len(self.latest) > _LAG or self.total < _ENOUGH:
            self.bad += self.latest.pop(0)
            self.total += 1
        self.since_alarm += 1
        if self.total < _ENOUGH:
            return False
        self.suspicion = max(0.0, self.suspicion + evidence_of_worse(self.usual, bad=bad))
        if self.suspicion < _ALARM:
            return False
        self._start_again(at)
        return True

    @property
    def usual(self) -> float:
        """The bad rate that is held to be usual."""
        rate = (self.bad + _DOUBT * math.sqrt(self.bad + 1)) / max(1.0, self.total)
        return min(_MOST_RATE, max(_LEAST_RATE, rate))

    @property
    def present(self) -> bool:
        """Whether an alarm was raised within the last hundred outcomes."""
        return self.since_alarm < _CALM

    def state(self) -> dict[str, Any]:
        """Everything to keep, as plain JSON."""
        return {name: getattr(self, name) for name in self.__slots__}

    def _start_again(self, at: float) -> None:
        self.suspicion, self.since_alarm = 0.0, 0
        self.bad = self.total = 0.0
        self.latest = []
        self.alarms = [*self.alarms, at][-_ALARMS_KEPT:]


def evidence_of_worse(usual: float, *, bad: bool) -> float:
    """How much more likely an outcome is where the odds of a bad one have risen."""
    odds = _WORSE * usual / (1 - usual)
    worse = odds / (1 + odds)
    return math.log(worse / usual) if bad else math.log((1 - worse) / (1 - usual))
