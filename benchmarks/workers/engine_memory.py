"""The embedded engine in memory by itself: one decision, and training on its outcome.

This is the engine's own share of a guarded turn. The alternative is one row written to a bare
SQLite database in memory.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import asynccontextmanager, closing
from typing import Any

from benchmarks.engine_load import build_action
from benchmarks.workers.stopwatch import Side, Sides, run_program
from bighub_langgraph.local import LocalBighub

ROW = ("x" * 1_000,)


@asynccontextmanager
async def sides(*, runs: int) -> Sides:
    """The engine and a bare database."""
    numbers = iter(range(10 * runs))
    with LocalBighub() as bighub, closing(sqlite3.connect(":memory:")) as bare:
        bare.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, reply TEXT)")
        yield {"engine": _evaluate_and_report(bighub, numbers), "bare": _insert_row(bare)}


def _evaluate_and_report(bighub: LocalBighub, numbers: Iterator[int]) -> Side:
    def evaluate_and_report() -> Any:
        response = bighub.actions.evaluate(**build_action(next(numbers)))
        return bighub.outcomes.report(request_id=response["request_id"], status="SUCCESS")

    return evaluate_and_report


def _insert_row(bare: sqlite3.Connection) -> Side:
    def insert_row() -> None:
        with bare:
            bare.execute("INSERT INTO bare (reply) VALUES (?)", ROW)

    return insert_row


if __name__ == "__main__":
    run_program(sides)
