"""What is wrong with a call or a setting before anybody is asked."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.runtime import ExecutionInfo
from pydantic import BaseModel, ValidationError

from bighub_langgraph.core.errors import JournalError
from bighub_langgraph.core.ports import Journal
from bighub_langgraph.graph.langgraph_internals import checkpointer_of, unreadable_run
from bighub_langgraph.journal.memory import MemoryJournal

REMEDY = 'pass journal=Journal("sqlite:///calls.db") to the guard'


def faults(
    calls: Sequence[Mapping[str, Any]],
    tools: Mapping[str, BaseTool] | None,
    config: RunnableConfig,
    info: ExecutionInfo | None,
    *,
    complete: bool = True,
) -> list[str | None]:
    """What is wrong with each call of a turn, for the model to read; None for a sound one.

    Args:
        calls: The calls of one AI message.
        tools: The tools there are, where that is known here.
        config: The task's configuration; where the guard cannot read it, no call may run.
        info: What LangGraph says of the task.
        complete: Whether there are no others; a ToolNode's own wrapper may bring some.
    """
    if problem := unreadable_run(config, info):
        return [did_not_run(call["name"], problem) for call in calls]
    ids = Counter(call.get("id") for call in calls)
    return [_fault(call, ids, tools, complete=complete) for call in calls]


def did_not_run(name: str, reason: str) -> str:
    """What the model reads of a call that could not be proposed."""
    return f"{name} did not run: {reason}."


def _fault(
    call: Mapping[str, Any],
    ids: Counter[str | None],
    tools: Mapping[str, BaseTool] | None,
    *,
    complete: bool,
) -> str | None:
    name, call_id = call["name"], call.get("id")
    if not call_id:
        return did_not_run(name, "the call has no id")
    if ids[call_id] > 1:
        return did_not_run(name, f"{ids[call_id]} calls have the id {call_id}")
    if tools is None:
        return None
    if name not in tools:
        if not complete:
            return None
        known = ", ".join(tools) or "none"
        return did_not_run(name, f"there is no such tool; the tools are: {known}")
    return misfit(tools[name], call["args"])


def misfit(tool: BaseTool, arguments: Mapping[str, Any]) -> str | None:
    """Why arguments do not fit a tool; None when they do, or when its schema is not pydantic's."""
    schema = tool.tool_call_schema
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        return None
    try:
        schema.model_validate(dict(arguments))
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}"
            for one in error.errors(include_url=False, include_input=False)
            if one["loc"] != BY_NAME
        )
        if wrong:
            return f"{tool.name} did not run: its arguments do not fit ({wrong}). Mend them."
    return None


# A ToolNode fills this parameter by its name, also where its type does not say so.
BY_NAME = ("runtime",)


def refuse_forgetful(journal: Journal, config: RunnableConfig) -> None:
    """Refuse a journal that forgets under a checkpointer that remembers.

    After a restart such a thread would be resumed, and nobody would know what had run already.
    """
    saver = checkpointer_of(config)
    if journal.durable or not saver or isinstance(saver, InMemorySaver):
        return
    kind = type(saver).__name__
    if isinstance(journal, MemoryJournal) and journal.chosen:
        warnings.warn(
            f"the journal is in memory, but {kind} outlives the process: after a restart a call "
            f"may run again; {REMEDY}",
            stacklevel=2,
        )
        return
    raise JournalError(
        f"{kind} outlives the process and the guard's journal does not, so after a restart nobody "
        f"would know which calls ran: {REMEDY}"
    )
