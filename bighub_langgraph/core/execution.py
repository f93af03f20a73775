"""The life of a call as flows: consider, answer, execute. Each written once, for both colours."""

import contextlib
import copy
import inspect
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bighub_langgraph.core.decision import no_decision, parse_decision, resolve
from bighub_langgraph.core.errors import (
    BighubGuardError,
    CallStillRunning,
    EngineError,
    IllegalMove,
    InvalidCall,
)
from bighub_langgraph.core.lifecycle import (
    Answered,
    Closed,
    Decided,
    Event,
    Finished,
    Interrupted,
    Lost,
    Released,
    Rerun,
    Resolved,
    Started,
    advance,
)
from bighub_langgraph.core.models import (
    Answer,
    Approval,
    Decision,
    Executed,
    Failed,
    Proposal,
    Record,
    Result,
    State,
    ToolCall,
    Verdict,
)
from bighub_langgraph.core.policy import Rules, ToolPolicy, propose
from bighub_langgraph.core.ports import Ports

log = logging.getLogger("bighub_langgraph")


@dataclass(frozen=True, slots=True)
class Refused:
    """A call that cannot even be proposed: the model gets the error, BIGHUB is not asked."""

    call: ToolCall
    error: InvalidCall


@dataclass(frozen=True, slots=True)
class Ended:
    """The tool came to its end; `signal` is what the framework wants raised all the same."""

    result: Result
    signal: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Paused:
    """The tool asks a person something itself; `signal` is what the framework wants raised."""

    signal: BaseException


Run = Callable[[Record], Awaitable[Ended | Paused]]


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of an attempt to run a call.

    Attributes:
        record: What the journal says now.
        replayed: Whether the result is an earlier one, handed out again.
        signal: What the framework must see raised, after the record is settled.
    """

    record: Record
    replayed: bool = False
    signal: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Edited:
    """A call with arguments that a person wrote, and that person's yes to them."""

    call: ToolCall
    approval: Approval
    edited_from: str


async def consider(
    calls: Sequence[ToolCall | Edited],
    rules: Rules,
    ports: Ports,
    *,
    session: str | None = None,
    trajectory: str | None = None,
    fresh: Callable[[Record], object] = lambda _: None,
) -> list[Record | Refused]:
    """Ask BIGHUB about the calls of a turn, side by side, and record what it says.

    A call that was decided before keeps that decision for ever; `fresh` sees only the new ones.
    """
    proposed = [_proposed(call, rules, ports.clock(), session, trajectory) for call in calls]
    known = await ports.find([one.key for one in proposed if isinstance(one, Record)])
    unseen = [
        (one, call)
        for one, call in zip(proposed, calls, strict=True)
        if isinstance(one, Record) and one.key not in known
    ]
    decided = await _decide_all(unseen, rules, ports)
    stored = await ports.open(decided) if decided else []
    for mine, record in zip(decided, stored, strict=True):
        known[record.key] = record
        if record is mine:
            fresh(record)
    return [known[one.key] if isinstance(one, Record) else one for one in proposed]


async def decide(proposal: Proposal, key: str, rules: Rules, ports: Ports) -> Decision:
    """Ask BIGHUB once; whatever goes wrong becomes a decision that says so."""
    try:
        reply = await ports.engine.ask(proposal, key)
    except EngineError as error:
        reply = error
    return _read(reply, proposal, rules)


def _read(reply: object, proposal: Proposal, rules: Rules) -> Decision:
    """The decision in a reply, or in what stands in its place."""
    try:
        if isinstance(reply, EngineError):
            raise reply
        return parse_decision(reply)
    except EngineError as error:
        decision = no_decision(error, rules.fail_mode)
        level = logging.WARNING if decision.fault == "unavailable" else logging.ERROR
        log.log(level, "%s of %s: %s", proposal.action, proposal.actor, decision.reason)
        return decision


async def answer(record: Record, approval: Approval, ports: Ports) -> Record:
    """Settle a person's answer. The first one wins; the journal's record is returned."""
    return await settled(record.key, Answered(approval), ports)


async def close(record: Record, reason: str, ports: Ports) -> Record:
    """End a call that nobody will answer any more."""
    return await settled(record.key, Closed(reason), ports)


async def settled(key: str, event: Event, ports: Ports) -> Record:
    """Make a move, or return what the journal says where it was made differently before."""
    try:
        return await ports.move(key, event)
    except IllegalMove:
        return (await ports.find([key]))[key]


async def execute(key: str, ports: Ports, run: Run) -> Ran:
    """Run a call once.

    The claim is durable before the tool starts. A call that was started before gets what became of
    it then, also when that is not known.
    """
    owner = new_attempt(ports)
    try:
        claimed = await ports.move(key, Started(owner, ports.clock()))
    except IllegalMove:
        return Ran((await ports.find([key]))[key], replayed=True)
    except BaseException:
        _release(key, owner, ports)
        raise
    if claimed.state is not State.RUNNING:  # the approval ran out
        return Ran(claimed)
    return await _run_claimed(claimed, owner, ports, run)


def new_attempt(ports: Ports) -> str:
    """A name for one attempt: what one attempt lets go, another's claim must survive.

    The journal's name of this process is of this process alone, so that a number will do.
    """
    return f"{ports.journal.owner}/{next(_ATTEMPTS)}"


_ATTEMPTS = itertools.count(1)


async def _run_claimed(claimed: Record, owner: str, ports: Ports, run: Run) -> Ran:
    ended: Ended | Paused | None = None
    try:
        ended = await run(claimed)
        return await _noted(claimed, ended, owner, ports)
    except BaseException as error:
        # Cancelled or told to exit inside the tool: whether it took effect, nobody here knows. Or
        # behind it, and what became of it is known. The note is written in place, for a cancelled
        # coroutine may not be allowed to wait again. The journal makes up for a note that it cannot
        # take now; the cancellation goes on either way.
        lost = Lost(owner, f"stopped by {type(error).__name__}")
        with contextlib.suppress(BighubGuardError):
            ports.move_now(claimed.key, lost if ended is None else _move_of(ended, owner))
        raise


def _move_of(ended: Ended | Paused, owner: str) -> Finished | Interrupted:
    return Interrupted(owner) if isinstance(ended, Paused) else Finished(owner, ended.result)


async def _noted(claimed: Record, ended: Ended | Paused, owner: str, ports: Ports) -> Ran:
    move = _move_of(ended, owner)
    if isinstance(move, Interrupted):
        return Ran(await ports.move(claimed.key, move), signal=ended.signal)
    try:
        record: Record = await ports.move(claimed.key, move)
    except Exception:
        # The tool has run; nothing may raise past that. The claim stays, so it cannot run again,
        # and a journal on a database writes the result as soon as that is back.
        log.exception(
            "call %s (%s) ran, but the journal could not take its result; until it does, the call "
            "shows as running, and as in doubt when this process ends before",
            claimed.key[:12],
            claimed.tool,
        )
        record = advance(claimed, move)
    return Ran(record, signal=ended.signal)


def _release(key: str, owner: str, ports: Ports) -> None:
    """Give back a claim that was cancelled while it was being made: the tool has not begun."""
    try:
        ports.move_now(key, Released(owner))
    except BighubGuardError:
        return  # the claim was not made, or the journal is away


def _proposed(
    one: ToolCall | Edited, rules: Rules, at: float, session: str | None, trajectory: str | None
) -> Record | Refused:
    call = one.call if isinstance(one, Edited) else one
    try:
        proposal = propose(call, rules, session=session, trajectory=trajectory)
        return Record.of(call, proposal, at)
    except InvalidCall as error:
        return Refused(call, error)


Unseen = tuple[Record, ToolCall | Edited]


async def _decide_all(unseen: Sequence[Unseen], rules: Rules, ports: Ports) -> list[Record]:
    together = ports.engine.ask_together
    alone = len(unseen) < 2 or any(one.proposal.whole for one, _ in unseen)  # noqa: PLR2004 - one
    if together is None or alone:
        return await ports.gather([_decide(*one, rules, ports) for one in unseen])
    replies = await together([(one.proposal, one.key) for one, _ in unseen])
    return [
        _decided(one, asked, _read(reply, one.proposal, rules), rules, ports)
        for (one, asked), reply in zip(unseen, replies, strict=True)
    ]


async def _decide(record: Record, asked: ToolCall | Edited, rules: Rules, ports: Ports) -> Record:
    decision = await decide(record.proposal, record.key, rules, ports)
    return _decided(record, asked, decision, rules, ports)


def _decided(
    record: Record, asked: ToolCall | Edited, decision: Decision, rules: Rules, ports: Ports
) -> Record:
    review = rules.policy(record.tool).always_review
    floor = Verdict.REVIEW if review else Verdict.EXECUTE
    verdict = resolve(decision, floor, rules.minimum_mode)
    edited = asked if isinstance(asked, Edited) else None
    after = rules.approvals.expires_after
    return advance(
        record,
        Decided(
            decision,
            verdict,
            approval=edited.approval if edited else None,
            edited_from=edited.edited_from if edited else None,
            expires_at=ports.clock() + after if after else None,
        ),
    )


PATIENCE = 10.0
FIRST_LOOK = 0.005
LONGEST_LOOK = 0.25


async def await_other(record: Record, ports: Ports, patience: float = PATIENCE) -> Record:
    """Wait for whoever runs a call, at most `patience` seconds; note it when that one is gone."""
    deadline = ports.clock() + patience
    pause = FIRST_LOOK
    while record.state is State.RUNNING:
        if await ports.call(ports.journal.abandoned, record):
            gone = Lost(record.owner or "", "the process that ran it is gone")
            record = await settled(record.key, gone, ports)
            continue  # it may run again by now, in the hands of somebody faster
        if ports.clock() >= deadline:
            return record
        await ports.sleep(pause)
        pause = min(2 * pause, LONGEST_LOOK)
        record = (await ports.find([record.key]))[record.key]
    return record


async def perform(
    key: str, policy: ToolPolicy, arguments: Mapping[str, Any], ports: Ports, run: Run
) -> Ran:
    """Run a call once; or wait for whoever runs it; or find out what became of it.

    Raises `CallStillRunning` where the other one takes longer: any answer now would be a wrong one,
    and in the thread's history for ever.
    """
    ran = await execute(key, ports, run)
    while ran.replayed:
        record = await await_other(ran.record, ports)
        if record.state is State.RUNNING:
            raise CallStillRunning(key, record.tool)
        record = await look_into(record, policy, arguments, ports)
        if record.state in _STARTABLE:  # let go by the other one, or good to run again
            ran = await execute(key, ports, run)
        elif record.state is State.RUNNING:  # and somebody was faster: wait for that one
            ran = Ran(record, replayed=True)
        else:
            return Ran(record, replayed=True)
    return ran


_STARTABLE = frozenset({State.ALLOWED, State.PAUSED})


async def look_into(
    record: Record, policy: ToolPolicy, arguments: Mapping[str, Any], ports: Ports
) -> Record:
    """Settle a call in doubt without a person, where its tool's policy offers a way."""
    if record.state is not State.UNKNOWN:
        return record
    if policy.probe is not None:
        event = await _probed(record, policy, arguments, ports)
    elif policy.idempotent:
        event = Rerun("the tool is idempotent")
    else:
        event = None
    return record if event is None else await settled(record.key, event, ports)


async def resolve_doubt(record: Record, approval: Approval, ports: Ports) -> Record:
    """Settle a call in doubt by a person's word.

    An approval says: run it again. A rejection: it did not take effect, and shall not. A response:
    it did, and this is its output.
    """
    return await settled(record.key, person_said(approval), ports)


def person_said(approval: Approval) -> Event:
    """What a person's word about a call in doubt does to its record."""
    match approval.answer:
        case Answer.RESPOND:
            return Resolved(Executed(approval.text), approval)
        case Answer.APPROVE:
            return Rerun(f"run again, says {approval.approver or 'a person'}", approval)
        case _:
            said = approval.text or "a person says that it did not take effect"
            return Resolved(Failed(said), approval)


async def _probed(
    record: Record, policy: ToolPolicy, arguments: Mapping[str, Any], ports: Ports
) -> Event | None:
    if policy.probe is None:
        return None
    try:
        found = policy.probe(copy.deepcopy(dict(arguments)), record.key)
        if inspect.isawaitable(found):
            found = await ports.awaited(found)
    except Exception:
        log.exception(
            "the probe of %r raised; call %s stays in doubt", record.tool, record.key[:12]
        )
        return None
    return (
        Rerun("its probe says that it did not run") if found is None else Resolved(Executed(found))
    )
