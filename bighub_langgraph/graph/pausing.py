"""Where a wrapper around a tool call may pause its task, and where it may not."""

from langgraph.prebuilt.tool_node import ToolCallRequest

from bighub_langgraph.core.models import CallRecord
from bighub_langgraph.graph.langgraph_internals import (
    checkpointer_of,
    is_sent,
    may_have_interrupted,
    unreadable_questions,
)
from bighub_langgraph.graph.state import Plan, message_of

ASK_ELSEWHERE = (
    "a person has to approve it, and here nobody can be asked: put the guard into the graph with "
    "add_guard(builder, tools, guard), compiled with checkpointer=..."
)
MOST_REMEMBERED = 10_000

# The first call of each task that asked somebody: a task has one question at most, because a
# second one would be answered by what the first was told.
_asking: dict[str, str] = {}


def reason_not_to_pause(request: ToolCallRequest) -> str | None:
    """Why no person can be asked in this task; None where one can be.

    It takes a checkpointer, and one call alone. The call's message needs an id, too, or the answer
    would not find the call it is about.
    """
    config = request.runtime.config
    message = message_of(request.state, request.tool_call["id"])
    if checkpointer_of(config) is None or message is None or message.id is None:
        return ASK_ELSEWHERE
    if problem := unreadable_questions(config):
        return f"a person has to approve it, and {problem}"
    alone = is_sent(config) or len(message.tool_calls) == 1
    if alone and not may_have_interrupted(config) and _first_to_ask(request):
        return None
    return ASK_ELSEWHERE


def may_ask_again(request: ToolCallRequest, record: CallRecord, plan: Plan) -> bool:
    """Whether a person can be asked about a call in doubt in the task that ran it.

    Only when this task has asked nobody so far, or the old answer would count as the new one: a
    yes from before the task stands in the plan, one of this task does not.
    """
    elsewhere = any(
        one["id"] == record.call_id and (one["next"] == "execute" or "edit" in one)
        for one in plan["calls"]
    )
    asked_here = record.starts > 1 or (record.approval is not None and not elsewhere)
    return not asked_here and reason_not_to_pause(request) is None


def _first_to_ask(request: ToolCallRequest) -> bool:
    info = request.runtime.execution_info
    if info is None:
        return False
    call_id = request.tool_call["id"] or ""
    if len(_asking) > MOST_REMEMBERED:
        _asking.clear()
    return _asking.setdefault(info.task_id, call_id) == call_id
