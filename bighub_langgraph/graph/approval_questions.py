"""What people are shown of calls: an interrupt's payload, and what other processes show of it."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from pydantic import BeforeValidator, WithJsonSchema

from bighub_langgraph.core.approval_answers import (
    UNKNOWN_ANSWERS,
    InvalidApprovalResponse,
    PendingApproval,
    build_answer_schema,
)
from bighub_langgraph.core.argument_patch import build_pointer
from bighub_langgraph.core.context import log_fields
from bighub_langgraph.core.evidence import build_evidence, describe_call, describe_votes
from bighub_langgraph.core.jsonable import copy_jsonable, to_jsonable
from bighub_langgraph.core.models import ASKABLE_STATES, Answer, CallRecord, State
from bighub_langgraph.core.policy import GuardSettings
from bighub_langgraph.core.ports import ApprovalQuestion
from bighub_langgraph.core.reporting import ReportingConfig
from bighub_langgraph.graph.langgraph_internals import execution_info
from bighub_langgraph.graph.plan import CHANNEL, Plan, thread_id_of
from bighub_langgraph.graph.validation import parameter_names

log = logging.getLogger("bighub_langgraph")


class ShownCall(NamedTuple):
    """A call that a person is asked about, the answers it takes, and what `build_evidence` says."""

    call: PendingApproval
    record: CallRecord
    evidence: dict[str, Any]

    @classmethod
    def of(cls, call: PendingApproval, record: CallRecord) -> "ShownCall":
        """Return a call with its evidence."""
        return cls(call, record, build_evidence(record))


def build_pending_calls(
    plan: Plan,
    records: Sequence[CallRecord],
    settings: GuardSettings,
    shown_states: Mapping[str, tuple[str, int]],
    *,
    allow_edits: bool,
) -> list[PendingApproval]:
    """Build what a person is asked about the calls of a plan, by the states that were shown."""
    pending_calls = []
    for call, record in zip(plan["calls"], records, strict=True):
        state, _ = shown_states.get(record.key, (record.state, 0))
        is_unknown = state == State.UNKNOWN
        choices = settings.allowed_decisions(call["name"])
        if not allow_edits:
            choices = [item for item in choices if item is not Answer.EDIT] or [Answer.REJECT]
        pending_calls.append(
            PendingApproval(
                call["id"],
                call["name"],
                call["args"],
                UNKNOWN_ANSWERS if is_unknown else choices,
                settings.approvals.allow_tool_change,
                key=record.key,
                outcome_unknown=is_unknown,
            )
        )
    return pending_calls


def build_payload(
    plan: Plan,
    shown_calls: Sequence[ShownCall],
    settings: GuardSettings,
    tools: Mapping[str, BaseTool],
) -> dict[str, Any]:
    """Build the payload of an interrupt about the calls of a plan."""
    requests: list[dict[str, Any]] = []
    for shown_call in shown_calls:
        call = shown_call.call
        text = _describe(shown_call, call.arguments, settings, tools)
        description = f"{plan['unclear']}\n{text}" if plan["unclear"] else text
        request = {"name": call.tool, "args": call.arguments, "description": description}
        requests.append({**request, CHANNEL: shown_call.evidence})
    if plan["per_call"]:
        call_id = shown_calls[0].call.call_id
        return {"type": "tool_approval", "tool_call_id": call_id, **requests[0]}
    answers = {item.call.tool: item.call.allowed_decisions for item in shown_calls}
    configs = [
        {"action_name": name, "allowed_decisions": [answer.value for answer in choices]}
        for name, choices in answers.items()
    ]
    return {"action_requests": requests, "review_configs": configs}


def build_question(
    shown_call: ShownCall,
    settings: GuardSettings,
    tools: Mapping[str, BaseTool],
    config: RunnableConfig,
) -> ApprovalQuestion:
    """Build what people are shown of a call, without what is redacted."""
    pending_call, record, evidence = shown_call
    info, tool = execution_info(config), tools.get(record.tool)
    shown_arguments = record.request.context.get("arguments")
    arguments = shown_arguments if isinstance(shown_arguments, Mapping) else {}
    own_text = settings.approvals.describe is not None
    text = _describe(shown_call, pending_call.arguments if own_text else arguments, settings, tools)
    return ApprovalQuestion(
        key=record.key,
        agent=settings.name,
        thread=thread_id_of(config) or record.thread,
        namespace=info.checkpoint_ns if info is not None else "",
        schema=_schema_of(tool),
        tool_description=tool.description if tool is not None else "",
        description=str(ReportingConfig(redact=settings.redact).redact_value(text)),
        evidence=to_jsonable(evidence),
        arguments=arguments,
        locked_pointers=tuple(_find_redacted(pending_call.arguments, shown_arguments)),
        allowed_decisions=tuple(answer.value for answer in pending_call.allowed_decisions),
        allow_tool_change=pending_call.allow_tool_change,
        guard=settings.description,
    )


def _describe(
    shown_call: ShownCall,
    arguments: Mapping[str, Any],
    settings: GuardSettings,
    tools: Mapping[str, BaseTool],
) -> str:
    """Return the text that a person reads."""
    text, record = "", shown_call.record
    if (describe := settings.approvals.describe) is not None:
        try:
            text = str(describe(record, copy_jsonable(arguments)))
        except Exception:
            message = "describe= raised; the person reads the usual text"
            log.exception(message, extra=log_fields(record))
    tool = tools.get(record.tool)
    if not text:
        names = parameter_names(tool) if tool else None
        text = describe_call(record, arguments, names, shown_call.evidence)
    return "\n".join(filter(None, [text, describe_votes(record)]))


def response_schema(
    pending_call: PendingApproval, parse: Callable[[object], Any] | None, *, per_call: bool
) -> Any:
    """Return the schema of a response; with `parse` a type that refuses what it refuses."""
    schema: Any = build_answer_schema(pending_call)
    if not per_call:
        decisions = {"type": "array", "items": schema}
        schema = {"type": "object", "properties": {"decisions": decisions}}
    if parse is None:
        return schema if per_call else None

    def check(response: object) -> object:
        try:
            parse(response)
        except InvalidApprovalResponse as error:
            raise ValueError(str(error)) from error
        return response

    return Annotated[Any, BeforeValidator(check), WithJsonSchema(schema)]


def find_shown_states(value: object) -> dict[str, tuple[str, int]]:
    """Return the states and starts of the calls that an interrupt of the guard shows, by key.

    Of any other interrupt it returns nothing.
    """
    requests = value.get("action_requests", [value]) if isinstance(value, Mapping) else ()
    evidence = [item.get(CHANNEL) for item in requests if isinstance(item, Mapping)]
    return {
        item["key"]: (item["state"], item["starts"])
        for item in evidence
        if isinstance(item, Mapping) and item.keys() >= {"key", "state", "starts"}
    }


def is_answered_since(shown_states: Mapping[str, tuple[str, int]], record: CallRecord) -> bool:
    """Whether a call was answered, or ended, after a question showed it in one of these states."""
    state, starts = shown_states.get(record.key, (record.state, record.starts))
    return state in ASKABLE_STATES and state != record.state and starts == record.starts


def _schema_of(tool: BaseTool | None) -> dict[str, Any]:
    """Return the JSON schema of a tool's arguments; an empty one where there is none.

    A function's schema does not say that there are no other arguments, so this one does.
    """
    if tool is None:
        return {}
    try:
        schema: Any = tool.tool_call_schema
        if isinstance(schema, dict):
            return dict(to_jsonable(schema))
        names = parameter_names(tool)
        name_rule = {} if names is None else {"propertyNames": {"enum": sorted(names)}}
        return dict(to_jsonable(schema.model_json_schema())) | name_rule
    except Exception:  # a type that JSON Schema cannot express
        log.exception("%s has no JSON schema, so its arguments are edited as JSON", tool.name)
        return {}


def _find_redacted(
    original: object, shown_arguments: object, path: tuple[str | int, ...] = ()
) -> Iterator[str]:
    """Yield the JSON pointers of the parts that are shown otherwise than they are."""
    if isinstance(original, Mapping) and isinstance(shown_arguments, Mapping):
        for name, member in shown_arguments.items():
            yield from _find_redacted(original.get(name, _MISSING), member, (*path, name))
    elif (
        isinstance(original, list)
        and isinstance(shown_arguments, list)
        and len(original) == len(shown_arguments)
    ):
        for index, pair in enumerate(zip(original, shown_arguments, strict=True)):
            yield from _find_redacted(*pair, (*path, index))
    elif original != shown_arguments:
        yield build_pointer(path)


_MISSING = object()
