"""Errors of calls and settings that are found before a call is evaluated."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel, ValidationError

from bighub_langgraph.core.errors import JournalError
from bighub_langgraph.core.models import ToolCall
from bighub_langgraph.core.ports import JournalPort
from bighub_langgraph.graph.langgraph_internals import checkpointer_of, unreadable_run
from bighub_langgraph.journal.memory_journal import MemoryJournal

REMEDY = 'pass journal=Journal("sqlite:///calls.db") to the guard'

# A ToolNode fills this parameter by its name, also where its type does not say so.
RUNTIME_PARAMETER = ("runtime",)


def find_errors(
    calls: Sequence[ToolCall],
    config: RunnableConfig,
    tools: Mapping[str, BaseTool] | None = None,
    *,
    all_tools_known: bool = True,
) -> list[str | None]:
    """Return what is wrong with each call of a turn, for the model; None for a valid call.

    Where the guard cannot read the task's configuration, no call may run. `tools` are the tools
    that are known here; a ToolNode's own wrapper may bring others.
    """
    problem = unreadable_run(config)
    ids = Counter(call.call_id for call in calls)

    def find_error(call: ToolCall) -> str | None:
        if problem:
            return did_not_run(call.tool, problem)
        if not call.call_id:
            return did_not_run(call.tool, "the call has no id")
        if ids[call.call_id] > 1:
            return did_not_run(call.tool, f"{ids[call.call_id]} calls have the id {call.call_id}")
        if tools is not None and call.tool in tools:
            return find_argument_errors(tools[call.tool], call.arguments)
        if tools is None or not all_tools_known:
            return None
        names = ", ".join(tools) or "none"
        return did_not_run(call.tool, f"there is no such tool; the tools are: {names}")

    return [find_error(call) for call in calls]


def did_not_run(name: str, reason: str) -> str:
    """Return the answer to a call that could not be evaluated."""
    return f"{name} did not run: {reason}."


def find_argument_errors(tool: BaseTool, arguments: Mapping[str, Any]) -> str | None:
    """Return why arguments do not fit a tool; None if they do, or without a pydantic schema."""
    schema = tool.tool_call_schema
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        return None
    try:
        schema.model_validate(dict(arguments))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'arguments'}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
            if item["loc"] != RUNTIME_PARAMETER
        )
        if problems:
            return f"{tool.name} did not run: its arguments do not fit ({problems}). Correct them."
    return None


def check_journal(journal: JournalPort, config: RunnableConfig) -> None:
    """Refuse a journal in memory under a checkpointer that outlives the process.

    After a restart such a thread would be resumed without any record of the calls that ran.

    Raises:
        JournalError: The journal is not durable and the checkpointer is.
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
