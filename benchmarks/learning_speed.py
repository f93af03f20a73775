"""How long a decision takes, and whether that grows with what is stored.

Both the clock on the wall and the time of the thread are told: on a busy machine only the second
says something about the engine.
"""

import random
from collections.abc import Sequence
from statistics import median
from time import perf_counter, thread_time
from typing import Any

from bighub_langgraph.local import LocalBighub

SIZES = (10_000, 100_000)
BAD_RATE = 0.05


def measure(sizes: Sequence[int] = SIZES) -> dict[str, Any]:
    """Fill a store in memory to each size, and time decisions there."""
    figures: dict[str, Any] = {}
    with LocalBighub() as bighub:
        chance = random.Random(0)  # noqa: S311 - a simulation
        stored = 0
        for size in sizes:
            while stored < size:
                _live(bighub, stored, chance)
                stored += 1
            spans = [_decide(bighub, 10**9 + stored + number) for number in range(2_000)]
            figures[str(size)] = {
                "p50_ms": round(median(wall for wall, _ in spans) * 1e3, 4),
                "p50_thread_ms": round(median(own for _, own in spans) * 1e3, 4),
            }
    first, last = (figures[str(size)]["p50_thread_ms"] for size in (sizes[0], sizes[-1]))
    return {**figures, "ratio": round(last / first, 3)}


def _live(bighub: LocalBighub, number: int, chance: random.Random) -> None:
    reply = _evaluate(bighub, number)
    status = "FRAUD" if chance.random() < BAD_RATE else "SUCCESS"
    bighub.outcomes.report(request_id=reply["request_id"], status=status)


def _decide(bighub: LocalBighub, number: int) -> tuple[float, float]:
    wall, own = perf_counter(), thread_time()
    _evaluate(bighub, number)
    return perf_counter() - wall, thread_time() - own


def _evaluate(bighub: LocalBighub, number: int) -> Any:
    return bighub.actions.evaluate(
        action=f"refund{number % 20}",
        value=float(number % 97),
        target=f"order-{number}",
        domain="shop",
        context={
            "session_id": f"s{number // 10}",
            "arguments": {"amount": number % 97, "why": "x"},
        },
        idempotency_key=f"k{number}",
    )
