"""A call from its claim to its outcome in a journal, beside raw commits of the same rows.

The journal first takes a number of calls through their life in a database of its own. What it wrote
there is then written again: by the journal in a second database, and by the driver alone in a
third, which has the same tables; one commit for a claim, one for a result with its outcome.
"""

from collections.abc import Iterator
from contextlib import ExitStack, asynccontextmanager, closing
from itertools import count
from typing import Any

from benchmarks.workers.calls import claim_and_finish, insert_calls
from benchmarks.workers.databases import Database, databases
from benchmarks.workers.stopwatch import Side, Sides, run_program
from bighub_langgraph import Journal
from bighub_langgraph.core.models import Verdict

Row = dict[str, Any]


@asynccontextmanager
async def sides(*, on: str, runs: int) -> Sides:
    """`journal` beside `dictionary` for a journal in memory, beside `raw` for one in a database."""
    with ExitStack() as stack:
        if on == "memory":
            yield _in_memory(runs)
        else:
            yield _in_databases(stack, stack.enter_context(databases(on)), runs)


def _in_memory(runs: int) -> dict[str, Side]:
    journal, keys = Journal.in_memory(), count()
    store: dict[int, object] = {}
    return {
        "journal": _each(journal, runs),
        "dictionary": lambda: store.__setitem__(next(keys), journal),
    }


def _in_databases(stack: ExitStack, made: Iterator[Database], runs: int) -> dict[str, Side]:
    first, second, third = (next(made) for _ in range(3))
    with closing(Journal(first.url)) as before:
        life = _each(before, runs)
        for _ in range(runs):
            life()
    with closing(Journal(third.url)):
        """Leaves the tables behind."""
    journal = stack.enter_context(closing(Journal(second.url)))
    raw = Raw(stack.enter_context(first.connect()), stack.enter_context(third.connect()), first)
    return {"journal": _each(journal, runs), "raw": raw.next}


def _each(journal: Any, runs: int) -> Side:
    """Claims and finishes the next of some calls that are stored before."""
    records = iter(insert_calls(journal, range(runs), Verdict.EXECUTE))
    return lambda: claim_and_finish(journal, next(records))


class Raw:
    """Writes by hand what a journal wrote, call by call."""

    def __init__(self, source: Any, target: Any, kind: Database) -> None:
        self._db, self._kind = target, kind
        calls = _rows(source, "bighub_calls", "key")
        for row in calls:
            self._add("bighub_calls", {**row, "version": 1, "state": "allowed", "result": None})
        self._notes = _by_key(_rows(source, "bighub_history", "id"))
        self._reports = _by_key(_rows(source, "bighub_outbox", "id"))
        self._calls = iter(calls)

    def next(self) -> None:
        """Claim and finish the next call: two commits."""
        call = next(self._calls)
        _, started, finished = self._notes[call["key"]]
        self._db.execute(self._kind.begin)
        self._update_call({**call, "version": 2, "state": "running", "result": None, "codec": None})
        self._add("bighub_history", started)
        self._db.execute("COMMIT")
        self._db.execute(self._kind.begin)
        self._update_call(call)
        self._add("bighub_history", finished)
        for row in self._reports[call["key"]]:
            self._add("bighub_outbox", row)
        self._db.execute("COMMIT")

    def _update_call(self, call: Row) -> None:
        moving = ("state", "version", "updated_at", "owner", "starts", "expires_at", "details")
        names = (*moving, "codec", "result")
        sets = ", ".join(f"{name} = {self._kind.mark}" for name in names)
        where = f"key = {self._kind.mark} AND version = {self._kind.mark}"
        self._db.execute(
            f"UPDATE bighub_calls SET {sets} WHERE {where}",  # noqa: S608 - names of ours
            [*(call[name] for name in names), call["key"], call["version"] - 1],
        )

    def _add(self, table: str, row: Row) -> None:
        marks = ", ".join([self._kind.mark] * len(row))
        self._db.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})",  # noqa: S608
            list(row.values()),
        )


def _rows(source: Any, table: str, order: str) -> list[Row]:
    cursor = source.execute(f"SELECT * FROM {table} ORDER BY {order}")  # noqa: S608
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _by_key(rows: list[Row]) -> dict[str, list[Row]]:
    """Rows of each call, without the numbers that a database gives."""
    rows_by_key: dict[str, list[Row]] = {}
    for row in rows:
        rows_by_key.setdefault(row["key"], []).append({k: v for k, v in row.items() if k != "id"})
    return rows_by_key


if __name__ == "__main__":
    run_program(sides)
