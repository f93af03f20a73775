"""Probabilities and their log odds."""

import math

_LEAST = 1e-6


def logit(share: float) -> float:
    """Log odds, kept finite."""
    kept = min(1 - _LEAST, max(_LEAST, share))
    return math.log(kept / (1 - kept))


def expit(log_odds: float) -> float:
    """The probability of log odds."""
    return 1 / (1 + math.exp(-min(30.0, max(-30.0, log_odds))))
