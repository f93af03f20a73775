"""Where a wrapper around a tool call may pause its task, and where it may not."""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.prebuilt.tool_node import ToolCallRequest

from bighub_langgraph.core.record import Record
from bighub_langgraph.graph.state import Plan, checkpointer_of, message_of

MOST_REMEMBERED = 10_000

# The first call of each task that asked somebody: a task has one question at most, because a
# second one would be answered by what the first was told.
_asking: dict[str, str] = {}


def may_pause(request: ToolCallRequest) -> bool:
    """Whether a person can be asked in this task: there is a checkpointer, and one call alone.

    The call's message needs an id, too, or the answer would not find the call it is about.
    """
    config = request.runtime.config
    message = message_of(request.state, request.tool_call["id"])
    if not checkpointer_of(config) or message is None or message.id is None:
        return False
    return (
        not _somebody_asked(config)
        and (_sent(config) or len(message.tool_calls) == 1)
        and _first_to_ask(config, request)
    )


def may_ask_again(request: ToolCallRequest, record: Record, plan: Plan) -> bool:
    """Whether a person can be asked about a call in doubt in the task that ran it.

    Only when this task has asked nobody so far, or the old answer would count as the new one: a
    yes from before the task stands in the plan, one of this task does not.
    """
    elsewhere = any(
        one["id"] == record.call_id and (one["next"] == "execute" or "edit" in one)
        for one in plan["calls"]
    )
    asked_here = record.starts > 1 or (record.approval is not None and not elsewhere)
    return not asked_here and may_pause(request)


def has_answer(request: ToolCallRequest) -> bool:
    """Whether this task was resumed with an answer."""
    scratchpad = request.runtime.config.get("configurable", {}).get("__pregel_scratchpad")
    if scratchpad is None:
        return False
    return bool(scratchpad.resume) or scratchpad.get_null_resume() is not None


def _somebody_asked(config: RunnableConfig) -> bool:
    """Whether a wrapper outside has asked something in this task before."""
    scratchpad = config.get("configurable", {}).get("__pregel_scratchpad")
    counter = getattr(scratchpad, "interrupt_counter", None)
    return getattr(counter, "_counter", None) is not None


def _sent(config: RunnableConfig) -> bool:
    """Whether the task was made by a `Send`; LangChain's and our edges send calls one by one."""
    triggers = config.get("metadata", {}).get("langgraph_triggers", ())
    return tuple(triggers) == ("__pregel_push",)


def _first_to_ask(config: RunnableConfig, request: ToolCallRequest) -> bool:
    task: Any = config.get("configurable", {}).get("__pregel_task_id")
    call_id = request.tool_call["id"] or ""
    if len(_asking) > MOST_REMEMBERED:
        _asking.clear()
    return _asking.setdefault(str(task), call_id) == call_id
