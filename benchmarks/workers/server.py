"""Decisions per second of `bighub-langgraph serve` on many connections, and of the engine alone."""

from pathlib import Path
from time import thread_time
from typing import Any
from urllib.parse import urlsplit

from benchmarks.engine_load import time_decisions
from benchmarks.server_load import Address, run_server, send_load
from benchmarks.workers.profiler import profile_threads, summarize_times
from benchmarks.workers.stopwatch import measure_or_profile
from bighub_langgraph.local import Engine, LocalBighub
from bighub_langgraph.local.api_keys import create_key

WARMUP_SECONDS = 1.0
DECISIONS = 1_000


def measure(home: Path, connections: int, seconds: float) -> dict[str, list[float]]:
    """Latencies and decisions per second, of the server and in this process, each on a file."""
    with run_server(home / "served.db", keys=connections) as address:
        send_load(address, seconds=WARMUP_SECONDS, connections=connections)
        result = send_load(address, seconds=seconds, connections=connections)
    if result.errors:
        raise RuntimeError(f"{result.errors} of {len(result.latencies)} requests failed")
    with LocalBighub(f"sqlite:///{home / 'alone.db'}") as bighub:
        time_decisions(bighub, DECISIONS // 10)
        alone = time_decisions(bighub, DECISIONS)[0]
    return {
        "served": result.latencies,
        "served per second": [result.rate],
        "alone": alone,
        "alone per second": [1e3 * len(alone) / sum(alone)],
    }


def profile_server(home: Path, connections: int, seconds: float) -> dict[str, Any]:
    """A profile of a server in this process, without the thread that sends the load."""
    from bighub_langgraph.local.server import create_app
    from bighub_langgraph.local.server.connections import serve_in_background

    with Engine(f"sqlite:///{home / 'served.db'}") as engine:
        keys = [create_key(engine, label=f"load {n}")["key"] for n in range(connections)]
        with (
            profile_threads(current=False, clock=thread_time) as profiles,
            serve_in_background(create_app(engine), access_log=False) as url,
        ):
            address = Address("127.0.0.1", urlsplit(url).port or 0, keys)
            result = send_load(address, seconds=seconds, connections=connections)
    return summarize_times(profiles, runs=len(result.latencies))


if __name__ == "__main__":
    measure_or_profile(measure, profile_server)
