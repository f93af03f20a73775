"""The conversation: ask the model, govern its calls, ask again, until it is done or must wait."""

from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any
from uuid import uuid4

from bighub_langgraph.openai.approvals import carry_out
from bighub_langgraph.openai.errors import ProviderResponseError
from bighub_langgraph.openai.host import Host
from bighub_langgraph.openai.once import claim
from bighub_langgraph.openai.replies import Reply, serialized
from bighub_langgraph.openai.requests import next_request
from bighub_langgraph.openai.talk import Talk, talk_from_json, talk_in_json
from bighub_langgraph.openai.turn import take_turn

__all__ = ["Ending", "converse", "go_on"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ending:
    """Where a conversation stopped.

    Attributes:
        status: completed, interrupted, incomplete, failed, refused or max_rounds.
        replayed: Whether the same state was resumed before, and this is how it ended then.
    """

    talk: Talk
    reply: Reply
    status: str
    replayed: bool = False


async def converse(
    talk: Talk, host: Host, *, streaming: bool, once: bool = False
) -> AsyncGenerator[Json | Ending, None]:
    """Ask the model and run its tools until it stops; give the events, and the ending last.

    This is the one flow for streamed and whole answers, for threads and coroutines. With `once`
    each answer of the model is kept in the journal before its calls run: whoever resumes the same
    state again gets that answer, and so the results of the same calls.
    """
    reply = NO_REPLY
    while True:
        right = await claim(talk.run_id, talk.turn or "", host.ports) if once else None
        if isinstance(right, dict):
            kept = _ending_from(right)
            talk, reply, status = kept.talk, kept.reply, kept.status
        else:
            with right or _NOBODY:
                if not streaming:
                    reply = await _whole(talk, host, reply)
                else:
                    async with aclosing(_streamed(talk, host, reply)) as parts:
                        async for part in parts:
                            if isinstance(part, Reply):
                                reply = part
                            else:
                                yield part
                talk = talk.heard(reply, _turn(reply, talk))
                status = _stopped(reply, talk, host) or _GOES_ON
            if right is not None:
                await right.finish(_ending_in_json(Ending(talk, reply, status)))
        if status != _GOES_ON:
            yield Ending(talk, reply, status, replayed=isinstance(right, dict))
            return
        after = await _told_of(take_turn(talk, reply, host), host)
        await host.deliver(after.turn or "")
        for event in _told(talk, after) if streaming else ():
            yield event
        if after.pending:
            yield Ending(after, reply, "interrupted")
            return
        talk = after.answered()


async def go_on(
    talk: Talk, host: Host, *, streaming: bool, reply: Reply
) -> AsyncGenerator[Json | Ending, None]:
    """Carry out what people answered, and go on with the conversation once nothing waits."""
    after = await _told_of(carry_out(talk, host), host) if talk.open else talk
    await host.deliver(after.turn or "")
    for event in _told(talk, after) if streaming else ():
        yield event
    if after.pending:
        yield Ending(after, reply, "interrupted")
        return
    talk = after.answered() if after.open else after
    async with aclosing(converse(talk, host, streaming=streaming, once=True)) as parts:
        async for part in parts:
            yield part


async def _told_of(turn: Awaitable[Talk], host: Host) -> Talk:
    """A turn; when it is stopped, what its calls came to is told all the same."""
    try:
        return await turn
    except BaseException:
        host.deliver_soon()
        raise


async def _whole(talk: Talk, host: Host, last: Reply) -> Reply:
    try:
        return await host.provider.answer(next_request(talk, host.tools.definitions))
    except ProviderResponseError as error:
        _remember(error, talk, host, last)
        raise


async def _streamed(talk: Talk, host: Host, last: Reply) -> AsyncGenerator[Json | Reply, None]:
    request = next_request(talk, host.tools.definitions)
    try:
        async with aclosing(host.provider.stream(request)) as parts:
            async for part in parts:
                yield part
    except ProviderResponseError as error:
        _remember(error, talk, host, last)
        raise


def _remember(error: ProviderResponseError, talk: Talk, host: Host, last: Reply) -> None:
    """Let an error of the model's service tell what had happened by then."""
    error.events, error.state = deepcopy(list(talk.events)), host.state(talk)
    error.response = serialized(last) if last.id else None


# Asks where nobody else can.
_NOBODY = nullcontext()
# An answer with calls to run; not an ending.
_GOES_ON = "goes_on"
NO_REPLY = Reply(id=None, status="failed", items=(), text="")


def _turn(reply: Reply, talk: Talk) -> str:
    # Some servers give every answer the same id, or none: an equal call would seem to be the same.
    fresh = reply.id is not None and reply.id != talk.previous
    return str(reply.id) if fresh else f"{reply.id}-{uuid4().hex}"


def _stopped(reply: Reply, talk: Talk, host: Host) -> str | None:
    """Say how an answer ends the conversation, or nothing when its calls are to be run."""
    if reply.status in {"failed", "cancelled"}:
        return "failed"
    if not reply.whole:
        return "incomplete"
    if reply.items and reply.asks:
        spent = talk.rounds >= host.most_rounds
        return "max_rounds" if spent and reply.calls else None
    return "refused" if reply.refusal and not reply.text else "completed"


def _told(before: Talk, after: Talk) -> list[Json]:
    """The events of a turn for the user's stream."""
    fresh = after.events[len(before.events) :]
    told = [
        {"type": "execution_event", "event": deepcopy(event), "response_id": after.turn}
        for event in fresh
    ]
    for call in after.pending:
        event = deepcopy(call.waiting or {})
        about = {"request_id": event.get("request_id"), "event": event, "response_id": after.turn}
        told.append({"type": "approval_required", **about})
    return told


def _ending_in_json(ending: Ending) -> Json:
    talk, reply = talk_in_json(ending.talk), asdict(ending.reply)
    return {"talk": talk, "reply": reply, "status": ending.status}


def _ending_from(said: Json) -> Ending:
    return Ending(
        talk_from_json(said["talk"]), Reply(**said["reply"]), said["status"], replayed=True
    )
