"""The risk limit: which risks past outcomes allow without approval, and tests for a change."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from bighub_langgraph.local.scoring.features import Evidence, Label
from bighub_langgraph.local.settings import DomainSettings

# The risks that are tried as limits, and the weight of each. They are fixed in advance: a limit
# that is chosen by its outcomes has been lucky. Where nothing goes wrong, the last one is enough.
CUTOFFS = (0.02, 0.05, 0.1, 0.2, 1.0)
_WEIGHTS = (0.05, 0.1, 0.1, 0.2, 0.55)
# The rates that the mixture bets on, as shares of the rate to rule out, and their weights: half
# of it on next to none, so that few outcomes are enough where none is bad.
_BETS = ((0.005, 0.5), (0.05, 0.15), (0.15, 0.1), (0.3, 0.15), (0.5, 0.1))
_MAX_LOG_WEALTH = 700.0  # more is no finite number
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
    decided after `since` count for the limit.

    Attributes:
        all_good: How many of all calls went well, also of those before `since`.
        all_bad: How many of all calls went wrong.
        limit: The highest risk up to which the guarantee holds; 0 without enough outcomes.
    """

    good: list[int] = field(default_factory=lambda: [0] * len(CUTOFFS))
    bad: list[int] = field(default_factory=lambda: [0] * len(CUTOFFS))
    since: float = -math.inf
    limit: float = 0.0
    computed_at: float = 0.0
    all_good: int = 0
    all_bad: int = 0

    def add(self, evidence: Evidence, settings: DomainSettings) -> None:
        """Count an outcome, and remove the one it replaces."""
        for label, change in ((evidence.replaces, -1), (evidence.label, 1)):
            self.all_good = max(0, self.all_good + change * (label is Label.GOOD))
            self.all_bad = max(0, self.all_bad + change * (label is Label.BAD))
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
        """Let no earlier call count for the limit: they say nothing about those from now on."""
        self.good, self.bad = [0] * len(CUTOFFS), [0] * len(CUTOFFS)
        self.since, self.limit, self.computed_at = at, 0.0, 0.0

    def shrunk_rate(self) -> float:
        """The bad rate of all calls, which starts at that of the unknown."""
        return (self.all_bad + _PRIOR_BAD) / (self.all_bad + self.all_good + _PRIOR_CALLS)

    def _compute(self, settings: DomainSettings) -> None:
        self.limit, self.computed_at = 0.0, sum(self.good)
        if settings.max_bad_rate is not None:
            bad = list(accumulate(self.bad))
            total = [b + g for b, g in zip(bad, accumulate(self.good), strict=True)]
            self.limit = find_risk_limit(
                settings.max_bad_rate, bad, total, settings.confidence_level
            )


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
        previous = evidence.replaces
        self.good = max(0, self.good + (evidence.label is Label.GOOD) - (previous is Label.GOOD))
        self.bad = max(0, self.bad + bad - (previous is Label.BAD))
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


def find_risk_limit(
    max_rate: float, bad: Sequence[int], total: Sequence[int], confidence_level: float
) -> float:
    """Return the highest cutoff up to which the bad rate lies below a limit; 0 if there is none.

    `bad` and `total` are, for each cutoff, the numbers of calls with a risk up to it. The
    probability that a wrong cutoff is ever taken is `1 - confidence_level` at most, however often
    this is called. It is a closed test: a cutoff is taken if in every set of cutoffs with it the
    weighted mean of their wealths is at least 1 / error. A mean of wealths is a wealth, so Ville's
    inequality holds for the set of those that are wrong (Vovk and Wang, "E-values: calibration,
    combination and applications", 2021). One set decides: the cutoff with all those whose own
    wealth is too low.
    """
    error = 1 - confidence_level
    surpluses = [
        weight * (error * _estimate_wealth(max_rate, *counts) - 1)
        for weight, *counts in zip(_WEIGHTS, bad, total, strict=True)
    ]
    deficit = sum(max(0.0, -surplus) for surplus in surpluses)
    return max(
        (
            cutoff
            for cutoff, surplus, wrong, calls in zip(CUTOFFS, surpluses, bad, total, strict=True)
            if surplus >= deficit and wrong <= max_rate * calls
        ),
        default=0.0,
    )


def _estimate_wealth(limit: float, bad: int, total: int) -> float:
    """The wealth of a gambler who bets, in a mixture of bets, that the bad rate is below a limit.

    If it is not, the wealth ever exceeds 1 / error with probability `error` at most (Ville's
    inequality).
    """
    logs = [
        math.log(weight)
        + bad * math.log(bet)
        + (total - bad) * math.log((1 - bet * limit) / (1 - limit))
        for bet, weight in _BETS
    ]
    highest = max(logs)
    log_wealth = highest + math.log(sum([math.exp(log - highest) for log in logs]))
    return math.exp(min(_MAX_LOG_WEALTH, log_wealth))


def estimate_outcomes_needed(limit: float, confidence_level: float) -> int:
    """Return how many outcomes without a bad one let a new action run without approval.

    Its risk is taken to fall as the rate of a track does that starts with it.
    """

    def suffice(outcomes: int) -> bool:
        higher = [math.ceil(_PRIOR_BAD / cutoff - _PRIOR_CALLS) for cutoff in CUTOFFS]
        total = [outcomes - max(0, min(outcomes, count)) for count in higher]
        return find_risk_limit(limit, [0] * len(CUTOFFS), total, confidence_level) > 0

    return bisect_left(range(_MAX_OUTCOMES), x=True, key=suffice)
