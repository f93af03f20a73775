"""The risk limit: which risks past outcomes allow without approval, and tests for a change."""

import math
from bisect import bisect_left
from dataclasses import dataclass, field

from bighub_langgraph.local.scoring.features import Evidence, Label
from bighub_langgraph.local.settings import DomainSettings

# The risks that are tried as limits, and which part of the error each may use. They are fixed in
# advance: a limit that is chosen by its outcomes has been lucky.
CUTOFFS = (0.02, 0.05, 0.1, 0.2, 1.0)
_SHARES = (0.1, 0.1, 0.1, 0.2, 0.5)
# The rates that the mixture bets on, as shares of the rate to rule out, and their weights.
_BETS = ((0.005, 0.35), (0.05, 0.15), (0.15, 0.15), (0.3, 0.2), (0.5, 0.15))
_GROWTH = 1.01  # good outcomes after which the limit is computed again
_MAX_OUTCOMES = 10**6
_PRIOR_BAD, _PRIOR_CALLS = 0.6, 2.0  # of a track without outcomes
_ODDS_RATIO = 2.5  # the rise in the odds of a bad outcome that drift detection looks for
_ALARM_THRESHOLD = 7.5
_SAFETY_SPREADS = 1.6  # standard deviations added to the estimated baseline
_MIN_RATE, _MAX_RATE = 0.01, 0.99
_BASELINE_LAG = 200  # outcomes after a drift must not enter the baseline before it is detected
_MIN_BASELINE = 40
_ALARM_DURATION = 100
_MAX_ALARMS = 20
_AUTOMATIC_ODDS_RATIO, _AUTOMATIC_THRESHOLD = 4.0, 4.0
_MAX_DOUBLINGS = 10


@dataclass(slots=True)
class RiskLimit:
    """The outcomes of calls of one kind by the risk they were decided with, and the limit so far.

    The counts are whole numbers, so that a correction swaps a label exactly. Only calls that were
    decided after `since` count.

    Attributes:
        limit: The highest risk up to which the guarantee holds; 0 without enough outcomes.
    """

    good: list[int] = field(default_factory=lambda: [0] * len(CUTOFFS))
    bad: list[int] = field(default_factory=lambda: [0] * len(CUTOFFS))
    since: float = -math.inf
    limit: float = 0.0
    computed_at: float = 0.0

    def add(self, evidence: Evidence, settings: DomainSettings) -> None:
        """Count an outcome, and remove the one it replaces."""
        if evidence.decided_at < self.since:
            return
        index = min(len(CUTOFFS) - 1, bisect_left(CUTOFFS, evidence.risk))
        for label, change in ((evidence.replaces, -1), (evidence.label, 1)):
            if label is not None and label.outcome:
                counts = self.bad if label.bad else self.good
                counts[index] = max(0, counts[index] + change)
        if evidence.label is not Label.GOOD or sum(self.good) >= self.computed_at * _GROWTH:
            self._compute(settings)

    def restart(self, at: float) -> None:
        """Drop all counts: earlier calls say nothing about those from now on."""
        self.good, self.bad = [0] * len(CUTOFFS), [0] * len(CUTOFFS)
        self.since, self.limit, self.computed_at = at, 0.0, 0.0

    def shrunk_rate(self) -> float:
        """The bad rate, which starts at that of the unknown."""
        bad = sum(self.bad)
        return (bad + _PRIOR_BAD) / (bad + sum(self.good) + _PRIOR_CALLS)

    def _compute(self, settings: DomainSettings) -> None:
        self.limit, self.computed_at = 0.0, sum(self.good)
        if (max_rate := settings.max_bad_rate) is None:
            return
        bad = total = 0
        for cutoff, share, more_bad, more_good in zip(
            CUTOFFS, _SHARES, self.bad, self.good, strict=True
        ):
            bad, total = bad + more_bad, total + more_bad + more_good
            if is_rate_below(max_rate, bad, total, settings.confidence_level, share=share):
                self.limit = cutoff


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
        rate = (self.bad + _SAFETY_SPREADS * math.sqrt(self.bad + 1)) / self.total
        rate = min(_MAX_RATE, max(_MIN_RATE, rate))
        self.statistic = max(0.0, self.statistic + _log_ratio(rate, _ODDS_RATIO, bad=bad))
        if self.statistic < _ALARM_THRESHOLD:
            return False
        self.statistic, self.outcomes_since_alarm = 0.0, 0
        self.bad, self.total, self.recent = 0.0, 0.0, []
        self.alarms = [*self.alarms, at][-_MAX_ALARMS:]
        return True

    @property
    def is_drifting(self) -> bool:
        """Whether an alarm was raised within the last hundred outcomes."""
        return self.outcomes_since_alarm < _ALARM_DURATION


@dataclass(slots=True)
class AutomationMonitor:
    """Page's test on the calls that ran without approval: it pauses them when too many go wrong.

    Calls that a person has approved say little about calls that nobody sees. Each further pause is
    twice as long, until a hundred such calls have gone by without one.
    """

    good: int = 0
    bad: int = 0
    statistic: float = 0.0
    pauses: int = 0
    paused_until: float = -math.inf
    outcomes_since_pause: int = 0

    def add(self, evidence: Evidence, settings: DomainSettings) -> None:
        """Count the outcome of a call that ran without approval, or correct it."""
        bad = evidence.label.bad
        replaced = evidence.replaces
        self.good += (evidence.label is Label.GOOD) - (replaced is Label.GOOD)
        self.bad += bad - (replaced is Label.BAD)
        if settings.max_bad_rate is None or not evidence.is_news:
            return
        if evidence.decided_at < self.paused_until:
            return  # it ran before the pause and is no reason for another
        self.outcomes_since_pause += 1
        if self.outcomes_since_pause > _ALARM_DURATION:
            self.pauses = 0
        change = _log_ratio(settings.max_bad_rate, _AUTOMATIC_ODDS_RATIO, bad=bad)
        self.statistic = max(0.0, self.statistic + change)
        if self.statistic >= _AUTOMATIC_THRESHOLD:
            # After a pause one bad outcome is enough for the next, until several were good.
            self.statistic, self.outcomes_since_pause = _AUTOMATIC_THRESHOLD - 1, 0
            pause = settings.reevaluate_after * 2 ** min(self.pauses, _MAX_DOUBLINGS)
            self.paused_until, self.pauses = evidence.at + pause, self.pauses + 1


def _log_ratio(rate: float, odds_ratio: float, *, bad: bool) -> float:
    """The log likelihood ratio of an outcome: with the odds times a factor, and as they are."""
    odds = odds_ratio * rate / (1 - rate)
    worse = odds / (1 + odds)
    return math.log(worse / rate if bad else (1 - worse) / (1 - rate))


def estimate_interval(bad: int, total: int, spreads: float) -> tuple[float, float]:
    """Return the bad rates within some standard deviations of the counts (Wilson's interval)."""
    if not total:
        return 0.0, 1.0
    square = spreads * spreads
    center = (bad + square / 2) / (total + square)
    half = spreads * math.sqrt(bad * (total - bad) / total + square / 4) / (total + square)
    return center - half, center + half


def is_rate_below(
    limit: float, bad: int, total: int, confidence_level: float, *, share: float = 1.0
) -> bool:
    """Whether the bad rate lies below a limit, however often this is checked.

    The wealth of a gambler who bets that the rate is lower than the limit, in a mixture of bets: if
    the rate is at the limit or above, the wealth ever exceeds 1 / error with probability error at
    most (Ville's inequality). `share` is the part of the error that this limit may use.
    """
    if bad > limit * total:
        return False
    logs = [
        math.log(weight)
        + bad * math.log(bet)
        + (total - bad) * math.log((1 - bet * limit) / (1 - limit))
        for bet, weight in _BETS
    ]
    highest = max(logs)
    wealth = highest + math.log(sum([math.exp(log - highest) for log in logs]))
    return wealth >= -math.log((1 - confidence_level) * share)


def estimate_outcomes_needed(limit: float, confidence_level: float) -> int:
    """Return how many outcomes without a bad one show that a rate is below a limit."""

    def suffice(total: int) -> bool:
        return is_rate_below(limit, 0, total, confidence_level, share=_SHARES[-1])

    return bisect_left(range(_MAX_OUTCOMES), x=True, key=suffice)
