"""How long a decision and a report take in memory, and whether that grows with what is stored.

Both the wall time and the time of the thread are measured: on a busy machine only the second
says something about the engine.
"""

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from time import perf_counter, thread_time
from typing import Any

from engine_load import BAD_RATE, build_action, fill_store

from bighub_langgraph.local import LocalBighub

SIZES = (10_000, 100_000)
TIMES = 2_000


def measure(sizes: Sequence[int] = SIZES) -> dict[str, Any]:
    """Fill a store in memory to each size, and time decisions and reports there, in turn."""
    figures: dict[str, Any] = {}
    with LocalBighub() as bighub:
        for size in sizes:
            fill_store(bighub, size)
            figures[str(size)] = _time_calls(bighub, size)
    first, last = (figures[str(size)]["decision_p50_thread_ms"] for size in (sizes[0], sizes[-1]))
    return {**figures, "ratio": round(last / first, 3)}


def _time_calls(bighub: LocalBighub, first: int) -> dict[str, float]:
    samples: dict[str, list[float]] = {}

    def time(name: str, call: Callable[[], Any]) -> Any:
        wall, thread = perf_counter(), thread_time()
        reply = call()
        samples.setdefault(f"{name}_p50_thread_ms", []).append(thread_time() - thread)
        samples.setdefault(f"{name}_p50_ms", []).append(perf_counter() - wall)
        return reply

    for number in range(TIMES):
        action = build_action(10**9 + first + number)
        reply = time("decision", partial(bighub.actions.evaluate, **action))
        status = "FRAUD" if number % (1 / BAD_RATE) < 1 else "SUCCESS"
        report = {"request_id": reply["request_id"], "status": status}
        time("report", partial(bighub.outcomes.report, **report))
    return {name: round(median(times) * 1e3, 4) for name, times in samples.items()}
