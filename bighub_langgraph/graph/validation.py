"""Errors of calls, edits and settings that are found before a call is evaluated."""

import functools
import inspect
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from difflib import get_close_matches
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import AliasChoices, AliasPath, BaseModel, ValidationError, create_model

from bighub_langgraph.core.approval_answers import ApprovalAnswer, InvalidApprovalResponse
from bighub_langgraph.core.errors import InvalidCall, JournalError
from bighub_langgraph.core.json_schema import find_schema_errors
from bighub_langgraph.core.jsonable import find_non_finite, short_repr
from bighub_langgraph.core.models import ToolCall
from bighub_langgraph.core.policy import GuardSettings, build_evaluation_request
from bighub_langgraph.core.ports import JournalPort
from bighub_langgraph.graph.langgraph_internals import unreadable_run
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
        if reason := find_problem(call):
            return did_not_run(call.tool or "the call", reason)
        return find_argument_errors((tools or {}).get(call.tool), call.arguments)

    def find_problem(call: ToolCall) -> str | None:
        if problem or not call.call_id:
            return problem or "the call has no id"
        if ids[call.call_id] > 1:
            return f"{ids[call.call_id]} calls have the id {call.call_id}"
        if not isinstance(call.arguments, Mapping):
            return "its arguments are not a complete JSON object; send the whole call again"
        if tools is None or call.tool in tools or not all_tools_known:
            return None
        return f"there is no such tool; the tools are: {', '.join(tools) or 'none'}"

    return [find_error(call) for call in calls]


def did_not_run(name: str, reason: str) -> str:
    """Return the answer to a call that could not be evaluated."""
    return f"{name} did not run: {reason}."


def find_argument_errors(tool: BaseTool | None, arguments: Mapping[str, Any]) -> str | None:
    """Return why arguments do not fit a tool; None if they do, or if the tool is not known here."""
    if tool is None:
        return None
    schema = _arguments_schema(tool)
    if isinstance(schema, dict):  # as MCP tools have it
        errors = list(map(str, find_schema_errors(schema, dict(arguments))))
    elif issubclass(schema, BaseModel):
        errors = _find_unknown_arguments(tool, schema, arguments)
        errors += _find_model_errors(schema, arguments)
    else:
        return None
    if not errors:
        return None
    text = "; ".join(errors)
    return f"{tool.name} did not run: its arguments do not fit ({text}). Correct them."


def find_non_finite_error(tool: BaseTool, arguments: Mapping[str, Any]) -> str | None:
    """Return which arguments a tool reads as infinite or NaN; the tool itself checks the others."""
    schema = _arguments_schema(tool)
    if isinstance(schema, dict) or not issubclass(schema, BaseModel):
        return None
    try:
        return "; ".join(_list_non_finite(schema.model_validate(dict(arguments)))) or None
    except ValidationError:
        return None


def _arguments_schema(tool: BaseTool) -> Any:
    """Return what reads the arguments of a call: a JSON schema or a model.

    LangChain's `tool_call_schema` loses the aliases of the tool's own model.
    """
    schema: Any = tool.tool_call_schema
    own = tool.args_schema
    if isinstance(schema, dict) or not isinstance(own, type) or not issubclass(own, BaseModel):
        return schema
    names = [name for name in own.model_fields if name in schema.model_fields]
    if any(own.model_fields[name].validation_alias for name in names):
        return _select_fields(own, *names)
    return schema


@functools.lru_cache
def _select_fields(model: type[BaseModel], *names: str) -> type[BaseModel]:
    fields: Any = {
        name: (model.model_fields[name].annotation, model.model_fields[name]) for name in names
    }
    return create_model(model.__name__, __config__=model.model_config, **fields)


def check_edit(
    answer: ApprovalAnswer, tools: Mapping[str, BaseTool], settings: GuardSettings
) -> None:
    """Check the arguments of a person's edit, where the tools are known.

    Raises:
        InvalidApprovalResponse: They do not fit; the message says why.
    """
    if answer.arguments is None or not tools:
        return
    if answer.tool not in tools:
        raise InvalidApprovalResponse(f"an edit names {answer.tool!r}, which is no tool here")
    if error := find_argument_errors(tools[answer.tool], answer.arguments):
        raise InvalidApprovalResponse(error)
    try:  # the policy's own functions may raise for these arguments
        edited_call = ToolCall("", "", answer.call_id, answer.tool, answer.arguments)
        build_evaluation_request(edited_call, settings)
    except InvalidCall as invalid:
        raise InvalidApprovalResponse(str(invalid)) from invalid


def _find_unknown_arguments(
    tool: BaseTool, schema: type[BaseModel], arguments: Mapping[str, Any]
) -> list[str]:
    if arguments.keys() <= schema.model_fields.keys():
        return []
    names = parameter_names(tool)
    if names is None or not (unknown := [name for name in arguments if name not in names]):
        return []
    name_list = ", ".join(map(short_repr, unknown[:5]))
    return [f"it has no argument {name_list}, only {', '.join(sorted(names)) or 'none'}"]


def _find_model_errors(schema: type[BaseModel], arguments: Mapping[str, Any]) -> list[str]:
    try:
        values = schema.model_validate(dict(arguments))
    except ValidationError as error:
        return [
            f"{'.'.join(map(str, item['loc'])) or 'arguments'}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
            if item["loc"] != RUNTIME_PARAMETER
        ]
    return _list_non_finite(values)


def _list_non_finite(values: BaseModel) -> list[str]:
    return [f"{'.'.join(path)}: a finite number is expected" for path in find_non_finite(values)]


def parameter_names(tool: BaseTool) -> frozenset[str] | None:
    """Return the names of the arguments that a tool takes; None where it takes any."""
    schema = _arguments_schema(tool)
    if isinstance(schema, dict):
        properties = schema.get("properties")
        is_closed = schema.get("additionalProperties") is False
        return frozenset(properties) if is_closed and isinstance(properties, dict) else None
    function = getattr(tool, "func", None) or getattr(tool, "coroutine", None)
    if function is None or not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        return None
    parameters = inspect.signature(function).parameters.values()
    is_open = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    if is_open or schema.model_config.get("extra") == "allow":
        return None
    names = set(schema.model_fields)
    for field in schema.model_fields.values():
        aliases = (field.alias, field.validation_alias)
        names |= {alias for alias in aliases if isinstance(alias, str)}
        if isinstance(field.validation_alias, AliasChoices | AliasPath):
            return None
    return frozenset(names)


def warn_about_policies(policies: AbstractSet[str], tools: AbstractSet[str]) -> None:
    """Warn of policies whose names are near misses: they belong to no tool here."""
    for name in policies - tools:
        close = get_close_matches(name.lower(), tools - policies, n=1, cutoff=0.8)
        if close:
            warnings.warn(
                f"the guard has a policy for {name!r}, but the tool here is called {close[0]!r}: "
                "no policy applies to it",
                stacklevel=3,
            )


def check_journal(journal: JournalPort, saver: object) -> None:
    """Refuse a journal in memory under a checkpointer that outlives the process.

    After a restart such a thread would be resumed without any record of the calls that ran.

    Raises:
        JournalError: The journal is not durable and the checkpointer is.
    """
    if journal.durable or not isinstance(saver, BaseCheckpointSaver):
        return
    if isinstance(saver, InMemorySaver):
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
