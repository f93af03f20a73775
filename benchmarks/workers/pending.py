"""What calls that wait for a person take of memory and disk, beside their bare JSON."""

import json
import tempfile
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from benchmarks.workers.calls import call_fields, insert_calls
from benchmarks.workers.stopwatch import print_result, read_options
from bighub_langgraph import Journal
from bighub_langgraph.core.models import Verdict


def measure(calls: int) -> dict[str, list[float]]:
    """Megabytes: in both journals, as dictionaries, and as lines of JSON."""

    def waiting(journal: object) -> object:
        insert_calls(journal, range(calls), Verdict.REVIEW)
        return journal

    calls_as_json = [call_fields(number) for number in range(calls)]
    with tempfile.TemporaryDirectory() as home:
        path = Path(home, "calls.db")
        with closing(Journal(f"sqlite:///{path}")) as journal:
            beside_a_file = _allocated_bytes(lambda: waiting(journal))
        file = path.stat().st_size
    figures = {
        "in memory": _allocated_bytes(lambda: waiting(Journal.in_memory())),
        "dictionaries": _allocated_bytes(lambda: [call_fields(number) for number in range(calls)]),
        "beside a file": beside_a_file,
        "file": file,
        "lines": len("\n".join(json.dumps(fields) for fields in calls_as_json)),
    }
    return {name: [size / 1e6] for name, size in figures.items()}


def _allocated_bytes(make: Callable[[], object]) -> int:
    """Bytes that Python holds for what a function makes and leaves behind."""
    tracemalloc.start()
    made = make()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del made
    return held


if __name__ == "__main__":
    print_result(samples=measure(**read_options()))
