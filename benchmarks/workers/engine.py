"""Decisions of the embedded engine on a file, with little history and with much, turn by turn.

Each history is filled by a process of its own, so that this one's memory tells what an engine holds
and not what filling took.
"""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks.engine_load import bare_commit, database_mb, decide, fill, memory_mb
from benchmarks.workers.profiler import profile, summary
from benchmarks.workers.stopwatch import asked, say, tell
from bighub_langgraph.local import LocalBighub

EACH = 50
OFTEN = 10.0  # seconds between lines of progress


def measure(cases: dict[str, int], turns: int) -> dict[str, Any]:
    """The samples of every history in `cases`, a bare commit beside them, and sizes in MB."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        held, stores = [memory_mb()], {}
        for name, size in cases.items():
            url = f"sqlite:///{home / name}.db"
            _filled(url, size)
            stores[name] = stack.enter_context(LocalBighub(url))
            decide(stores[name], EACH)
            held.append(memory_mb())
        samples: dict[str, list[float]] = {name: [] for name in (*cases, "bare")}
        for _ in range(turns):
            for name, bighub in stores.items():
                samples[name] += decide(bighub, EACH)[0]
            samples["bare"] += bare_commit(home / "bare.db", EACH)
        grown = dict(zip(cases, pairwise(held), strict=True))
        for name, (before, after) in grown.items():
            samples[f"{name} memory"] = [after - before]
            samples[f"{name} file"] = [database_mb(stores[name])]
        return {"samples": samples, "profiles": {name: _profiled(stores[name]) for name in cases}}


def _filled(url: str, cases: int) -> None:
    filling = get_context("spawn").Process(target=_fill, args=(url, cases))
    filling.start()
    filling.join()
    if filling.exitcode:
        raise RuntimeError(f"filling a store ended with {filling.exitcode}")


def _fill(url: str, cases: int) -> None:
    with LocalBighub(url) as bighub:
        fill(bighub, cases, _progress(cases))


def _progress(cases: int) -> Callable[[int], None]:
    """Tell how far it is, every few seconds."""
    told = monotonic()

    def tell_now(stored: int) -> None:
        nonlocal told
        if monotonic() - told > OFTEN or stored >= cases:
            told = monotonic()
            say(f"{stored:,} of {cases:,} cases")

    return tell_now


def _profiled(bighub: LocalBighub) -> dict[str, Any]:
    with profile() as seen:
        decide(bighub, EACH)
    return summary(seen, runs=EACH)


if __name__ == "__main__":
    tell(**measure(**asked()))
