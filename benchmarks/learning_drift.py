"""Drift: how soon a rise from 5 to 20 % is noticed, and how often nothing is taken for one."""

import random
from dataclasses import dataclass
from typing import Any

from bighub_langgraph.local import LocalBighub

STABLE, RUNS, LATEST = 1_000, 50, 200


def measure() -> dict[str, Any]:
    noticed: list[int | None] = []
    false_alarms = 0
    for seed in range(RUNS):
        alarms, after = _run(random.Random(seed))  # noqa: S311 - a simulation
        false_alarms += alarms
        noticed.append(after)
    delays = sorted(after for after in noticed if after is not None)
    return {
        "runs": RUNS,
        "false_alarms_in_stable": false_alarms,
        "noticed_within_200": len(delays),
        "median_outcomes_until_noticed": delays[len(delays) // 2] if delays else None,
    }


@dataclass
class _Stream:
    bighub: LocalBighub
    chance: random.Random

    def step(self, rate: float) -> bool:
        """One decision and its outcome; whether drift is reported after it."""
        reply = self.bighub.actions.evaluate(
            action="pay", value=self.chance.uniform(5, 50), domain="shop"
        )
        status = "FRAUD" if self.chance.random() < rate else "SUCCESS"
        self.bighub.outcomes.report(request_id=reply["request_id"], status=status)
        return bool(self.bighub.calibration.drift()["drift_detected"])


def _run(chance: random.Random) -> tuple[int, int | None]:
    with LocalBighub() as bighub:
        stream = _Stream(bighub, chance)
        alarmed = any(stream.step(0.05) for _ in range(STABLE))
        after = next((number for number in range(1, LATEST + 1) if stream.step(0.20)), None)
    return int(alarmed), after
