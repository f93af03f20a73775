"""One approval settled by its request id alone, as users of the published adapter do it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bighub_langgraph.core.call import ToolCall, digest
from bighub_langgraph.core.decision import parse_decision
from bighub_langgraph.core.flows import answer
from bighub_langgraph.core.plain import plain
from bighub_langgraph.core.proposing import propose
from bighub_langgraph.core.record import Answer, Approval, Executed, Failed, Record
from bighub_langgraph.core.transitions import Decided, advance
from bighub_langgraph.core.words import State, Verdict
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


async def resolved(
    asked: Resolution, host: Host, tell: Callable[[], Awaitable[Any]], key: str | None
) -> Json:
    """Tell BIGHUB, and run the call, once, when BIGHUB agrees that it is approved.

    `key` names the call's record where this process knows the request. Another tool or other
    arguments than were asked about are refused before BIGHUB is told anything.
    """
    key = key or digest(["approval", asked.request_id])
    known = await _known(asked, host, key)
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
    record = known or await _opened(asked, host, key)
    if record.state is State.AWAITING:
        record = await answer(record, _approval(asked, host, yes=yes), host.ports)
    if not yes:
        await host.deliver(record.turn)
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


async def _known(asked: Resolution, host: Host, key: str) -> Record | None:
    record = (await host.ports.find([key])).get(key)
    return None if record is None else _the_same(asked, record)


async def _opened(asked: Resolution, host: Host, key: str) -> Record:
    """Enter a request that only BIGHUB knows; its id alone names it, so that it runs once."""
    call = ToolCall(asked.request_id, "approval", asked.request_id, asked.tool, asked.arguments)
    record = Record.of(call, propose(call, host.rules, session=host.session), host.ports.clock())
    # The key says nothing of tool and arguments, so the turn does.
    record = replace(record, key=key, turn=call.key)
    review = {"recommendation": "review_recommended", "requires_approval": True}
    decision = parse_decision({**review, "request_id": asked.request_id})
    [stored] = await host.ports.open([advance(record, Decided(decision, Verdict.REVIEW))])
    return _the_same(asked, stored)


def _the_same(asked: Resolution, record: Record) -> Record:
    """Refuse to run under somebody's yes what that person was not asked about."""
    tool, arguments = asked.tool, asked.arguments
    alone = ToolCall(asked.request_id, "approval", asked.request_id, tool, arguments).key
    of_run = ToolCall(record.thread, record.turn, record.call_id, tool, arguments).key
    if record.key == of_run or record.turn == alone:
        return record
    what = (
        f"with other arguments than these for {tool!r}"
        if record.tool == tool
        else f"about the tool {record.tool!r}, not {tool!r}"
    )
    raise StateRefused(f"request {asked.request_id} was asked {what}; nothing was run")


def _approval(asked: Resolution, host: Host, *, yes: bool) -> Approval:
    said = asked.comment or ""
    what = Answer.APPROVE if yes else Answer.REJECT
    return Approval(what, host.ports.clock(), text="" if yes else said or "denied", comment=said)
