"""Tool calls that were decided on, as a journal is given them."""

import time
from collections.abc import Iterable
from typing import Any

from benchmarks.workers.fakes import REPLY
from bighub_langgraph.core.decision import parse_decision
from bighub_langgraph.core.lifecycle import Decided, Finished, Started, advance
from bighub_langgraph.core.models import Executed, Record, ToolCall, Verdict
from bighub_langgraph.core.policy import Rules, propose
from bighub_langgraph.core.reporting import Telling

TELLING = Telling()


def words(number: int) -> dict[str, Any]:
    """All that is said of a call, as plain JSON."""
    return {
        "thread": f"thread-{number // 10}",
        "turn": f"turn-{number}",
        "id": f"call-{number}",
        "name": "refund",
        "args": {"order": f"order-{number}", "amount": 12.5},
        "decision": {**REPLY, "request_id": f"request-{number}"},
    }


def opened(journal: Any, numbers: Iterable[int], verdict: Verdict) -> list[Record]:
    """Calls with these numbers and that verdict, each stored in a journal."""
    records = [_decided(words(number), verdict) for number in numbers]
    for record in records:
        journal.open([record], TELLING)
    return records


def claim_and_finish(journal: Any, record: Record) -> None:
    """Take a call that may run through its life."""
    owner = f"{journal.owner}/1"
    journal.move(record.key, Started(owner, time.time()), TELLING)
    journal.move(record.key, Finished(owner, Executed("refunded")), TELLING)


def _decided(said: dict[str, Any], verdict: Verdict) -> Record:
    call = ToolCall(said["thread"], said["turn"], said["id"], said["name"], said["args"])
    record = Record.of(call, propose(call, Rules()), time.time())
    return advance(record, Decided(parse_decision(said["decision"]), verdict))
