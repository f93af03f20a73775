"""Whole runs: to their end, and with a callback that answers what waits for a person."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from copy import deepcopy
from dataclasses import replace
from typing import Any

from bighub_langgraph.openai.approvals import denial, read_answer
from bighub_langgraph.openai.conversation import Ending, converse, go_on
from bighub_langgraph.openai.host import Host
from bighub_langgraph.openai.talk import OpenCall, Talk

__all__ = ["ended", "with_approval"]

Json = dict[str, Any]
Consult = Callable[[Json], Awaitable[Any]]


async def ended(parts: AsyncGenerator[Json | Ending, None]) -> Ending:
    """Let a conversation run to where it stops."""
    async with aclosing(parts) as running:
        async for part in running:
            if isinstance(part, Ending):
                return part
    raise AssertionError("unreachable: a conversation gives its ending or raises")


async def with_approval(
    talk: Talk, host: Host, consult: Consult | None, response: Callable[[Ending], Json]
) -> tuple[Ending, Json]:
    """Run, ask for every call that waits, and go on, until nothing waits or nobody answers.

    Gives the ending and the published adapter's `approval_loop`.
    """
    ending = await ended(converse(talk, host, streaming=False))
    asked: list[OpenCall] = []
    while ending.status == "interrupted":
        answered = [
            await _consulted(call, ending, host, consult, response) for call in ending.talk.pending
        ]
        asked = [
            *(one for one in asked if one.call_id not in {a.call_id for a in answered}),
            *answered,
        ]
        if not any(call.answer for call in answered):
            break
        answers = {call.call_id: call for call in answered}
        calls = [answers.get(call.call_id, call) for call in ending.talk.open]
        going = go_on(replace(ending.talk, open=calls), host, streaming=False, reply=ending.reply)
        ending = await ended(going)
    return ending, _loop(asked, ending)


async def _consulted(
    call: OpenCall,
    ending: Ending,
    host: Host,
    consult: Consult | None,
    response: Callable[[Ending], Json],
) -> OpenCall:
    if consult is None:
        return call
    event = deepcopy(call.waiting or {})  # theirs to change
    context = {
        "request_id": event.get("request_id"),
        "event": event,
        "response": response(ending),
    }
    try:
        given = await consult(context)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in a callback is no permission
        reason = f"the approval callback raised {error!r:.200}"
        return replace(call, answer=denial(reason, host.ports.clock()))
    return call if given is None else replace(call, answer=read_answer(given, call, host))


def _loop(asked: list[OpenCall], ending: Ending) -> Json:
    if not asked:
        return {"required": False, "resolved": False, "resumed": False}
    approvals = [_approval(call, ending) for call in asked]
    return {**approvals[-1], "approvals": approvals}


def _approval(call: OpenCall, ending: Ending) -> Json:
    request_id = (call.waiting or {}).get("request_id")
    said: Json = {
        "required": True,
        "request_id": request_id,
        "tool": call.tool,
        "call_id": call.call_id,
    }
    if call.answer is None:
        return {**said, "resolved": False, "resumed": False}
    last = [event for event in ending.talk.events if event["call_id"] == call.call_id][-1]
    ran = last["status"] in {"executed", "tool_error"}
    resolution = "denied" if call.answer["answer"] == "reject" else "approved"
    words = {name: call.answer.get(name) or None for name in ("comment", "approver")}
    approval = {"request_id": request_id, "status": resolution, "resolution": resolution, **words}
    output = {"tool_output": last["output"]} if ran else {}
    return {**said, "resolved": True, "resumed": ran, "approval": approval, **output}
