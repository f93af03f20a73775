"""Scores of predictions: cost, log loss, calibration error, AUC."""

from collections.abc import Sequence

import numpy as np

REVIEW_COST, BAD_COST = 0.2, 1.0


def cost(ran: Sequence[bool], bad: Sequence[bool]) -> float:
    """The mean cost: running a bad action costs 1, asking 0.2."""
    paid = [BAD_COST * wrong if went else REVIEW_COST for went, wrong in zip(ran, bad, strict=True)]
    return float(np.mean(paid))


def log_loss(risks: Sequence[float], bad: Sequence[bool]) -> float:
    chance = np.clip(np.array(risks), 1e-6, 1 - 1e-6)
    wrong = np.array(bad, float)
    return float(-(wrong * np.log(chance) + (1 - wrong) * np.log(1 - chance)).mean())


def calibration_error(risks: Sequence[float], bad: Sequence[bool], bins: int = 10) -> float:
    chance, wrong = np.array(risks), np.array(bad, float)
    where = np.minimum((chance * bins).astype(int), bins - 1)
    gaps = [
        abs(chance[where == each].mean() - wrong[where == each].mean()) * (where == each).mean()
        for each in range(bins)
        if (where == each).any()
    ]
    return float(sum(gaps))


def auc(risks: Sequence[float], bad: Sequence[bool]) -> float:
    """The chance that a bad action got a higher risk than a good one; ties count half."""
    chance, wrong = np.array(risks), np.array(bad, bool)
    ups = chance[wrong][:, None] - chance[~wrong][None, :]
    return float((ups > 0).mean() + 0.5 * (ups == 0).mean())
