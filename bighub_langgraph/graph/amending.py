"""A plan of a turn beside what became of it: other messages, and a person's answers."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage

from bighub_langgraph.core.lifecycle import next_step
from bighub_langgraph.core.models import Step
from bighub_langgraph.graph.questions import Settled
from bighub_langgraph.graph.state import Plan, Planned


def covers(plan: Plan, message: AIMessage, calls: Sequence[Any]) -> bool:
    """Whether a plan is about exactly these calls."""
    planned = {one["id"]: one for one in plan["calls"]}
    return plan["turn"] == message.id and all(
        _is_about(planned.get(one["id"] or ""), one) for one in calls
    )


def _is_about(planned: Planned | None, call: Any) -> bool:
    if planned is None:
        return False
    if "fault" in planned or "edit" in planned:
        return True
    return (planned["name"], planned["args"]) == (call["name"], call["args"])


def is_over(settled: Settled) -> bool:
    """Whether a call is answered in place: it will not run, and nobody is asked again."""
    over = next_step(settled.record) in {Step.REPORT, Step.NOTHING}
    return over and settled.edited is None and settled.record.result is None


def after_answers(call: Planned, settled: Sequence[Settled]) -> Planned:
    """A call of the plan after the answers."""
    mine = next((one for one in settled if one.call["id"] == call["id"]), None)
    if mine is None:
        return call
    if mine.edited is not None:  # evaluated where it runs
        return mine.edited
    over = "done" if is_over(mine) else "execute"
    return {**call, "next": "ask" if next_step(mine.record) is Step.ASK else over}  # type: ignore[typeddict-item]
