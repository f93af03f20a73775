"""Tool calls with a decision, as they are inserted into a journal."""

import time
from collections.abc import Iterable
from typing import Any

from benchmarks.workers.fakes import RESPONSE
from bighub_langgraph.core.decision import parse_decision
from bighub_langgraph.core.lifecycle import (
    DecisionMade,
    ExecutionFinished,
    ExecutionStarted,
    apply_event,
)
from bighub_langgraph.core.models import CallRecord, ToolCall, ToolSucceeded, Verdict
from bighub_langgraph.core.policy import GuardSettings, build_evaluation_request
from bighub_langgraph.core.reporting import ReportingConfig

REPORTING = ReportingConfig()


def call_fields(number: int) -> dict[str, Any]:
    """Everything about a call, as JSON."""
    return {
        "thread": f"thread-{number // 10}",
        "turn": f"turn-{number}",
        "id": f"call-{number}",
        "name": "refund",
        "args": {"order": f"order-{number}", "amount": 12.5},
        "decision": {**RESPONSE, "request_id": f"request-{number}"},
    }


def insert_calls(journal: Any, numbers: Iterable[int], verdict: Verdict) -> list[CallRecord]:
    """Calls with these numbers and that verdict, each stored in a journal."""
    records = [_decided_record(call_fields(number), verdict) for number in numbers]
    for record in records:
        journal.insert([record], REPORTING)
    return records


def claim_and_finish(journal: Any, record: CallRecord) -> None:
    """Take a call that may run through its life."""
    owner = f"{journal.owner}/1"
    journal.transition(record.key, ExecutionStarted(owner, time.time()), REPORTING)
    journal.transition(record.key, ExecutionFinished(owner, ToolSucceeded("refunded")), REPORTING)


def _decided_record(fields: dict[str, Any], verdict: Verdict) -> CallRecord:
    call = ToolCall(fields["thread"], fields["turn"], fields["id"], fields["name"], fields["args"])
    record = CallRecord.of(call, build_evaluation_request(call, GuardSettings()), time.time())
    return apply_event(record, DecisionMade(parse_decision(fields["decision"]), verdict))
