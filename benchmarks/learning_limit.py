"""The risk limit where true rates are known: how often it is wrong, and how soon it is found."""

import random
from bisect import bisect_left
from itertools import accumulate
from statistics import median
from typing import Any

from bighub_langgraph.local import DomainSettings
from bighub_langgraph.local.scoring.features import Action, Evidence, Label
from bighub_langgraph.local.scoring.risk_limit import CUTOFFS, RiskLimit

RUNS, OUTCOMES = 1_000, 1_000
SETTINGS = DomainSettings()
# By cutoff: the share of the calls with a risk up to it and above the one before, and their true
# bad rate. In each some limit is wrong: the calls up to it go wrong at 10 % or more.
WORLDS = {
    "one rate": ((0.2, 0.1), (0.2, 0.1), (0.2, 0.1), (0.2, 0.1), (0.2, 0.1)),
    "only high risks": ((0, 0.1), (0, 0.1), (0, 0.1), (0, 0.1), (1, 0.1)),
    "low risks are right": ((0.2, 0.01), (0.2, 0.02), (0.2, 0.05), (0.2, 0.12), (0.2, 0.3)),
    "low risks are wrong": ((0.5, 0.1), (0.2, 0.1), (0.1, 0.2), (0.1, 0.2), (0.1, 0.3)),
}
RATES = (0.0, 0.02, 0.04, 0.06)


def measure() -> dict[str, Any]:
    """Return the share of runs with a wrong limit at any time, and the outcomes until the first."""
    return {
        "runs": RUNS,
        "outcomes_in_each": OUTCOMES,
        "runs_with_a_wrong_limit": {name: _count_wrong(world) for name, world in WORLDS.items()},
        "wrong_limits_allowed": round(RUNS * (1 - SETTINGS.confidence_level)),
        "median_outcomes_until_a_limit": {str(rate): _find_median(rate) for rate in RATES},
    }


def _count_wrong(world: tuple[tuple[float, float], ...]) -> int:
    shares = list(accumulate(share for share, _ in world))
    rates = accumulate(share * rate for share, rate in world)
    wrong = {
        cutoff
        for cutoff, share, rate in zip(CUTOFFS, shares, rates, strict=True)
        if share and rate >= SETTINGS.max_bad_rate * share - 1e-9
    }
    chance = random.Random(0)  # noqa: S311 - a simulation
    return sum(_has_limit_of(wrong, world, shares, chance) for _ in range(RUNS))


def _has_limit_of(
    wrong: set[float],
    world: tuple[tuple[float, float], ...],
    shares: list[float],
    chance: random.Random,
) -> bool:
    track = RiskLimit()
    for _ in range(OUTCOMES):
        place = bisect_left(shares, chance.random() * shares[-1])
        track.add(_evidence(CUTOFFS[place], world[place][1], chance), SETTINGS)
        if track.limit in wrong:
            return True
    return False


def _find_median(rate: float) -> float:
    """A new action whose risk falls with its own good outcomes."""
    needed = []
    for seed in range(RUNS // 5):
        track, outcomes = RiskLimit(), 0
        chance = random.Random(seed)  # noqa: S311 - a simulation
        while not track.limit:
            track.add(_evidence(track.shrunk_rate(), rate, chance), SETTINGS)
            outcomes += 1
        needed.append(outcomes)
    return median(needed)


def _evidence(risk: float, rate: float, chance: random.Random) -> Evidence:
    label = Label.BAD if chance.random() < rate else Label.GOOD
    return Evidence("", Action("d", "pay", "bot"), 0.0, 0.0, label, risk=risk)
