"""One approval settled by its request id alone, as users of the published adapter do it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bighub_langgraph.core.call import ToolCall
from bighub_langgraph.core.decision import parse_decision
from bighub_langgraph.core.flows import answer
from bighub_langgraph.core.plain import plain
from bighub_langgraph.core.proposing import propose
from bighub_langgraph.core.record import Answer, Approval, Executed, Failed, Record
from bighub_langgraph.core.transitions import Decided, advance
from bighub_langgraph.core.words import State, Verdict
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


async def resolved(
    asked: Resolution, host: Host, tell: Callable[[], Awaitable[Any]], key: str | None
) -> Json:
    """Tell BIGHUB, and run the call, once, when BIGHUB agrees that it is approved.

    `key` names the call's record where this process knows the request.
    """
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
        "approval": plain(reply),
    }
    record = await _record(asked, host, key)
    if record.state is State.AWAITING:
        record = await answer(record, _approval(asked, host, yes=yes), host.ports)
    if not yes:
        return told
    tool = host.tools[asked.tool]
    ran = await host.runner.once(tool, host.rules.policy(tool.name), asked.arguments, record.key)
    await host.deliver(record.turn)
    match ran.record.result:
        case Executed(output):
            return {**told, "tool_output": plain(output)}
        case Failed(error):
            return {**told, "tool_output": None, "error": error}
        case None:
            return {**told, "resumed": False, "error": ran.record.reason or None}


async def _record(asked: Resolution, host: Host, key: str | None) -> Record:
    if key and (known := (await host.ports.find([key])).get(key)):
        return known
    call = ToolCall(asked.request_id, "approval", asked.request_id, asked.tool, asked.arguments)
    record = Record.of(call, propose(call, host.rules, session=host.session), host.ports.clock())
    review = {"recommendation": "review_recommended", "requires_approval": True}
    decision = parse_decision({**review, "request_id": asked.request_id})
    [stored] = await host.ports.open([advance(record, Decided(decision, Verdict.REVIEW))])
    return stored


def _approval(asked: Resolution, host: Host, *, yes: bool) -> Approval:
    said = asked.comment or ""
    what = Answer.APPROVE if yes else Answer.REJECT
    return Approval(what, host.ports.clock(), text="" if yes else said or "denied", comment=said)
