"""Where a turn goes next, read from its plan alone."""

from collections.abc import Sequence
from typing import Any

from langgraph.types import Send

from bighub_langgraph.graph.state import CHANNEL, GuardState, Plan, Planned, part_of, read

APPROVE = "approve"
EVALUATE = "evaluate"
REPORT = "report"
TOOLS = "tools"


def route_by_recommendation(state: GuardState) -> list[Send | str]:
    """Send every allowed call to `tools` on its own, and those that need a person to `approve`.

    With nothing to run and nothing to ask it goes to `report`.
    """
    plan: Plan | None = read(state, CHANNEL)
    goto: list[Send | str] = []
    if plan:
        goto += [to_tools(plan, one) for one in plan["calls"] if one["next"] == "execute"]
        goto += to_people(plan, [one for one in plan["calls"] if one["next"] == "ask"])
    return goto or [REPORT]


def to_tools(plan: Plan, call: Planned) -> Send:
    """One call on its way to the tools: an ordinary tool call, and the way to its record."""
    tool_call: dict[str, Any] = {
        "name": call["name"],
        "args": call["args"],
        "id": call["id"],
        "type": "tool_call",
    }
    if call["key"] is not None:
        tool_call[CHANNEL] = {"thread": plan["thread"], "turn": plan["turn"]}
    return Send(TOOLS, [tool_call])


def to_people(plan: Plan, calls: Sequence[Planned], *, unclear: str = "") -> list[Send]:
    """The calls a person is asked about: in one question, or each in a question of its own."""
    if not calls:
        return []
    each = plan.get("per_call", False)
    parts = [[one] for one in calls] if each else [list(calls)]
    sends = []
    for part in parts:
        asking = part_of(plan, part)
        if unclear:
            asking["unclear"] = unclear
        sends.append(Send(APPROVE, {CHANNEL: asking}))
    return sends


def to_evaluation(plan: Plan, calls: Sequence[Planned]) -> list[Send]:
    """Calls that BIGHUB has to see again: a person edited them, or the journal forgot them."""
    return [Send(EVALUATE, {CHANNEL: part_of(plan, calls)})] if calls else []
