"""How bad a rate may still be, given what was counted."""

import math

_MOST_STEPS = 60
_CLOSE_ENOUGH = 1e-7  # the step after it would be about its square


def upper_bound(bad: float, total: float, assurance: float) -> float:
    """The highest bad rate that the counts leave likely.

    It solves `total * KL(bad / total || rate) = ln(1 / (1 - assurance))`, Chernoff's bound. Without
    a bad case it equals Clopper and Pearson's limit; otherwise it is a little wider.
    """
    if total <= 0:
        return 1.0
    seen = min(1.0, bad / total)
    room = -math.log(1 - assurance) / total
    if seen in (0.0, 1.0):
        return 1.0 if seen else -math.expm1(-room)
    # Newton on the logarithm of 1 - rate, from a rate that is surely above: it stays above.
    known = seen * math.log(seen) + (1 - seen) * math.log(1 - seen)
    rest = (known - room) / (1 - seen)
    for _ in range(_MOST_STEPS):
        good = math.exp(rest)
        excess = known - seen * math.log1p(-good) - (1 - seen) * rest - room
        step = excess / (1 - seen - seen * good / (1 - good))
        rest += step
        if step < _CLOSE_ENOUGH:
            break
    return max(seen, -math.expm1(rest))


def stays_below(
    limit: float, bad: float, total: float, assurance: float, *, tries: int = 1
) -> bool:
    """Whether the bad rate lies at or below a limit, however often one looks.

    A bound for one look is lucky sooner or later when it is asked after every outcome, and of many
    subsets. Here the chance to be wrong is shared out over `tries` subsets, and over the looks as
    in the law of the iterated logarithm (Jamieson et al., 2014), in units of the outcomes that
    the limit would let go wrong.
    """
    if total <= 0 or bad > limit * total:
        return False
    looks = 2 * math.log1p(math.log1p(limit * total))
    return total * divergence(bad / total, limit) >= math.log(tries / (1 - assurance)) + looks


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
