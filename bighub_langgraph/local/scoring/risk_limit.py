"""The risk limit of a domain: confidence bounds on bad rates, the limit from them, and drift."""

import math
from bisect import bisect_left
from dataclasses import dataclass, field

from bighub_langgraph.local.scoring.estimators import expit, logit
from bighub_langgraph.local.scoring.features import Evidence, Label
from bighub_langgraph.local.settings import DomainSettings

# Few bins of equal width in log odds: each limit that is tried is another chance to be lucky.
_LOWEST, _HIGHEST, _WIDTH = -5.0, 2.0, 0.5
_BINS = int((_HIGHEST - _LOWEST) / _WIDTH)
_FADING_STEPS = 64
_MAX_STEPS = 60
_TOLERANCE = 1e-7  # the step after it would be about its square
_MAX_OUTCOMES = 10**9
_ODDS_RATIO = 2.5  # the rise in the odds of a bad outcome that drift detection looks for
_ALARM_THRESHOLD = 7.5
_SAFETY_SPREADS = 1.6  # standard deviations added to the estimated baseline
_MIN_RATE, _MAX_RATE = 0.01, 0.99
_BASELINE_LAG = 200  # outcomes after a drift must not enter the baseline before it is detected
_MIN_BASELINE = 40
_ALARM_DURATION = 100
_MAX_ALARMS = 20


@dataclass(slots=True)
class RiskLimit:
    """A domain's outcomes by the risk they had when they were decided, and the limit from them.

    A person's denial counts as bad. An approval does not count until its outcome is known.

    Attributes:
        limit: The highest risk up to which the guarantee holds; 0 without enough outcomes.
    """

    good: list[float] = field(default_factory=lambda: [0.0] * _BINS)
    bad: list[float] = field(default_factory=lambda: [0.0] * _BINS)
    faded_at: float = 0.0
    limit: float = 0.0

    def add(self, evidence: Evidence, settings: DomainSettings) -> None:
        """Count a label, and remove the one it replaces."""
        elapsed = evidence.at - self.faded_at
        if elapsed > settings.half_life / _FADING_STEPS:
            self._fade(0.5 ** (elapsed / settings.half_life) if self.faded_at else 1.0)
            self.faded_at = evidence.at
        index = min(_BINS - 1, max(0, int((logit(evidence.risk) - _LOWEST) / _WIDTH)))
        for label, change in ((evidence.replaces, -1.0), (evidence.label, 1.0)):
            if label not in (None, Label.APPROVED):
                counts = self.bad if label.bad else self.good
                counts[index] = max(0.0, counts[index] + change)
        self._update_limit(settings)

    def discount(self, settings: DomainSettings) -> None:
        """Reduce the weight of earlier outcomes to a quarter, because the bad rate has changed."""
        self._fade(0.25)
        self._update_limit(settings)

    def _fade(self, share: float) -> None:
        self.good = [count * share for count in self.good]
        self.bad = [count * share for count in self.bad]

    def _update_limit(self, settings: DomainSettings) -> None:
        if (max_rate := settings.max_bad_rate) is None:
            return
        level, bad, total, tries, highest = settings.confidence_level, 0.0, 0.0, 1, -1
        for index, (bin_bad, bin_good) in enumerate(zip(self.bad, self.good, strict=True)):
            bad, total = bad + bin_bad, total + (bin_bad + bin_good)
            if bin_bad + bin_good and is_rate_below(max_rate, 0.0, total, level, tries=tries):
                if is_rate_below(max_rate, bad, total, level, tries=tries):
                    highest = index
                tries += 1  # with too few outcomes, whatever they were, it is not a try
        self.limit = expit(_LOWEST + (highest + 1) * _WIDTH) if highest >= 0 else 0.0


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
        odds = _ODDS_RATIO * rate / (1 - rate)
        worse = odds / (1 + odds)
        ratio = worse / rate if bad else (1 - worse) / (1 - rate)
        self.statistic = max(0.0, self.statistic + math.log(ratio))
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


def upper_bound(bad: float, total: float, confidence_level: float) -> float:
    """Return the highest bad rate that is compatible with the counts.

    It solves `total * KL(bad / total || rate) = ln(1 / (1 - confidence_level))`, Chernoff's bound.
    Without a bad case it equals Clopper and Pearson's limit; otherwise it is a little wider.
    """
    if total <= 0:
        return 1.0
    rate = min(1.0, bad / total)
    surprise = -math.log(1 - confidence_level) / total
    if rate in (0.0, 1.0):
        return 1.0 if rate else -math.expm1(-surprise)
    # Newton's method on log(1 - bound), from a start that is surely above and stays above.
    entropy = rate * math.log(rate) + (1 - rate) * math.log(1 - rate)
    log_good = (entropy - surprise) / (1 - rate)
    for _ in range(_MAX_STEPS):
        good = math.exp(log_good)
        excess = entropy - rate * math.log1p(-good) - (1 - rate) * log_good - surprise
        step = excess / (1 - rate - rate * good / (1 - good))
        log_good += step
        if step < _TOLERANCE:
            break
    return max(rate, -math.expm1(log_good))


def lower_bound(bad: float, total: float, confidence_level: float) -> float:
    """Return the lowest bad rate that is compatible with the counts."""
    return 1 - upper_bound(total - bad, total, confidence_level) if total > 0 else 0.0


def is_rate_below(
    limit: float, bad: float, total: float, confidence_level: float, *, tries: int = 1
) -> bool:
    """Whether the bad rate lies at or below a limit, however often this is checked.

    A bound for a single check holds by chance sooner or later when it is checked after every
    outcome and for many subsets. Therefore the error probability is divided among `tries` subsets,
    and among the checks as in the law of the iterated logarithm (Jamieson et al., 2014), in units
    of the bad outcomes that the limit allows.
    """
    if total <= 0 or bad > limit * total:
        return False
    rate = bad / total
    # The Kullback-Leibler divergence between two Bernoulli distributions.
    divergence = rate * math.log(rate / limit) if rate else 0.0
    divergence += (1 - rate) * math.log((1 - rate) / (1 - limit))
    required = math.log(tries / (1 - confidence_level))
    return total * divergence >= required + 2 * math.log1p(math.log1p(limit * total))


def estimate_outcomes_needed(limit: float, confidence_level: float) -> int:
    """Return how many outcomes without a bad one show that a rate is below a limit."""

    def suffice(total: int) -> bool:
        return is_rate_below(limit, 0.0, total, confidence_level)

    return bisect_left(range(_MAX_OUTCOMES), x=True, key=suffice)
