"""What BIGHUB is told about the end of a call."""

import json
from typing import Any

import pytest

from bighub_langgraph.core.lifecycle import ExecutionFinished, ExecutionStarted, apply_event
from bighub_langgraph.core.models import ToolFailed, ToolOutcome, ToolSucceeded
from bighub_langgraph.core.reporting import (
    LONGEST_OUTPUT,
    ReportingConfig,
    ReportKind,
    build_reports,
)
from bighub_langgraph.local import LocalBighub
from tests.calls import decided_record


def report(result: ToolOutcome, **options: Any) -> dict[ReportKind, Any]:
    """The bodies of the reports of a call that ended like this."""
    running = apply_event(decided_record(), ExecutionStarted("me", 0.0))
    ended = apply_event(running, ExecutionFinished("me", result))
    reports = build_reports(running, ended, ReportingConfig(**options))
    return {each.kind: each.body for each in reports}


def nested_list(depth: int) -> Any:
    return [nested_list(depth - 1)] if depth else "deep"


# What the tool returned: what the outcome says.
OUTPUTS: list[tuple[Any, Any]] = [
    ("receipt rcpt_77", "receipt rcpt_77"),
    ({"ok": True, "receipt": "rcpt_77"}, {"ok": True, "receipt": "rcpt_77"}),
    (None, None),
    ({"api_key": "sk-secret"}, {"api_key": "[redacted]"}),
    (["x" * 5_000], None),
    ("a\x00b", "a\\x00b"),
    ({"a\x00": 1}, "{'a\\x00': 1}"),
    ({"number": 2**2_000}, None),
    (nested_list(40), None),
    ("a\ud800b", "a?b"),
    (float("nan"), "nan"),
]


@pytest.mark.parametrize(("output", "shown"), OUTPUTS, ids=lambda value: ascii(value)[:20])
def test_the_outcome_of_a_success_has_the_output_and_every_engine_accepts_it(
    output: Any, shown: Any
) -> None:
    bodies = report(ToolSucceeded(output))
    body = bodies[ReportKind.OUTCOME]
    details = body["details"]
    assert body["status"] == "SUCCESS"
    assert details["output"] == shown or shown is None
    assert len(json.dumps(details, ensure_ascii=False)) < LONGEST_OUTPUT + 400
    with LocalBighub() as bighub:
        request_id = bighub.actions.evaluate(action="refund")["request_id"]
        bighub.outcomes.report(**{**body, "request_id": request_id})
        assert bighub.outcomes.get(request_id)["details"]["output"] == details["output"]
        memory = bodies[ReportKind.MEMORY]
        assert memory["event"]["output"] == details["output"]
        bighub.actions.ingest_memory(events=[memory["event"]], **memory["about"])


def test_the_outcome_of_a_failure_has_the_error() -> None:
    body = report(ToolFailed("ValueError: a\x00b, key sk-proj-0123456789abcdefghijkl"))
    outcome = body[ReportKind.OUTCOME]
    assert outcome["status"] == "FAILURE"
    assert "ValueError: a\\x00b, key [redacted]" in outcome["description"]


def test_the_output_in_an_outcome_is_redacted_as_the_user_configured() -> None:
    bodies = report(
        ToolSucceeded({"name": "Ada"}), redact=lambda _: {"name": "[name]"}, memory=False
    )
    assert bodies[ReportKind.OUTCOME]["details"]["output"] == {"name": "[name]"}
