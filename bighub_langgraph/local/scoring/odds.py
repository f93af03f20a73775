"""Probabilities and their log odds."""

import math

_LEAST = 1e-6


def logit(share: float) -> float:
    """Log odds, kept finite."""
    if share < _LEAST:
        share = _LEAST
    elif share > 1 - _LEAST:
        share = 1 - _LEAST
    return math.log(share / (1 - share))


def expit(log_odds: float) -> float:
    """The probability of log odds."""
    return 1 / (1 + math.exp(-min(30.0, max(-30.0, log_odds))))
