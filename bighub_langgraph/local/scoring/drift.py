"""Drift: detecting that outcomes of a domain are worse than they used to be."""

import math
from dataclasses import dataclass, field

_ODDS_RATIO = 2.5  # the rise in the odds of a bad outcome that the test looks for
_ALARM_THRESHOLD = 7.5
_SAFETY_SPREADS = 1.6  # standard deviations added to the estimated baseline
_MIN_RATE, _MAX_RATE = 0.01, 0.99
_BASELINE_LAG = 200  # outcomes after a drift must not enter the baseline before it is detected
_MIN_BASELINE = 40
_ALARM_DURATION = 100
_MAX_ALARMS = 20


@dataclass(slots=True)
class DriftDetector:
    """Page's test on a domain's outcomes: a likelihood ratio that restarts at 0.

    The baseline is the domain's own bad rate until 200 outcomes ago plus a margin for its
    uncertainty. It is not the model's expectation: a model follows a drift and would hide it.
    """

    bad: float = 0.0
    total: float = 0.0
    recent: list[bool] = field(default_factory=list)  # outcomes that are not in the baseline yet
    statistic: float = 0.0
    outcomes_since_alarm: int = _ALARM_DURATION
    alarms: list[float] = field(default_factory=list)

    def add(self, *, bad: bool, at: float) -> bool:
        """Add one outcome; return whether it raises an alarm."""
        self.recent.append(bad)
        if len(self.recent) > _BASELINE_LAG or self.total < _MIN_BASELINE:
            self.bad += self.recent.pop(0)
            self.total += 1
        self.outcomes_since_alarm += 1
        if self.total < _MIN_BASELINE:
            return False
        ratio = log_likelihood_ratio(self.baseline_rate, bad=bad)
        self.statistic = max(0.0, self.statistic + ratio)
        if self.statistic < _ALARM_THRESHOLD:
            return False
        self.statistic, self.outcomes_since_alarm = 0.0, 0
        self.bad = self.total = 0.0
        self.recent = []
        self.alarms = [*self.alarms, at][-_MAX_ALARMS:]
        return True

    @property
    def baseline_rate(self) -> float:
        """The usual bad rate."""
        rate = (self.bad + _SAFETY_SPREADS * math.sqrt(self.bad + 1)) / max(1.0, self.total)
        return min(_MAX_RATE, max(_MIN_RATE, rate))

    @property
    def is_drifting(self) -> bool:
        """Whether an alarm was raised within the last hundred outcomes."""
        return self.outcomes_since_alarm < _ALARM_DURATION


def log_likelihood_ratio(rate: float, *, bad: bool) -> float:
    """Return the log likelihood of an outcome at a worse rate against that at the given one."""
    odds = _ODDS_RATIO * rate / (1 - rate)
    worse = odds / (1 + odds)
    return math.log(worse / rate) if bad else math.log((1 - worse) / (1 - rate))
