"""The embedded engine after a long history: what a decision takes then, and how large it became.

A million cases are made from a few hundred that were really decided and reported: their rows are
copied under new names, and the engine learns from every copy as it does from any outcome.
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

from sqlalchemy import Connection, func, select, update

from bighub_langgraph.local import LocalBighub
from bighub_langgraph.local.retention import forget_oldest
from bighub_langgraph.local.tables import decisions, evidence, heads, outcomes, sessions

SEEDS = 500
AT_ONCE = 2_000
BAD_RATE = 0.05
_CALLS_A_SESSION = 10
_LIKE_A_DECISION = 1_350  # bytes of a stored decision, about


def action(number: int) -> dict[str, Any]:
    """One of twenty kinds of calls, about an order of its own, ten to a session."""
    return {
        "action": f"refund{number % 20}",
        "value": float(number % 97),
        "target": f"order-{number}",
        "domain": "shop",
        "context": {
            "session_id": f"s{number // _CALLS_A_SESSION}",
            "arguments": {"amount": number % 97, "why": "x"},
        },
    }


def live(bighub: LocalBighub, cases: int) -> None:
    """Decide and report some cases, one by one."""
    chance = random.Random(cases)  # noqa: S311 - a simulation
    for number in _fresh(cases):
        reply = bighub.actions.evaluate(**action(number), idempotency_key=uuid4().hex)
        status = "FRAUD" if chance.random() < BAD_RATE else "SUCCESS"
        bighub.outcomes.report(request_id=reply["request_id"], status=status)


def fill(
    bighub: LocalBighub, cases: int, told: Callable[[int], None] = lambda _stored: None
) -> None:
    """Fill an engine's store up to a number of cases; `told` hears how many there are."""
    stored = _decided(bighub)
    if stored < SEEDS:
        live(bighub, SEEDS - stored)
        stored = SEEDS
    history = _History(bighub)
    while stored < cases:
        history.copy(min(AT_ONCE, cases - stored))
        stored = _decided(bighub)
        told(stored)


def decide(bighub: LocalBighub, times: int) -> tuple[list[float], list[float]]:
    """Milliseconds on the clock and of the thread for each of some decisions, commit included."""
    walls, owns = [], []
    for number in _fresh(times):
        asked, key = action(number), uuid4().hex
        wall, own = perf_counter(), thread_time()
        bighub.actions.evaluate(**asked, idempotency_key=key)
        owns.append((thread_time() - own) * 1e3)
        walls.append((perf_counter() - wall) * 1e3)
    return walls, owns


def bare_commit(path: Path | None, times: int) -> list[float]:
    """Milliseconds of one SQLite transaction that inserts one row, without an engine."""
    with closing(sqlite3.connect(path or ":memory:", isolation_level=None)) as bare:
        bare.execute("PRAGMA journal_mode=WAL")
        bare.execute("PRAGMA synchronous=FULL")
        bare.execute("CREATE TABLE IF NOT EXISTS bare (id INTEGER PRIMARY KEY, reply TEXT)")
        row, spans = ("x" * _LIKE_A_DECISION,), []
        for _ in range(times):
            began = perf_counter()
            bare.execute("BEGIN IMMEDIATE")
            bare.execute("INSERT INTO bare (reply) VALUES (?)", row)
            bare.execute("COMMIT")
            spans.append((perf_counter() - began) * 1e3)
    return spans


def database_mb(bighub: LocalBighub) -> float:
    """The size of an engine's SQLite database, in memory or on disk."""
    with bighub.engine.store.transaction() as tx:
        pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
        size = tx.exec_driver_sql("PRAGMA page_size").scalar_one()
    return round(pages * size / 1e6, 1)


def memory_mb() -> float:
    """The memory this process holds now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


class _History:
    """The newest cases of an engine, to be copied."""

    def __init__(self, bighub: LocalBighub) -> None:
        self._engine = bighub.engine
        with self._engine.store.transaction() as tx:
            newest = select(decisions).where(decisions.c.label.is_not(None))
            rows = tx.execute(newest.order_by(decisions.c.id.desc()).limit(SEEDS)).mappings()
            self._seeds = [dict(row) for row in rows]
            self._session = tx.execute(select(sessions).limit(1)).mappings().one()

    def copy(self, cases: int) -> None:
        """Store this many copies in one transaction, then learn from them."""
        at, run = self._engine.clock(), uuid4().hex
        with self._engine.store.transaction() as tx:
            known = _drawn(tx, cases)
            copies = [self._copied(number, run, at, known) for number in range(cases)]
            tx.execute(decisions.insert(), copies)
            tx.execute(evidence.insert(), [_evidence(row) for row in copies])
            tx.execute(outcomes.insert(), [_outcome(row) for row in copies])
            names = sorted({row["session_id"] for row in copies})
            kept = [{**self._session, "session_id": name, "at": at} for name in names]
            tx.execute(sessions.insert(), kept)
            forget_oldest(self._engine.store, tx)
        with self._engine.knowledge():
            pass

    def _copied(self, number: int, run: str, at: float, known: int) -> dict[str, Any]:
        seed = self._seeds[number % len(self._seeds)]
        target = f"order-{uuid4().hex[:12]}"
        return {
            **{name: kept for name, kept in seed.items() if name != "id"},
            "request_id": f"req_{uuid4().hex}",
            "idempotency_key": uuid4().hex,
            "session_id": f"{run}-{number // _CALLS_A_SESSION}",
            "target": target,
            "seen": seed["seen"].replace(seed["target"], target),
            "at": at,
            "outcome_at": at,
            "label_at": at,
            "label_seq": known + number + 1,
        }


def _evidence(row: dict[str, Any]) -> dict[str, Any]:
    same = {name: row[name] for name in ("request_id", "domain", "at", "label")}
    nothing = {"replaces": None, "replaced_at": None, "replaced_seq": None}
    return {**same, **nothing, "seq": row["label_seq"]}


def _outcome(row: dict[str, Any]) -> dict[str, Any]:
    told = json.dumps({"status": row["outcome"], "request_id": row["request_id"]})
    same = {"request_id": row["request_id"], "at": row["at"], "status": row["outcome"]}
    return {**same, "idempotency_key": None, "report": told}


def _drawn(tx: Connection, numbers: int) -> int:
    """Draw numbers for evidence; the last one drawn before."""
    row = heads.c.name == "evidence"
    known = int(tx.execute(select(heads.c.number).where(row)).scalar_one())
    tx.execute(update(heads).where(row).values(number=known + numbers))
    return known


def _decided(bighub: LocalBighub) -> int:
    with bighub.engine.store.transaction() as tx:
        return int(tx.execute(select(func.max(decisions.c.id))).scalar_one() or 0)


def _fresh(times: int) -> Iterator[int]:
    """Numbers of orders that nobody has used."""
    first = uuid4().int % 10**12 * _CALLS_A_SESSION
    yield from range(first, first + times)


def main() -> None:
    """Fill a store to two sizes and tell what a decision takes: `engine_load.py [URL [SIZES]]`."""
    from statistics import median

    url = sys.argv[1] if len(sys.argv) > 1 else "sqlite://"
    sizes = [int(size) for size in sys.argv[2:]] or [10_000, 1_000_000]
    with LocalBighub(url) as bighub:
        for size in sizes:
            began = perf_counter()
            fill(bighub, size, lambda stored: print(stored, end="\r", file=sys.stderr, flush=True))
            filled = perf_counter() - began
            decide(bighub, 200)
            walls, owns = decide(bighub, 5_000)
            figures = {
                "cases": size,
                "filled_in_s": round(filled, 1),
                "p50_ms": round(median(walls), 4),
                "p99_ms": round(sorted(walls)[int(0.99 * len(walls))], 4),
                "p50_thread_ms": round(median(owns), 4),
                "memory_mb": memory_mb(),
                "database_mb": database_mb(bighub),
            }
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
