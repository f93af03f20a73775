"""Whether a process grows with calls that are over: its memory after each hundredth of a long run.

A process that fills and cuts bounded caches goes up and down by megabytes, so no two moments are
compared: what it holds in the last third of the run stands beside the middle third. In the first
third it warms up.
"""

import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import count, islice
from pathlib import Path
from statistics import median
from time import time
from typing import Any

from benchmarks.engine_load import evaluate_and_report, memory_mb
from benchmarks.workers.calls import claim_and_finish, insert_calls
from benchmarks.workers.fakes import FakeBighub, FakeOpenAI
from benchmarks.workers.profiler import Place, locate, summarize
from benchmarks.workers.stopwatch import print_result, read_options, report_progress
from bighub_langgraph import BighubOpenAI, Journal
from bighub_langgraph.core.models import Verdict
from bighub_langgraph.local import LocalBighub

Work = Callable[[int], None]
PARTS = 100
OFTEN = 10
A_BATCH = 100
SHARED = "/dev/shm"  # noqa: S108 - a disk in memory, on Linux
A_CONVERSATION = 10
NO_WAITS = dict.fromkeys(("model", "evaluate", "tool", "report", "ingest"), 0.0)


@contextmanager
def facade() -> Iterator[Work]:
    """Runs calls through the facade, with its journal in memory."""
    model = FakeOpenAI("sync", A_CONVERSATION, NO_WAITS)
    client = BighubOpenAI(openai_client=model, bighub=FakeBighub("sync", NO_WAITS))
    client.tool("refund", _refund, value_from_args=lambda arguments: arguments["amount"])

    def converse(calls: int) -> None:
        for _ in range(calls // A_CONVERSATION):
            client.run(messages="refund", model="m")

    with closing(client):
        yield converse


@contextmanager
def journal() -> Iterator[Work]:
    """Takes calls through a journal on a file, and delivers their reports."""
    numbers = count()
    with _file() as url, closing(Journal(url)) as journal:

        def run_calls(calls: int) -> None:
            for number in islice(numbers, calls):
                (record,) = insert_calls(journal, [number], Verdict.EXECUTE)
                claim_and_finish(journal, record)
                reports = journal.lease_batch(time(), A_BATCH, record.turn)
                journal.ack([report.id for report in reports])

        yield run_calls


@contextmanager
def engine() -> Iterator[Work]:
    """Has the embedded engine decide on calls, and tells it what came of them."""
    with _file() as url, LocalBighub(url) as bighub:
        yield lambda calls: evaluate_and_report(bighub, calls)


@contextmanager
def _file() -> Iterator[str]:
    """A database on a file; in memory where there is such a disk, for its commits do not matter."""
    with tempfile.TemporaryDirectory(dir=SHARED if Path(SHARED).is_dir() else None) as home:
        yield f"sqlite:///{home}/some.db"


WORKS: dict[str, Callable[[], AbstractContextManager[Work]]] = {
    "facade": facade,
    "journal": journal,
    "engine": engine,
}


def measure(work: Work, calls: int) -> dict[str, list[float]]:
    """Megabytes that this process holds after each part of the calls."""
    held = []
    for part in range(1, PARTS + 1):
        work(calls // PARTS)
        held.append(memory_mb())
        if part % OFTEN == 0:
            report_progress(f"{part * calls // PARTS:,} of {calls:,} calls")
    third = PARTS // 3
    middle, last = held[third : 2 * third], held[-third:]
    return {"held": held, "middle": [median(middle)], "last": [median(last)]}


def profile(work: Work, calls: int) -> dict[str, Any]:
    """What some of the calls leave behind after as many before them, by line and by package."""
    work(calls // OFTEN)
    tracemalloc.start()
    work(calls // OFTEN)
    return summarize("MB", _sizes_by_line(tracemalloc.take_snapshot()))


def _sizes_by_line(snapshot: tracemalloc.Snapshot) -> Iterator[tuple[Place, float]]:
    for statistic in snapshot.statistics("lineno"):
        at = statistic.traceback[0]
        yield locate((at.filename, at.lineno, f"line {at.lineno}")), statistic.size / 1e6


def _refund(order: str, amount: float) -> str:
    return f"refunded {amount} for {order}"


def main(of: str, calls: int, profiled: str | None) -> None:
    with WORKS[of]() as work:
        if profiled is None:
            print_result(samples=measure(work, calls))
        else:
            print_result(profiles={profiled: profile(work, calls)})


if __name__ == "__main__":
    options = read_options()
    main(options["of"], options["calls"], options.get("profile"))
