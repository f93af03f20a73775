"""Verify a stored run when it is loaded: its format, its signature, its tools, and the journal."""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any, Literal, get_type_hints

from bighub_langgraph.core.decision import parse_decision
from bighub_langgraph.core.errors import InvalidCall, InvalidDecisionError
from bighub_langgraph.core.lifecycle import DecisionMade, apply_event
from bighub_langgraph.core.models import (
    Approval,
    CallRecord,
    Decision,
    Recommendation,
    Verdict,
)
from bighub_langgraph.core.policy import build_evaluation_request
from bighub_langgraph.openai.arguments import parse_arguments
from bighub_langgraph.openai.errors import InvalidRunState
from bighub_langgraph.openai.events import build_call_event
from bighub_langgraph.openai.response_parsing import ModelResponse
from bighub_langgraph.openai.run import STORED_FIELDS, Run, RunContext, ToolCallState
from bighub_langgraph.openai.run_approvals import key_of_request
from bighub_langgraph.openai.tools import ToolRegistry

Json = dict[str, Any]


VERSION = 1
FORMAT = "bighub_langgraph.openai.run"


def parse_state(
    blob: Any, tools: ToolRegistry, signing_key: bytes | None
) -> tuple[Run, ModelResponse]:
    """Parse what `RunState.to_json` returned.

    Raises:
        InvalidRunState: It is not a stored run, or newer, changed, or not signed with this key.
    """
    try:
        text = blob if isinstance(blob, str | bytes | bytearray) else json.dumps(blob)
        fields = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRunState(f"the stored run is not JSON: {error}") from error
    if not isinstance(fields, Mapping):
        raise InvalidRunState("the stored run is not a JSON object")
    if fields.get("format") != FORMAT or not isinstance(fields.get("version"), int):
        raise InvalidRunState("this is not a run stored by `to_json`")
    if fields["version"] > VERSION:
        raise InvalidRunState(
            f"the run was stored by a newer version, {fields['version']}; "
            f"this one reads up to {VERSION}"
        )
    if signing_key is not None:
        unsigned_fields = {name: value for name, value in fields.items() if name != "signature"}
        signature = str(fields.get("signature", "")).encode(errors="replace")
        if not hmac.compare_digest(sign_blob(unsigned_fields, signing_key).encode(), signature):
            raise InvalidRunState(
                "the run's signature is missing or wrong; it was changed, or signed with another "
                "key"
            )
    try:
        _stored_shape().model_validate_json(json.dumps(fields), strict=True)
    except (ValueError, RecursionError) as error:  # also pydantic's
        raise InvalidRunState(f"the stored run cannot be read: {str(error)[:500]}") from error
    run, response = Run.from_json(fields["run"]), ModelResponse(**fields["response"])
    check_tools_unchanged(run, fields["fingerprints"], tools)
    return run, response


@cache
def _stored_shape() -> Any:
    """Return a model of pydantic that validates the shape of a stored run."""
    from pydantic import ConfigDict, create_model  # slow to load, and only needed here

    def shape(cls: type, names: Iterable[str], *, extra: str = "forbid", **others: Any) -> Any:
        hints = {name: hint for name, hint in get_type_hints(cls).items() if name in names}
        fields = {name: (hint, ...) for name, hint in hints.items()} | others
        config = ConfigDict(extra=extra, protected_namespaces=())  # type: ignore[typeddict-item]
        return create_model(cls.__name__, __config__=config, **fields)

    approver = shape(Approval, ("approver", "comment"))
    call = shape(ToolCallState, STORED_FIELDS, kind=(Literal["function", "mcp", "custom"], ...))
    settings = shape(dict, (), extra="allow", model=(str, ...), tools=(list[Any] | None, None))
    run = shape(
        Run,
        Run._fields,
        calls=(list[call], ...),  # type: ignore[valid-type]
        settings=(settings, ...),
        standing_approvals=(dict[str, approver], ...),  # type: ignore[valid-type]
        turn_ids=(list[str], []),  # runs that were stored earlier have none
    )
    response = shape(ModelResponse, ModelResponse._fields)
    parts = {"run": run, "response": response, "fingerprints": dict[str, str]}
    fields = {name: (part, ...) for name, part in parts.items()}
    return shape(object, (), extra="allow", **fields)


def _check_shown(call: ToolCallState, run: Run) -> None:
    """Check that the event which a person reads is about the call that would run."""
    shown_fields = {name: call.event.get(name) for name in ("tool", "call_id", "arguments")}
    runs: Json = {"tool": call.tool, "call_id": call.call_id, "arguments": call.arguments}
    if call.kind == "mcp":
        item: Json = next((item for item in run.items if item.get("id") == call.call_id), {})
        shown_fields["server_label"] = call.event.get("server_label")
        runs |= {"tool": item.get("name"), "server_label": item.get("server_label")}
        with suppress(InvalidCall):
            runs["arguments"] = parse_arguments(item.get("arguments"), call.tool)
    is_readable = isinstance(call.event.get("decision"), dict) and shown_fields["tool"] == call.tool
    is_same = shown_fields == runs and shown_fields["arguments"] == call.arguments
    if not (is_same and is_readable) or (call.kind == "function" and not call.key):
        raise InvalidRunState(
            f"what is shown of call {call.call_id} ({call.tool}) is not what would run; "
            "start the run again"
        )


def fingerprint_tools(calls: Sequence[ToolCallState], tools: ToolRegistry) -> dict[str, str]:
    """Return the fingerprints of the tools of these calls, by name."""
    names = {call.tool for call in calls if call.kind == "function"}
    return {tool.name: tool.fingerprint for tool in tools if tool.name in names}


def check_tools_unchanged(run: Run, fingerprints: Any, tools: ToolRegistry) -> None:
    """Check that the tools of pending calls are those that people were asked about.

    Raises:
        InvalidRunState: A tool is missing, or was registered with another schema.
    """
    registered_fingerprints = fingerprint_tools(run.pending_calls, tools)
    stored_fingerprints = fingerprints if isinstance(fingerprints, Mapping) else {}
    for call in run.pending_calls:
        fingerprint = registered_fingerprints.get(call.tool)
        if call.kind == "function" and (
            fingerprint is None or stored_fingerprints.get(call.tool) != fingerprint
        ):
            raise InvalidRunState(
                f"tool {call.tool!r} is not the one that was asked about: "
                "register it as it was, or start the run again"
            )


def sign_blob(blob: Mapping[str, Any], key: bytes) -> str:
    """Return the signature of a stored run."""
    text = json.dumps(blob, sort_keys=True, separators=(",", ":")).encode()
    return hmac.new(key, text, hashlib.sha256).hexdigest()


async def check_against_journal(run: Run, context: RunContext, *, is_signed: bool) -> Run:
    """Check that the journal knows the pending calls; record them where it cannot.

    Returns the run with what the journal says about its calls, for people to read.

    A durable journal knows every call that was evaluated. One in memory cannot know the calls of
    another process: then the stored run is believed, or proven by its signature.

    Raises:
        InvalidRunState: A call was changed, or is not in the journal.
    """
    ports = context.ports
    calls_by_key = {call.key: call for call in run.calls if call.kind == "function" and call.key}
    for key, call in calls_by_key.items():
        if run.to_tool_call(call).key != key:
            raise InvalidRunState(
                f"call {call.call_id} ({call.tool}) was changed after it was asked about"
            )
    records = await ports.find(list(calls_by_key))
    missing_calls = [
        call for key, call in calls_by_key.items() if key not in records and call.is_pending
    ]
    if missing_calls and ports.journal.durable and not is_signed:
        names = ", ".join(f"{call.call_id} ({call.tool})" for call in missing_calls)
        raise InvalidRunState(
            f"the journal does not hold {names}; "
            "use the journal that the run was started with, or signing_key="
        )
    for call in missing_calls:
        if call.request_id and await ports.find([key_of_request(call.request_id)]):
            raise InvalidRunState(
                f"call {call.call_id} ({call.tool}) was answered by its request id "
                f"{call.request_id} before; nothing was run again"
            )
    for call in run.pending_calls:
        _check_shown(call, run)
    await ports.insert([_rebuild_record(call, run, context) for call in missing_calls])
    return run._replace(
        calls=[_with_journal_event(call, records.get(call.key or ""), run) for call in run.calls]
    )


def _with_journal_event(call: ToolCallState, record: CallRecord | None, run: Run) -> ToolCallState:
    if record is None or not call.is_pending:
        return call
    source_version = str(call.event.get("source_version"))
    event = build_call_event(record, call.arguments, run.run_id, source_version, call.repeats)
    return call._replace(event=event)


def _rebuild_record(call: ToolCallState, run: Run, context: RunContext) -> CallRecord:
    tool_call = run.to_tool_call(call)
    try:
        request = build_evaluation_request(
            tool_call, context.settings, session=run.session_id, trajectory=run.run_id
        )
    except InvalidCall as error:
        raise InvalidRunState(f"call {call.call_id} cannot be resumed: {error}") from error
    record = CallRecord.of(tool_call, request, context.ports.clock())
    response = call.event.get("decision") or {}
    try:
        decision = parse_decision(response)
    except InvalidDecisionError:  # BIGHUB was unreachable when a person was asked
        decision = replace(
            Decision(response), recommendation=Recommendation.REVIEW, fault="unavailable"
        )
    return apply_event(record, DecisionMade(decision, Verdict.REVIEW))
