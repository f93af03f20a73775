"""Decisions a second of `bighub-langgraph serve` over many connections, and of the engine alone."""

import socket
import tempfile
from pathlib import Path
from threading import Thread
from time import thread_time
from typing import Any

from benchmarks.engine_load import decide
from benchmarks.server_load import Address, load, serving
from benchmarks.workers.profiler import profile, summary
from benchmarks.workers.stopwatch import asked, tell
from bighub_langgraph.local import Engine, LocalBighub
from bighub_langgraph.local.keys import create_key

WARM = 1.0
ALONE = 1_000


def measure(home: Path, connections: int, seconds: float) -> dict[str, list[float]]:
    """Latencies and decisions a second, of the server and in this process, each on a file."""
    with serving(home / "served.db", keys=connections) as address:
        load(address, seconds=WARM, connections=connections)
        came = load(address, seconds=seconds, connections=connections)
    if came.refused:
        raise RuntimeError(f"the server refused {came.refused} of {len(came.latencies)}")
    with LocalBighub(f"sqlite:///{home / 'alone.db'}") as bighub:
        decide(bighub, ALONE // 10)
        alone = decide(bighub, ALONE)[0]
    return {
        "served": came.latencies,
        "served a second": [came.a_second],
        "alone": alone,
        "alone a second": [1e3 * len(alone) / sum(alone)],
    }


def profiled(home: Path, connections: int, seconds: float) -> dict[str, Any]:
    """A decision of a server in this process; the thread that loads it is not counted."""
    import uvicorn

    from bighub_langgraph.local.server import create_app

    with Engine(f"sqlite:///{home / 'served.db'}") as engine:
        keys = [create_key(engine, label=f"load {n}")["key"] for n in range(connections)]
        server = uvicorn.Server(
            uvicorn.Config(create_app(engine), log_level="warning", access_log=False)
        )
        listening = socket.create_server(("127.0.0.1", 0))
        address = Address("127.0.0.1", listening.getsockname()[1], keys)
        with profile(here=False, clock=thread_time) as seen:
            serving = Thread(target=server.run, args=([listening],))
            serving.start()
            came = load(address, seconds=seconds, connections=connections)
            server.should_exit = True
            serving.join()
    return summary(seen, runs=len(came.latencies))


def main(options: dict[str, Any]) -> None:
    series = options.pop("profile", None)
    with tempfile.TemporaryDirectory() as home:
        if series is None:
            tell(samples=measure(Path(home), **options))
        else:
            tell(profiles={series: profiled(Path(home), **options)})


if __name__ == "__main__":
    main(asked())
