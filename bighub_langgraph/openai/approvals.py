"""What people answer to open calls: read, settled in the journal, carried out."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bighub_langgraph.core.errors import InvalidCall, RecordNotFound
from bighub_langgraph.core.evaluation import EditedCall, RefusedCall, evaluate_calls
from bighub_langgraph.core.execution import record_answer, resolve_unknown
from bighub_langgraph.core.models import Answer, Approval, CallRecord, State, Status, ToolCall
from bighub_langgraph.openai.errors import StateRefused
from bighub_langgraph.openai.host import Host
from bighub_langgraph.openai.talk import OpenCall, Talk
from bighub_langgraph.openai.tools import ToolRegistry
from bighub_langgraph.openai.turn import Considered, settle_calls

__all__ = ["carry_out", "denial", "edited", "read_answer", "said"]

Json = dict[str, Any]


def said(
    what: Answer,
    at: float,
    words: Mapping[str, str] | None = None,
    *,
    text: str = "",
    arguments: Mapping[str, Any] | None = None,
) -> Json:
    """A person's answer as plain JSON, to be kept until it is carried out.

    `words` may hold `comment` and `approver`, `text` is for the model.
    """
    record_answer = {"answer": what.value, "at": at, "text": text, **(words or {})}
    return record_answer if arguments is None else {**record_answer, "arguments": dict(arguments)}


def denial(reason: str, at: float) -> Json:
    """The answer that stands in for one which cannot be read."""
    return said(Answer.REJECT, at, text=reason)


def read_answer(given: Any, call: OpenCall, host: Host) -> Json:
    """Read what an approval callback returned; nonsense is a denial that says so."""
    at = host.ports.clock()
    try:
        record_answer = _read(given, call, host.tools, at)
        _refuse_forbidden(call, record_answer, host)
    except StateRefused as error:
        return denial(f"the approval callback's answer is not allowed: {error}", at)
    return record_answer


def _read(given: Any, call: OpenCall, tools: ToolRegistry, at: float) -> Json:
    if not isinstance(given, Mapping) or given.get("resolution") not in _RESOLUTIONS:
        return denial(
            f"the approval callback answered {given!r:.80} instead of a mapping with a resolution, "
            '"approved" or "denied"',
            at,
        )
    words = {name: str(given.get(name) or "") for name in ("comment", "approver")}
    if given["resolution"] in _NO:
        return said(Answer.REJECT, at, words, text=words["comment"] or "denied")
    if given.get("arguments") is None:
        return said(Answer.APPROVE, at, words)
    try:
        return edited(call, given["arguments"], tools, at, words)
    except InvalidCall as error:
        return denial(f"the approval callback's arguments cannot be used: {error}", at)


def edited(
    call: OpenCall, arguments: Any, tools: ToolRegistry, at: float, words: Mapping[str, str]
) -> Json:
    """The answer that approves other arguments; an edit that changes nothing is a plain yes."""
    if not isinstance(arguments, Mapping):
        raise InvalidCall(
            f"the arguments of {call.tool!r} must be a mapping, not {arguments!r:.80}"
        )
    if call.kind == "mcp":
        raise InvalidCall("what a hosted server asks for can be approved or rejected, not edited")
    checked = tools[call.tool].parameters.check(arguments)
    if checked == call.arguments:
        return said(Answer.APPROVE, at, words)
    if (call.waiting or {}).get("in_doubt"):
        raise InvalidCall(
            f"whether call {call.call_id} ran is not known: approve it to run it again as it was, "
            "or reject it; it cannot be edited"
        )
    return said(Answer.EDIT, at, words, arguments=checked)


_NO = frozenset(("denied", "rejected", "reject", "deny"))
_RESOLUTIONS = frozenset(("approved", "approve")) | _NO


async def carry_out(talk: Talk, host: Host) -> Talk:
    """Settle what people answered and run what they allowed; what nobody answered stays open."""
    # A standing yes is for later turns: it answers no call that was shown beside the one it is of.
    answered = [call for call in talk.open if call.answer is not None and not call.settled]
    for call in answered:
        _refuse_forbidden(call, call.answer or {}, host)
    ours = [call for call in answered if call.kind == "function"]
    considered = [await _settled(call, call.answer or {}, talk, host) for call in ours]
    settled, events = await settle_calls(considered, talk, host)
    hosted = [_hosted(call, call.answer or {}) for call in answered if call.kind == "mcp"]
    became = {call.call_id: call for call in (*settled, *hosted)}
    refused = [_refusal(call) for call in hosted if call.output]
    return talk.with_calls(
        [became.get(call.call_id, call) for call in talk.open], [*events, *refused]
    )


def _refuse_forbidden(call: OpenCall, words: Json, host: Host) -> None:
    allowed = host.rules.allowed_decisions(call.tool)
    if call.kind == "function" and Answer(words["answer"]) not in {*allowed, Answer.REJECT}:
        listed = ", ".join(one.value for one in allowed)
        raise StateRefused(f"a call of {call.tool!r} may be answered with: {listed}")


async def _settled(call: OpenCall, words: Json, talk: Talk, host: Host) -> Considered:
    found = await host.ports.find([call.key or ""])
    if not found:
        raise RecordNotFound([call.key or ""])
    record, approval = found[call.key or ""], _approval(words, host)
    if record.state is State.UNKNOWN and call.waiting and call.waiting.get("in_doubt"):
        return Considered(call, await resolve_unknown(record, approval, host.ports))
    if approval.answer is not Answer.EDIT:
        return Considered(call, await record_answer(record, approval, host.ports))
    asked = ToolCall(talk.run_id, talk.turn or "", call.call_id, call.tool, words["arguments"])
    record = await record_answer(record, replace(approval, edited_to=asked.key), host.ports)
    if record.state is not State.EDITED:  # somebody's other answer came first
        return Considered(call, record)
    if record.approval is None or record.approval.edited_to != asked.key:
        raise StateRefused(
            f"somebody else changed the arguments of call {call.call_id}; "
            "go on from the state that their run returned"
        )
    return await _edited(
        call, EditedCall(asked, replace(approval, answer=Answer.APPROVE), record.key), talk, host
    )


async def _edited(call: OpenCall, edit: EditedCall, talk: Talk, host: Host) -> Considered:
    """Show BIGHUB the edited arguments; the edit is already the person's yes to them."""
    fresh: list[CallRecord] = []
    about = {"session": host.session, "trajectory": talk.run_id}
    [known] = await evaluate_calls(
        [edit],
        host.rules,
        host.ports,
        **about,
        model=str(talk.settings["model"]),
        on_new=fresh.append,
    )
    call = replace(call, arguments=dict(edit.call.arguments), edited=True)
    return Considered(call, known.error if isinstance(known, RefusedCall) else known, bool(fresh))


def _approval(words: Json, host: Host) -> Approval:
    after = host.rules.approvals.expires_after
    return Approval(
        Answer(words["answer"]),
        words["at"],
        text=words.get("text", ""),
        comment=words.get("comment", ""),
        approver=words.get("approver", ""),
        expires_at=None if after is None else words["at"] + after,
    )


def _hosted(call: OpenCall, words: Json) -> OpenCall:
    approved = words.get("answer") == Answer.APPROVE
    return replace(call, output="" if approved else words.get("text") or "denied")


def _refusal(call: OpenCall) -> Json:
    return {**(call.waiting or {}), "status": Status.BLOCKED.value, "error": call.output}
