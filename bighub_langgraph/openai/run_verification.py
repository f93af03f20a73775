"""Verify a stored run when it is loaded: its format, its signature, its tools, and the journal."""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bighub_langgraph.core.decision import parse_decision
from bighub_langgraph.core.errors import InvalidCall, InvalidDecisionError
from bighub_langgraph.core.lifecycle import DecisionMade, apply_event
from bighub_langgraph.core.models import CallRecord, Decision, Recommendation, Verdict
from bighub_langgraph.core.policy import build_evaluation_request
from bighub_langgraph.openai.errors import InvalidRunState
from bighub_langgraph.openai.response_parsing import ModelResponse
from bighub_langgraph.openai.run import Run, RunContext, ToolCallState
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
        stored = json.loads(blob) if isinstance(blob, str | bytes | bytearray) else blob
    except ValueError as error:
        raise InvalidRunState(f"the stored run is not JSON: {error}") from error
    if not isinstance(stored, Mapping):
        raise InvalidRunState("the stored run is not a JSON object")
    if stored.get("format") != FORMAT or not isinstance(stored.get("version"), int):
        raise InvalidRunState("this is not a run stored by `to_json`")
    if stored["version"] > VERSION:
        raise InvalidRunState(
            f"the run was stored by a newer version, {stored['version']}; "
            f"this one reads up to {VERSION}"
        )
    if signing_key is not None:
        unsigned = {name: value for name, value in stored.items() if name != "signature"}
        signature = str(stored.get("signature", ""))
        if not hmac.compare_digest(sign_blob(unsigned, signing_key), signature):
            raise InvalidRunState(
                "the run's signature is missing or wrong; it was changed, or signed with another "
                "key"
            )
    try:
        run = Run.from_json(stored["run"])
        response = ModelResponse(**stored["response"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRunState(f"the stored run cannot be read: {error}") from error
    check_tools_unchanged(run, stored.get("fingerprints"), tools)
    return run, response


def fingerprint_tools(calls: Sequence[ToolCallState], tools: ToolRegistry) -> dict[str, str]:
    """Return the fingerprints of the tools of these calls, by name."""
    names = {call.tool for call in calls if call.kind == "function"}
    return {tool.name: tool.fingerprint for tool in tools if tool.name in names}


def check_tools_unchanged(run: Run, fingerprints: Any, tools: ToolRegistry) -> None:
    """Check that the tools of pending calls are those that people were asked about.

    Raises:
        InvalidRunState: A tool is missing, or was registered with another schema.
    """
    registered = fingerprint_tools(run.pending_calls, tools)
    stored = fingerprints if isinstance(fingerprints, Mapping) else {}
    for call in run.pending_calls:
        fingerprint = registered.get(call.tool)
        if call.kind == "function" and (
            fingerprint is None or stored.get(call.tool) != fingerprint
        ):
            raise InvalidRunState(
                f"tool {call.tool!r} is not the one that was asked about: "
                "register it as it was, or start the run again"
            )


def sign_blob(blob: Mapping[str, Any], key: bytes) -> str:
    """Return the signature of a stored run."""
    text = json.dumps(blob, sort_keys=True, separators=(",", ":")).encode()
    return hmac.new(key, text, hashlib.sha256).hexdigest()


async def check_against_journal(run: Run, context: RunContext, *, is_signed: bool) -> None:
    """Check that the journal knows the pending calls; record them where it cannot.

    A durable journal knows every call that was evaluated. One in memory cannot know the calls of
    another process: then the stored run is believed, or proven by its signature.

    Raises:
        InvalidRunState: A call was changed, or is not in the journal.
    """
    ports = context.ports
    recorded = {call.key: call for call in run.calls if call.kind == "function" and call.key}
    for key, call in recorded.items():
        if run.to_tool_call(call).key != key:
            raise InvalidRunState(
                f"call {call.call_id} ({call.tool}) was changed after it was asked about"
            )
    records = await ports.find(list(recorded))
    missing = [call for key, call in recorded.items() if key not in records and call.is_pending]
    if missing and ports.journal.durable and not is_signed:
        names = ", ".join(f"{call.call_id} ({call.tool})" for call in missing)
        raise InvalidRunState(
            f"the journal does not hold {names}; "
            "use the journal that the run was started with, or signing_key="
        )
    for call in missing:
        if call.request_id and await ports.find([key_of_request(call.request_id)]):
            raise InvalidRunState(
                f"call {call.call_id} ({call.tool}) was answered by its request id "
                f"{call.request_id} before; nothing was run again"
            )
    await ports.insert([_rebuild_record(call, run, context) for call in missing])


def _rebuild_record(call: ToolCallState, run: Run, context: RunContext) -> CallRecord:
    tool_call = run.to_tool_call(call)
    try:
        request = build_evaluation_request(
            tool_call, context.settings, session=context.session_id, trajectory=run.run_id
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
