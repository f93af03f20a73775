"""How bad a rate may still be, given what was counted."""

import math


def upper_bound(bad: float, total: float, assurance: float) -> float:
    """The highest bad rate that the counts leave likely.

    It solves `total * KL(bad / total || rate) = ln(1 / (1 - assurance))`, Chernoff's bound. Without
    a bad case it equals Clopper and Pearson's limit; otherwise it is a little wider.
    """
    if total <= 0:
        return 1.0
    seen = min(1.0, bad / total)
    room = -math.log(1 - assurance) / total
    low, high = seen, 1.0
    for _ in range(32):
        middle = (low + high) / 2
        if divergence(seen, middle) > room:
            high = middle
        else:
            low = middle
    return high


def stays_below(limit: float, bad: float, total: float, assurance: float) -> bool:
    """Whether the upper bound lies at or below a limit, without solving for it."""
    if total <= 0 or bad > limit * total:
        return False
    return total * divergence(bad / total, limit) >= -math.log(1 - assurance)


def lower_bound(bad: float, total: float, assurance: float) -> float:
    """The lowest bad rate that the counts leave likely."""
    return 1 - upper_bound(total - bad, total, assurance) if total > 0 else 0.0


def divergence(seen: float, rate: float) -> float:
    """The Kullback-Leibler divergence between two coins."""
    if not 0 < rate < 1:
        return 0.0 if seen == rate else math.inf
    surprise = 0.0
    if seen > 0:
        surprise += seen * math.log(seen / rate)
    if seen < 1:
        surprise += (1 - seen) * math.log((1 - seen) / (1 - rate))
    return surprise
