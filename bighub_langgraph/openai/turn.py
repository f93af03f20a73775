"""One turn: every call of an answer from the model's wish to what the model reads of it."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.evaluation import RefusedCall, evaluate_calls
from bighub_langgraph.core.execution import record_answer
from bighub_langgraph.core.lifecycle import next_step
from bighub_langgraph.core.models import (
    Answer,
    Approval,
    CallRecord,
    EvaluationRequest,
    State,
    Status,
    Step,
    ToolCall,
    ToolSucceeded,
)
from bighub_langgraph.openai.arguments import BoundArguments, parse_arguments
from bighub_langgraph.openai.events import event_of, failure, refusal, told
from bighub_langgraph.openai.host import Host
from bighub_langgraph.openai.replies import FunctionCall, Reply
from bighub_langgraph.openai.talk import OpenCall, Talk
from bighub_langgraph.openai.tools import Tool

__all__ = ["Considered", "settle_calls", "take_turn"]

Json = dict[str, Any]


class Considered(NamedTuple):
    """A call and what is known of it.

    Attributes:
        known: Its record; what is wrong with it; or None for a tool that needs no record.
        fresh: Whether its decision was made just now, so that `on_decision` has not heard of it.
        bind: Its arguments as the tool gets them, where they were checked just now.
    """

    call: OpenCall
    known: CallRecord | InvalidCall | None
    fresh: bool = False
    bind: Callable[[], BoundArguments] | None = None

    def bound_to(self, tool: Tool) -> Callable[[], BoundArguments]:
        """What binds the arguments to the tool."""
        return self.bind or partial(tool.parameters.bind, self.call.arguments)


async def take_turn(talk: Talk, reply: Reply, host: Host) -> Talk:
    """Take every call of an answer as far as it goes without a person."""
    considered = await _consider(_opened(reply.calls, talk, host), talk, host)
    calls, events = await settle_calls(considered, talk, host)
    hosted = [_hosted(item, talk, host) for item in reply.approval_requests]
    return talk.with_calls(
        [*calls, *hosted], [*events, *(call.waiting for call in hosted if call.waiting)]
    )


async def settle_calls(
    considered: Sequence[Considered], talk: Talk, host: Host
) -> tuple[list[OpenCall], list[Json]]:
    """Run what may run, side by side; give the calls and their events in the order of the calls."""
    settling = [_settling(one, talk, host) for one in considered]
    flows = [one for one in settling if not isinstance(one, tuple)]
    ran = iter(await host.ports.gather(flows))
    settled = [one if isinstance(one, tuple) else next(ran) for one in settling]
    for _, event, record in settled:
        event["source_version"] = host.ports.reporting.source_version
        if host.notice is not None and record is not None:
            await host.notice(event, record)
    return [call for call, _, _ in settled], [event for _, event, _ in settled]


Asked = tuple[OpenCall, ToolCall | InvalidCall, Callable[[], BoundArguments] | None]
# A call, its event, and its record where its decision is one to tell of.
Settled = tuple[OpenCall, Json, CallRecord | None]
Settling = Settled | Coroutine[Any, Any, Settled]


async def _consider(opened: Sequence[Asked], talk: Talk, host: Host) -> list[Considered]:
    # All of them before the first tool begins: where one cannot even be asked about, none runs.
    asked = [
        call for _, call, _ in opened if isinstance(call, ToolCall) and not _reads_only(call, host)
    ]
    decided: list[CallRecord] = []
    about = {"session": host.session, "trajectory": talk.run_id}
    found = await evaluate_calls(
        asked,
        host.rules,
        host.ports,
        **about,
        model=str(talk.settings["model"]),
        on_new=decided.append,
    )
    if talk.always:
        found = [await _allowed(one, talk, host) for one in found]
    known = {call.call_id: _known(one) for call, one in zip(asked, found, strict=True)}
    fresh = {record.call_id for record in decided}
    return [
        Considered(
            call,
            said if isinstance(said, InvalidCall) else known.get(call.call_id),
            call.call_id in fresh,
            bind,
        )
        for call, said, bind in opened
    ]


def _known(found: CallRecord | RefusedCall) -> CallRecord | InvalidCall:
    return found.error if isinstance(found, RefusedCall) else found


async def _allowed(
    found: CallRecord | RefusedCall, talk: Talk, host: Host
) -> CallRecord | RefusedCall:
    """Answer a call that waits with a standing yes to its tool."""
    if not isinstance(found, CallRecord) or found.state is not State.AWAITING:
        return found
    said = talk.always.get(found.tool)
    if not said:
        return found
    return await record_answer(
        found, Approval(Answer.APPROVE, host.ports.clock(), **said), host.ports
    )


def _settling(one: Considered, talk: Talk, host: Host) -> Settling:
    """What became of a call, or the tool's run that is to tell it."""
    record = one.known
    if record is None:
        return _read(one, talk, host)
    if isinstance(record, InvalidCall):
        return _refused(one.call, str(record), talk)
    if next_step(record) is not Step.EXECUTE and record.state is not State.UNKNOWN:
        return _reported(one, record, talk, replayed=record.starts > 0)
    # The key of a fresh decision was made of these arguments a moment ago.
    if not one.fresh and _asked(one.call, talk).key != record.key:
        call = replace(one.call, key=record.key)
        return _refused(call, "its arguments were changed after it was decided", talk)
    return _run(one, record, talk, host)


async def _run(one: Considered, record: CallRecord, talk: Talk, host: Host) -> Settled:
    tool, policy = host.tools[record.tool], host.rules.policy_for(record.tool)
    bind = one.bound_to(tool)
    ran = await host.runner.once(tool, policy, one.call.arguments, record.key, bind)
    return _reported(one, ran.record, talk, replayed=ran.replayed)


def _reported(one: Considered, record: CallRecord, talk: Talk, *, replayed: bool) -> Settled:
    call, decided = one.call, record if one.fresh else None
    event = event_of(record, call.arguments, talk.run_id)
    if next_step(record) is Step.REPORT:
        output = told(record, call.arguments, edited=call.edited)
        if replayed:
            event["replayed"] = True
        return replace(call, key=record.key, output=output), event, decided
    # A person has the next word: to allow the call, or to say what became of it.
    return replace(call, key=record.key, waiting=event, answer=None), event, decided


async def _read(one: Considered, talk: Talk, host: Host) -> Settled:
    """Run a tool that only reads: BIGHUB is not asked, and nothing is recorded."""
    call, tool = one.call, host.tools[one.call.tool]
    proposal = EvaluationRequest(call.tool, host.rules.actor)
    try:
        record = CallRecord.of(_asked(call, talk), proposal, host.ports.clock())
    except InvalidCall as error:
        return _refused(call, str(error), talk)
    result = await host.runner.unrecorded(tool, record, one.bound_to(tool))
    state = State.EXECUTED if isinstance(result, ToolSucceeded) else State.TOOL_ERROR
    record = replace(record, state=state, result=result)
    event = event_of(record, call.arguments, talk.run_id)
    return replace(call, output=told(record, call.arguments)), event, None


def _refused(call: OpenCall, error: str, talk: Talk) -> Settled:
    event = refusal(call.tool, call.call_id, call.arguments, error, talk.run_id)
    # Arguments that nobody checked may be nested too deeply to be stored.
    return replace(call, arguments=event["arguments"], output=failure(error)), event, None


def _asked(call: OpenCall, talk: Talk) -> ToolCall:
    return ToolCall(talk.run_id, talk.turn or "", call.call_id, call.tool, call.arguments)


def _opened(calls: Sequence[FunctionCall], talk: Talk, host: Host) -> list[Asked]:
    if len({call.call_id for call in calls}) == len(calls):
        return [_checked(call, talk, host, 1) for call in calls]
    by_id: dict[str, list[FunctionCall]] = {}
    for call in calls:
        by_id.setdefault(call.call_id, []).append(call)
    return [_checked(same[0], talk, host, len(same)) for same in by_id.values()]


def _checked(call: FunctionCall, talk: Talk, host: Host, times: int) -> Asked:
    arguments: Json = {}
    try:
        _refuse_shared_id(call, times)
        tool = host.tools[call.name]
        arguments = parse_arguments(call.arguments, call.name)
        checked = tool.parameters.validate(arguments)
    except InvalidCall as error:
        return OpenCall(call.call_id, call.name, arguments), error, None
    opened = OpenCall(call_id=call.call_id, tool=call.name, arguments=checked.arguments)
    return opened, _asked(opened, talk), checked.bind


def _refuse_shared_id(call: FunctionCall, times: int) -> None:
    if times > 1 or not call.call_id:
        raise InvalidCall("calls of one answer need ids of their own; none of these was run")


def _reads_only(call: ToolCall, host: Host) -> bool:
    return host.rules.policy_for(call.tool).read_only


def _hosted(item: Json, talk: Talk, host: Host) -> OpenCall:
    """A hosted MCP server's wish to run a tool of its own, for a person to allow."""
    name, request_id = str(item.get("name")), str(item.get("id"))
    try:
        arguments = parse_arguments(item.get("arguments"), name)
    except InvalidCall:
        arguments = {"unreadable": item.get("arguments")}
    event = refusal(name, request_id, arguments, "", talk.run_id)
    asked = {
        "status": Status.APPROVAL_REQUIRED.value,
        "error": None,
        "request_id": request_id,
        "server_label": item.get("server_label"),
        "source_version": host.ports.reporting.source_version,
    }
    return OpenCall(request_id, name, arguments, kind="mcp", waiting={**event, **asked})
