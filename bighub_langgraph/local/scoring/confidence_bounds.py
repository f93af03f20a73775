"""Confidence bounds on a bad rate, given counts of outcomes."""

import math

_MAX_STEPS = 60
_FIXED_POINT_STEPS = 8
_TOLERANCE = 1e-7  # the step after it would be about its square


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
    required = _required_surprise(limit, total, confidence_level, tries)
    return total * _kl_divergence(bad / total, limit) >= required


def estimate_outcomes_needed(limit: float, confidence_level: float) -> int:
    """Return about how many outcomes without a bad one show that a rate is below a limit."""
    total = 0.0
    for _ in range(_FIXED_POINT_STEPS):
        total = _required_surprise(limit, total, confidence_level, 1) / -math.log1p(-limit)
    return math.ceil(total)


def _required_surprise(limit: float, total: float, confidence_level: float, tries: int) -> float:
    checks = 2 * math.log1p(math.log1p(limit * total))
    return math.log(tries / (1 - confidence_level)) + checks


def _kl_divergence(observed: float, rate: float) -> float:
    """The Kullback-Leibler divergence between two Bernoulli distributions."""
    divergence = 0.0
    if observed > 0:
        divergence += observed * math.log(observed / rate)
    if observed < 1:
        divergence += (1 - observed) * math.log((1 - observed) / (1 - rate))
    return divergence
