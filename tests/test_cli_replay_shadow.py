"""Shadow mode evaluates each recorded call before its outcome is reported."""

from collections.abc import Mapping
from typing import Any

import pytest

from bighub_langgraph import BighubGuard, ToolPolicy
from bighub_langgraph.cli.replay.recording import OutcomeKnown, RecordedCall, Step
from bighub_langgraph.cli.replay.shadow import (
    ShadowCall,
    evaluate_steps,
    find_target,
    find_value,
)


class RecordingBighub:
    """A client of BIGHUB that keeps what it is called with, in order."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.actions = self.outcomes = self

    def submit(self, *, target: str, **fields: Any) -> dict[str, Any]:
        del fields
        self.log.append(f"evaluate {target}")
        return {"recommendation": "proceed", "request_id": target}

    def report(self, *, request_id: str, status: str, **fields: Any) -> dict[str, Any]:
        del fields
        self.log.append(f"report {request_id} {status}")
        return {}


def evaluate(*steps: Step) -> tuple[list[ShadowCall], list[str]]:
    """The evaluated calls, and what BIGHUB was called with."""
    bighub = RecordingBighub()
    tools = {"pay": ToolPolicy(target_from_args=find_target)}
    with BighubGuard(bighub=bighub, tools=tools) as guard:
        return list(evaluate_steps(steps, guard)), bighub.log


def test_outcomes_are_reported_after_the_calls_evaluation_and_in_the_files_order() -> None:
    calls = [RecordedCall("t", index, "pay", {"order_id": f"o{index}"}) for index in range(2)]
    shadow_calls, log = evaluate(
        *calls,
        OutcomeKnown(calls[1], "FAILURE"),
        OutcomeKnown(calls[0], "SUCCESS"),
    )
    assert log == ["evaluate o0", "evaluate o1", "report o1 FAILURE", "report o0 SUCCESS"]
    assert [call.is_bad for call in shadow_calls] == [False, True]


def test_the_same_call_made_twice_is_two_calls() -> None:
    calls = [RecordedCall("t", 0, "pay", {"order_id": "o"}) for _ in range(2)]
    shadow_calls, _ = evaluate(*calls, OutcomeKnown(calls[1], "FAILURE"))
    assert [call.is_bad for call in shadow_calls] == [None, True]


@pytest.mark.parametrize(
    ("arguments", "target", "value"),
    [
        ({}, None, None),
        ({"user_id": "u", "order_id": "o"}, "o", None),
        ({"invoice_id": 7}, "7", None),
        ({"order_id": ["a"], "ticket_id": "t"}, "t", None),
        ({"amount": 12.5}, None, 12.5),
        ({"amount": "12.5"}, None, 12.5),
        ({"amount": -3}, None, 3.0),
        ({"amount": True, "total": 4}, None, 4.0),
        ({"amount": "a lot"}, None, None),
        ({"amount": float("inf")}, None, None),
        ({"amount": 10**400}, None, None),
        ({"payments": [{"amount": 250}, {"amount": 5}, {"id": 1}]}, None, 255.0),
    ],
)
def test_target_and_value_are_found_by_common_names(
    arguments: Mapping[str, Any], target: str | None, value: float | None
) -> None:
    assert (find_target(arguments), find_value(arguments)) == (target, value)
