"""The embedded engine after a long history: the time of a decision, and the size of the engine.

A history of a million cases is built from a few hundred real decisions and outcomes. Their rows are
copied with new ids, and the engine learns from every copy as from any outcome.
"""

import json
import os
import random
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any
from uuid import uuid4

from sqlalchemy import func, select

from bighub_langgraph.local import LocalBighub
from bighub_langgraph.local.tables import decisions, evidence, outcomes

SEEDS = 500
COPIES_PER_TRANSACTION = 2_000
BAD_RATE = 0.05
_CALLS_PER_SESSION = 10
_DECISION_BYTES = 1_350  # the approximate size of a stored decision


def build_action(number: int) -> dict[str, Any]:
    """An action of one of twenty kinds, with its own order, ten in each session."""
    return {
        "action": f"refund{number % 20}",
        "value": float(number % 97),
        "target": f"order-{number}",
        "domain": "shop",
        "context": {
            "session_id": f"s{number // _CALLS_PER_SESSION}",
            "arguments": {"amount": number % 97, "why": "x"},
        },
    }


def evaluate_and_report(bighub: LocalBighub, cases: int) -> None:
    """Evaluate this many actions and report the outcome of each."""
    chance = random.Random(cases)  # noqa: S311 - a simulation
    for number in _new_numbers(cases):
        response = bighub.actions.evaluate(**build_action(number), idempotency_key=uuid4().hex)
        status = "FRAUD" if chance.random() < BAD_RATE else "SUCCESS"
        bighub.outcomes.report(request_id=response["request_id"], status=status)


def fill_store(
    bighub: LocalBighub, cases: int, report_progress: Callable[[int], None] = lambda _stored: None
) -> None:
    """Fill an engine's store up to a number of cases; progress is the number of stored cases."""
    stored = _count_decisions(bighub)
    if stored < SEEDS:
        evaluate_and_report(bighub, SEEDS - stored)
        stored = SEEDS
    history = _History(bighub)
    while stored < cases:
        history.copy(min(COPIES_PER_TRANSACTION, cases - stored))
        stored = _count_decisions(bighub)
        report_progress(stored)


def time_decisions(bighub: LocalBighub, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of wall time and of thread time of each decision, with its commit."""
    wall_times, thread_times = [], []
    for number in _new_numbers(count):
        action, key = build_action(number), uuid4().hex
        wall_start, thread_start = perf_counter(), thread_time()
        bighub.actions.evaluate(**action, idempotency_key=key)
        thread_times.append((thread_time() - thread_start) * 1e3)
        wall_times.append((perf_counter() - wall_start) * 1e3)
    return wall_times, thread_times


def time_bare_commits(path: Path | None, count: int) -> list[float]:
    """Milliseconds of SQLite transactions that insert one row each, without an engine."""
    with closing(sqlite3.connect(path or ":memory:", isolation_level=None)) as bare:
        bare.execute("PRAGMA journal_mode=WAL")
        bare.execute("PRAGMA synchronous=FULL")
        bare.execute("CREATE TABLE IF NOT EXISTS bare (id INTEGER PRIMARY KEY, reply TEXT)")
        row, durations = ("x" * _DECISION_BYTES,), []
        for _ in range(count):
            start = perf_counter()
            bare.execute("BEGIN IMMEDIATE")
            bare.execute("INSERT INTO bare (reply) VALUES (?)", row)
            bare.execute("COMMIT")
            durations.append((perf_counter() - start) * 1e3)
    return durations


def database_mb(bighub: LocalBighub) -> float:
    """The size of an engine's SQLite database, in memory or on disk, in megabytes."""
    with bighub.engine.store.transaction() as tx:
        pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
        size = tx.exec_driver_sql("PRAGMA page_size").scalar_one()
    return round(pages * size / 1e6, 1)


def memory_mb() -> float:
    """The resident memory of this process in megabytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


class _History:
    """The newest cases of an engine, as templates for copies."""

    def __init__(self, bighub: LocalBighub) -> None:
        self._engine = bighub.engine
        with self._engine.store.transaction() as tx:
            newest = select(decisions).where(decisions.c.label.is_not(None))
            rows = tx.execute(newest.order_by(decisions.c.id.desc()).limit(SEEDS)).mappings()
            self._seeds = [dict(row) for row in rows]

    def copy(self, cases: int) -> None:
        """Store this many copies in one transaction, then train the engine on them."""
        at, run = self._engine.clock(), uuid4().hex
        with self._engine.store.transaction() as tx:
            first = self._engine.sequences.next_value(tx, "evidence", cases) - cases + 1
            copies = [self._copy_seed(number, run, at, first) for number in range(cases)]
            tx.execute(decisions.insert(), copies)
            tx.execute(evidence.insert(), [_evidence_row(row) for row in copies])
            tx.execute(outcomes.insert(), [_outcome_row(row) for row in copies])
            self._engine.decisions.delete_surplus(tx)
        with self._engine.current_model():
            pass

    def _copy_seed(self, number: int, run: str, at: float, first: int) -> dict[str, Any]:
        seed = self._seeds[number % len(self._seeds)]
        target = f"order-{uuid4().hex[:12]}"
        return {
            **{name: value for name, value in seed.items() if name != "id"},
            "request_id": f"req_{uuid4().hex}",
            "idempotency_key": uuid4().hex,
            "session_id": f"{run}-{number // _CALLS_PER_SESSION}",
            "target": target,
            "seen": seed["seen"].replace(seed["target"], target),
            "at": at,
            "outcome_at": at,
            "label_at": at,
            "label_seq": first + number,
        }


def _evidence_row(row: dict[str, Any]) -> dict[str, Any]:
    columns = {name: row[name] for name in ("request_id", "domain", "at", "label")}
    replacement = {"replaces": None, "replaced_at": None, "replaced_seq": None}
    return {**columns, **replacement, "seq": row["label_seq"]}


def _outcome_row(row: dict[str, Any]) -> dict[str, Any]:
    report = json.dumps({"status": row["outcome"], "request_id": row["request_id"]})
    columns = {"request_id": row["request_id"], "at": row["at"], "status": row["outcome"]}
    return {**columns, "idempotency_key": None, "report": report}


def _count_decisions(bighub: LocalBighub) -> int:
    with bighub.engine.store.transaction() as tx:
        return int(tx.execute(select(func.max(decisions.c.id))).scalar_one() or 0)


def _new_numbers(count: int) -> Iterator[int]:
    """Order numbers that no earlier action has used."""
    first = uuid4().int % 10**12 * _CALLS_PER_SESSION
    yield from range(first, first + count)


def main() -> None:
    """Fill a store to each size and time decisions: `engine_load.py [URL [SIZES]]`."""
    from statistics import median

    url = sys.argv[1] if len(sys.argv) > 1 else "sqlite://"
    sizes = [int(size) for size in sys.argv[2:]] or [10_000, 1_000_000]
    with LocalBighub(url) as bighub:
        for size in sizes:
            start = perf_counter()
            fill_store(
                bighub,
                size,
                lambda stored: print(stored, end="\r", file=sys.stderr, flush=True),
            )
            fill_seconds = perf_counter() - start
            time_decisions(bighub, 200)
            wall_times, thread_times = time_decisions(bighub, 5_000)
            figures = {
                "cases": size,
                "filled_in_s": round(fill_seconds, 1),
                "p50_ms": round(median(wall_times), 4),
                "p99_ms": round(sorted(wall_times)[int(0.99 * len(wall_times))], 4),
                "p50_thread_ms": round(median(thread_times), 4),
                "memory_mb": memory_mb(),
                "database_mb": database_mb(bighub),
            }
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
