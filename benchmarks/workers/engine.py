"""Decisions of the embedded engine on a file, alternately after a short and after a long history.

A separate process fills each history, so that the memory of this process is that of the engines
alone.
"""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks.engine_load import (
    database_mb,
    fill_store,
    memory_mb,
    time_bare_commits,
    time_decisions,
)
from benchmarks.workers.profiler import profile_threads, summarize_times
from benchmarks.workers.stopwatch import print_result, read_options, report_progress
from bighub_langgraph.local import LocalBighub

DECISIONS_PER_TURN = 50
PROGRESS_INTERVAL = 10.0  # seconds


def measure(cases: dict[str, int], turns: int) -> dict[str, Any]:
    """Samples of every history in `cases` and of bare commits, sizes in megabytes, and profiles."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        memory, engines = [memory_mb()], {}
        for name, size in cases.items():
            url = f"sqlite:///{home / name}.db"
            _fill_in_process(url, size)
            engines[name] = stack.enter_context(LocalBighub(url))
            time_decisions(engines[name], DECISIONS_PER_TURN)
            memory.append(memory_mb())
        samples: dict[str, list[float]] = {name: [] for name in (*cases, "bare")}
        for _ in range(turns):
            for name, bighub in engines.items():
                samples[name] += time_decisions(bighub, DECISIONS_PER_TURN)[0]
            samples["bare"] += time_bare_commits(home / "bare.db", DECISIONS_PER_TURN)
        changes = dict(zip(cases, pairwise(memory), strict=True))
        for name, (before, after) in changes.items():
            samples[f"{name} memory"] = [after - before]
            samples[f"{name} file"] = [database_mb(engines[name])]
        return {"samples": samples, "profiles": {name: _profile(engines[name]) for name in cases}}


def _fill_in_process(url: str, cases: int) -> None:
    process = get_context("spawn").Process(target=_fill, args=(url, cases))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(
            f"the process that fills a store ended with exit code {process.exitcode}"
        )


def _fill(url: str, cases: int) -> None:
    with LocalBighub(url) as bighub:
        fill_store(bighub, cases, _progress_reporter(cases))


def _progress_reporter(cases: int) -> Callable[[int], None]:
    """A function that reports progress every few seconds."""
    last_report = monotonic()

    def report(stored: int) -> None:
        nonlocal last_report
        if monotonic() - last_report > PROGRESS_INTERVAL or stored >= cases:
            last_report = monotonic()
            report_progress(f"{stored:,} of {cases:,} cases")

    return report


def _profile(bighub: LocalBighub) -> dict[str, Any]:
    with profile_threads() as profiles:
        time_decisions(bighub, DECISIONS_PER_TURN)
    return summarize_times(profiles, runs=DECISIONS_PER_TURN)


if __name__ == "__main__":
    print_result(**measure(**read_options()))
