"""What a claim, a result and its outcome cost, beside two raw commits of the same rows.

    python benchmarks/journal.py            SQLite in a temporary directory, and memory
    python benchmarks/journal.py URL        and this PostgreSQL

Journal and raw take turns call by call, so that what else the machine does hits both alike.
"""

import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bighub_langgraph import Journal
from bighub_langgraph.core.call import ToolCall
from bighub_langgraph.core.decision import parse_decision
from bighub_langgraph.core.outcome import Telling
from bighub_langgraph.core.policy import Rules
from bighub_langgraph.core.proposing import propose
from bighub_langgraph.core.record import Executed, Record
from bighub_langgraph.core.transitions import Decided, Finished, Started, advance
from bighub_langgraph.core.words import Verdict

CALLS = 1_000
TELLING = Telling()
TABLES = ("bighub_calls", "bighub_history", "bighub_outbox")
Row = dict[str, Any]


def a_call(number: int) -> Record:
    call = ToolCall("thread", f"turn-{number}", f"call-{number}", "refund", {"amount": 12.5})
    record = Record.of(call, propose(call, Rules()), time.time())
    said = {"recommendation": "proceed", "request_id": f"request-{number}", "risk_score": 0.1}
    return advance(record, Decided(parse_decision(said), Verdict.EXECUTE))


def claim_and_finish(journal: Any, record: Record) -> None:
    owner = f"{journal.owner}/1"
    journal.move(record.key, Started(owner, time.time()), TELLING)
    journal.move(record.key, Finished(owner, Executed("refunded")), TELLING)


def timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def opened(journal: Any) -> list[Record]:
    records = [a_call(number) for number in range(CALLS)]
    for record in records:
        journal.open([record], TELLING)
    return records


class Raw:
    """The same rows in the same tables, by sqlite3 alone: one commit a claim, one a result."""

    def __init__(self, rows_of: Path, home: Path) -> None:
        source = sqlite3.connect(rows_of)
        source.row_factory = sqlite3.Row
        self._rows = {
            table: [dict(row) for row in source.execute(f"SELECT * FROM {table}")]  # noqa: S608
            for table in TABLES
        }
        ddl = source.execute("SELECT sql FROM sqlite_master WHERE sql LIKE 'CREATE%bighub_%'")
        self._db = sqlite3.connect(home / "raw.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        for (statement,) in sorted(ddl.fetchall(), key=lambda row: "INDEX" in row[0]):
            self._db.execute(statement)
        source.close()
        for row in self._rows["bighub_calls"]:
            self._add("bighub_calls", {**row, "version": 1, "state": "allowed", "result": None})

    def each(self) -> Iterator[Callable[[], None]]:
        """The claims and results, one after the other."""
        notes: dict[str, list[Row]] = {}
        for row in self._rows["bighub_history"]:
            notes.setdefault(row["key"], []).append(_new(row))
        told: dict[str, list[Row]] = {}
        for row in self._rows["bighub_outbox"]:
            told.setdefault(row["key"], []).append(_new(row))
        for call in self._rows["bighub_calls"]:
            key = call["key"]
            yield lambda call=call, key=key: self._run(call, notes[key], told[key])  # type: ignore[misc]

    def _run(self, call: Row, notes: list[Row], told: list[Row]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._move({**call, "version": 2, "state": "running", "result": None, "codec": None})
        self._add("bighub_history", notes[1])
        self._db.execute("COMMIT")
        self._db.execute("BEGIN IMMEDIATE")
        self._move(call)
        self._add("bighub_history", notes[2])
        for row in told:
            self._add("bighub_outbox", row)
        self._db.execute("COMMIT")

    def _move(self, call: Row) -> None:
        moving = ("state", "version", "moved_at", "owner", "starts", "expires_at", "said")
        names = (*moving, "codec", "result")
        self._db.execute(
            f"UPDATE bighub_calls SET {', '.join(f'{name} = ?' for name in names)} "  # noqa: S608
            "WHERE key = ? AND version = ?",
            [*(call[name] for name in names), call["key"], call["version"] - 1],
        )

    def _add(self, table: str, row: Row) -> None:
        places = ", ".join("?" * len(row))
        self._db.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})",  # noqa: S608
            list(row.values()),
        )


def _new(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "id"}


def show(what: str, times: list[float]) -> float:
    median = statistics.median(times)
    late = sorted(times)[int(0.95 * len(times))]
    print(f"{what:<12} p50 {median:7.3f} ms   p95 {late:7.3f} ms")
    return median


def against_raw(home: Path) -> None:
    before = Journal(f"sqlite:///{home / 'rows.db'}")
    for record in opened(before):
        claim_and_finish(before, record)
    before.close()
    journal = Journal(f"sqlite:///{home / 'calls.db'}")
    ours, raws = [], []
    for record, raw in zip(opened(journal), Raw(home / "rows.db", home).each(), strict=True):
        ours.append(timed(lambda record=record: claim_and_finish(journal, record)))  # type: ignore[misc]
        raws.append(timed(raw))
    journal.close()
    print(f"{'ratio':<12} p50 {show('SQLite', ours) / show('raw sqlite3', raws):7.2f}")


def main(urls: list[str]) -> None:
    with tempfile.TemporaryDirectory() as home:
        against_raw(Path(home))
    for journal in (Journal.in_memory(), *map(Journal, urls)):
        times = [
            timed(lambda record=record, journal=journal: claim_and_finish(journal, record))  # type: ignore[misc]
            for record in opened(journal)
        ]
        show("PostgreSQL" if journal.durable else "memory", times)
        journal.close()


if __name__ == "__main__":
    main(sys.argv[1:])
