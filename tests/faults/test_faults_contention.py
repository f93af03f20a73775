"""Eight processes want the same two thousand calls: each is started once, and nobody waits long."""

import random
import time
from collections.abc import Callable
from typing import Any

from bighub_langgraph import Journal
from bighub_langgraph.core.errors import InvalidTransition
from bighub_langgraph.core.lifecycle import ExecutionStarted
from bighub_langgraph.core.reporting import ReportingConfig
from bighub_langgraph.sql_engines import BUSY_TIMEOUT
from tests.faults.killing import forkserver
from tests.test_journal_sql import call

PROCESSES = 8
KEYS = [f"{number:032x}" for number in range(2_000)]


def claim_all(database: str, seed: int, go: Any, queue: Any) -> None:
    """Claim every call, in a random order."""
    journal = Journal(database)
    keys = random.Random(seed).sample(KEYS, len(KEYS))
    won, longest = 0, 0.0
    go.wait()
    for key in keys:
        began = time.perf_counter()
        try:
            journal.transition(key, ExecutionStarted(f"{journal.owner}/1", 0.0), ReportingConfig())
            won += 1
        except InvalidTransition:
            pass
        longest = max(longest, time.perf_counter() - began)
    journal.close()
    queue.put((won, longest))


def test_every_call_has_one_winner(
    database: str, record_property: Callable[[str, object], None]
) -> None:
    journal = Journal(database)
    journal.insert([call(key) for key in KEYS], ReportingConfig())
    go, queue = forkserver.Event(), forkserver.Queue()
    processes = [
        forkserver.Process(target=claim_all, args=(database, seed, go, queue))
        for seed in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    go.set()
    results = [queue.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert sum(won for won, _ in results) == len(KEYS)
    assert {record.starts for record in journal.find(KEYS).values()} == {1}
    longest = max(longest for _, longest in results)
    record_property("longest_wait_seconds", round(longest, 3))
    print(f"longest wait: {longest:.3f} s")  # noqa: T201 - the figure that the docs state
    # Beyond this a claim is an error, and nothing starts.
    assert longest < BUSY_TIMEOUT
    journal.close()
