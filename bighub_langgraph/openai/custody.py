"""A stored run against the journal: its open calls must be the ones that were asked about."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bighub_langgraph.core.decision import parse_decision
from bighub_langgraph.core.errors import InvalidCall, InvalidDecisionError
from bighub_langgraph.core.lifecycle import DecisionMade, apply_event
from bighub_langgraph.core.models import CallRecord, Decision, Recommendation, ToolCall, Verdict
from bighub_langgraph.core.policy import GuardSettings, build_evaluation_request
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.openai.errors import StateRefused
from bighub_langgraph.openai.resolution import key_of_request
from bighub_langgraph.openai.state import Stored
from bighub_langgraph.openai.talk import OpenCall, Talk

__all__ = ["taken_in"]

Json = dict[str, Any]


async def taken_in(stored: Stored, rules: GuardSettings, ports: Ports, session: str) -> Talk:
    """Refuse a run whose calls the journal does not hold; enter them where no journal is shared.

    A journal that outlives the process knows every call that was asked about. One in memory cannot
    know another process's: then the blob is believed, or proven by its signature.
    """
    talk = stored.talk
    ours = [call for call in talk.open if call.kind == "function" and call.key is not None]
    for call in ours:
        if _call(talk, call).key != call.key:
            raise StateRefused(
                f"call {call.call_id} ({call.tool}) was changed after it was asked about"
            )
    known = await ports.find([call.key for call in ours if call.key])
    missing = [call for call in ours if call.key not in known and not call.settled]
    if missing and ports.journal.durable and not stored.signed:
        names = ", ".join(f"{call.call_id} ({call.tool})" for call in missing)
        raise StateRefused(
            f"the journal does not hold {names}; "
            "use the journal that the run was started with, or signing_key="
        )
    await _refuse_settled(missing, ports)
    await ports.insert([_record(talk, call, rules, ports, session) for call in missing])
    return talk


async def _refuse_settled(calls: Sequence[OpenCall], ports: Ports) -> None:
    """Refuse a call that was settled by its request id alone, under a key of that id."""
    for call in calls:
        request_id = (call.waiting or {}).get("request_id")
        if request_id and await ports.find([key_of_request(request_id)]):
            raise StateRefused(
                f"call {call.call_id} ({call.tool}) was settled by its request id {request_id} "
                "before; nothing was run again"
            )


def _call(talk: Talk, call: OpenCall) -> ToolCall:
    return ToolCall(talk.run_id, talk.turn or "", call.call_id, call.tool, call.arguments)


def _record(
    talk: Talk, call: OpenCall, rules: GuardSettings, ports: Ports, session: str
) -> CallRecord:
    asked = _call(talk, call)
    try:
        proposal = build_evaluation_request(asked, rules, session=session, trajectory=talk.run_id)
    except InvalidCall as error:
        raise StateRefused(f"call {call.call_id} cannot be taken up: {error}") from error
    record = CallRecord.of(asked, proposal, ports.clock())
    return apply_event(record, DecisionMade(_decision(call), Verdict.REVIEW))


def _decision(call: OpenCall) -> Decision:
    reply = (call.waiting or {}).get("decision") or {}
    try:
        return parse_decision(reply)
    except InvalidDecisionError:  # BIGHUB was away when a person was asked
        return replace(Decision(reply), recommendation=Recommendation.REVIEW, fault="unavailable")
