"""One approval settled by its request id alone, as users of the published adapter do it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from bighub_langgraph.core.decision import parse_decision
from bighub_langgraph.core.execution import record_answer
from bighub_langgraph.core.jsonable import to_jsonable
from bighub_langgraph.core.lifecycle import DecisionMade, apply_event
from bighub_langgraph.core.models import (
    Answer,
    Approval,
    CallRecord,
    State,
    ToolCall,
    ToolFailed,
    ToolSucceeded,
    Verdict,
    digest,
)
from bighub_langgraph.core.policy import build_evaluation_request
from bighub_langgraph.openai.errors import StateRefused
from bighub_langgraph.openai.host import Host

__all__ = ["Resolution", "resolved"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resolution:
    """What somebody answers to a request of BIGHUB's."""

    tool: str
    arguments: Json
    request_id: str
    resolution: str
    comment: str | None


async def resolved(asked: Resolution, host: Host, tell: Callable[[], Awaitable[Any]]) -> Json:
    """Tell BIGHUB, and run the call, once, when BIGHUB agrees that it is approved.

    Another tool or other arguments than were asked about are refused before BIGHUB is told
    anything.
    """
    known = _meant(asked, await host.ports.find_by_request_id(asked.request_id))
    reply = await tell()
    words = reply if isinstance(reply, Mapping) else {}
    approved = {
        str(words.get("status", "")).lower(),
        str(words.get("resolution", asked.resolution)).lower(),
    }
    yes = approved == {"approved"}
    told = {
        "request_id": asked.request_id,
        "resolved": True,
        "resumed": yes,
        "approval": to_jsonable(reply),
    }
    record = known or await _opened(asked, host)
    if record.state is State.AWAITING:
        record = await record_answer(record, _approval(asked, host, yes=yes), host.ports)
    if not yes:
        await host.deliver(record.turn)
        return told
    tool = host.tools[asked.tool]
    policy, bind = host.rules.policy_for(tool.name), partial(tool.parameters.bind, asked.arguments)
    ran = await host.runner.once(tool, policy, asked.arguments, record.key, bind)
    await host.deliver(record.turn)
    match ran.record.result:
        case ToolSucceeded(output):
            return {**told, "tool_output": to_jsonable(output)}
        case ToolFailed(error):
            return {**told, "tool_output": None, "error": error}
        case None:
            return {**told, "resumed": False, "error": ran.record.reason or None}


def key_of_request(request_id: str) -> str:
    """The key of a call that was settled by a request id which the journal did not know."""
    return digest(["approval", request_id])


def _meant(asked: Resolution, records: Sequence[CallRecord]) -> CallRecord | None:
    """The call that is asked about among those of its request; an open one before a settled one."""
    if not records:
        return None
    fitting = [one for one in records if _fits(asked, one)] or [_the_same(asked, records[0])]
    return next((one for one in fitting if not one.is_final), fitting[0])


async def _opened(asked: Resolution, host: Host) -> CallRecord:
    """Enter a request that only BIGHUB knows; its id alone names it, so that it runs once."""
    call = ToolCall(asked.request_id, "approval", asked.request_id, asked.tool, asked.arguments)
    record = CallRecord.of(
        call, build_evaluation_request(call, host.rules, session=host.session), host.ports.clock()
    )
    # The key says nothing of tool and arguments, so the turn does.
    record = replace(record, key=key_of_request(asked.request_id), turn=call.key)
    review = {"recommendation": "review_recommended", "requires_approval": True}
    decision = parse_decision({**review, "request_id": asked.request_id})
    [stored] = await host.ports.insert(
        [apply_event(record, DecisionMade(decision, Verdict.REVIEW))]
    )
    return _the_same(asked, stored)


def _the_same(asked: Resolution, record: CallRecord) -> CallRecord:
    """Refuse to run under somebody's yes what that person was not asked about."""
    if _fits(asked, record):
        return record
    what = (
        f"with other arguments than these for {asked.tool!r}"
        if record.tool == asked.tool
        else f"about the tool {record.tool!r}, not {asked.tool!r}"
    )
    raise StateRefused(f"request {asked.request_id} was asked {what}; nothing was run")


def _fits(asked: Resolution, record: CallRecord) -> bool:
    tool, arguments = asked.tool, asked.arguments
    alone = ToolCall(asked.request_id, "approval", asked.request_id, tool, arguments).key
    of_run = ToolCall(record.thread, record.turn, record.call_id, tool, arguments).key
    return record.key == of_run or record.turn == alone


def _approval(asked: Resolution, host: Host, *, yes: bool) -> Approval:
    said = asked.comment or ""
    what = Answer.APPROVE if yes else Answer.REJECT
    return Approval(what, host.ports.clock(), text="" if yes else said or "denied", comment=said)
