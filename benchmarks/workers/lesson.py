"""The embedded engine in memory by itself: one decision, and what it learns of its outcome.

That much of a guarded turn is BIGHUB's own work, whoever asks. Beside it stands one row written to
a bare SQLite database in memory.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import asynccontextmanager, closing
from typing import Any

from benchmarks.engine_load import action
from benchmarks.workers.stopwatch import Side, Sides, answer
from bighub_langgraph.local import LocalBighub

ROW = ("x" * 1_000,)


@asynccontextmanager
async def sides(*, runs: int) -> Sides:
    """The engine, and a bare database."""
    numbers = iter(range(10 * runs))
    with LocalBighub() as bighub, closing(sqlite3.connect(":memory:")) as bare:
        bare.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, reply TEXT)")
        yield {"engine": _lesson(bighub, numbers), "bare": _row(bare)}


def _lesson(bighub: LocalBighub, numbers: Iterator[int]) -> Side:
    def lesson() -> Any:
        reply = bighub.actions.evaluate(**action(next(numbers)))
        return bighub.outcomes.report(request_id=reply["request_id"], status="SUCCESS")

    return lesson


def _row(bare: sqlite3.Connection) -> Side:
    def row() -> None:
        with bare:
            bare.execute("INSERT INTO bare (reply) VALUES (?)", ROW)

    return row


if __name__ == "__main__":
    answer(sides)
