"""How long a decision takes, and whether that grows with what is stored.

Both the wall time and the time of the thread are measured: on a busy machine only the second
says something about the engine.
"""

from collections.abc import Sequence
from statistics import median
from typing import Any

from engine_load import fill_store, time_decisions

from bighub_langgraph.local import LocalBighub

SIZES = (10_000, 100_000)
TIMES = 2_000


def measure(sizes: Sequence[int] = SIZES) -> dict[str, Any]:
    """Fill a store in memory to each size, and time decisions there."""
    figures: dict[str, Any] = {}
    with LocalBighub() as bighub:
        for size in sizes:
            fill_store(bighub, size)
            walls, owns = time_decisions(bighub, TIMES)
            figures[str(size)] = {
                "p50_ms": round(median(walls), 4),
                "p50_thread_ms": round(median(owns), 4),
            }
    first, last = (figures[str(size)]["p50_thread_ms"] for size in (sizes[0], sizes[-1]))
    return {**figures, "ratio": round(last / first, 3)}
