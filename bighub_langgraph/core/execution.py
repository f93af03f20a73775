"""The life of a call as flows: consider, answer, execute. Each written once, for both colours."""

import contextlib
import copy
import inspect
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bighub_langgraph.core.decision import fallback_decision, parse_decision, resolve_verdict
from bighub_langgraph.core.errors import (
    BighubGuardError,
    CallStillRunning,
    EngineError,
    InvalidCall,
    InvalidTransition,
)
from bighub_langgraph.core.lifecycle import (
    AnswerGiven,
    CallCancelled,
    ClaimReleased,
    DecisionMade,
    Event,
    ExecutionFinished,
    ExecutionPaused,
    ExecutionStarted,
    OutcomeResolved,
    OwnerLost,
    RerunAllowed,
    apply_event,
)
from bighub_langgraph.core.models import (
    Answer,
    Approval,
    CallRecord,
    Decision,
    EvaluationRequest,
    State,
    ToolCall,
    ToolFailed,
    ToolOutcome,
    ToolSucceeded,
    Verdict,
)
from bighub_langgraph.core.policy import GuardSettings, ToolPolicy, build_evaluation_request
from bighub_langgraph.core.ports import Ports

log = logging.getLogger("bighub_langgraph")


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """A call that cannot even be proposed: the model gets the error, BIGHUB is not asked."""

    call: ToolCall
    error: InvalidCall


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """The tool came to its end; `signal` is what the framework wants raised all the same."""

    result: ToolOutcome
    signal: BaseException | None = None


@dataclass(frozen=True, slots=True)
class ToolPaused:
    """The tool asks a person something itself; `signal` is what the framework wants raised."""

    signal: BaseException


RunTool = Callable[[CallRecord], Awaitable[ToolFinished | ToolPaused]]


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """What became of an attempt to run a call.

    Attributes:
        record: What the journal says now.
        replayed: Whether the result is an earlier one, handed out again.
        signal: What the framework must see raised, after the record is settled.
    """

    record: CallRecord
    replayed: bool = False
    signal: BaseException | None = None


@dataclass(frozen=True, slots=True)
class EditedCall:
    """A call with arguments that a person wrote, and that person's yes to them."""

    call: ToolCall
    approval: Approval
    edited_from: str


async def evaluate_calls(
    calls: Sequence[ToolCall | EditedCall],
    rules: GuardSettings,
    ports: Ports,
    *,
    session: str | None = None,
    trajectory: str | None = None,
    fresh: Callable[[CallRecord], object] = lambda _: None,
) -> list[CallRecord | RefusedCall]:
    """Ask BIGHUB about the calls of a turn, side by side, and record what it says.

    A call that was decided before keeps that decision for ever; `fresh` sees only the new ones.
    """
    proposed = [_proposed(call, rules, ports.clock(), session, trajectory) for call in calls]
    known = await ports.find([one.key for one in proposed if isinstance(one, CallRecord)])
    unseen = [
        (one, call)
        for one, call in zip(proposed, calls, strict=True)
        if isinstance(one, CallRecord) and one.key not in known
    ]
    decided = await _decide_all(unseen, rules, ports)
    stored = await ports.open(decided) if decided else []
    for mine, record in zip(decided, stored, strict=True):
        known[record.key] = record
        if record is mine:
            fresh(record)
    return [known[one.key] if isinstance(one, CallRecord) else one for one in proposed]


async def evaluate_request(
    proposal: EvaluationRequest, key: str, rules: GuardSettings, ports: Ports
) -> Decision:
    """Ask BIGHUB once; whatever goes wrong becomes a decision that says so."""
    try:
        reply = await ports.engine.ask(proposal, key)
    except EngineError as error:
        reply = error
    return _read(reply, proposal, rules)


def _read(reply: object, proposal: EvaluationRequest, rules: GuardSettings) -> Decision:
    """The decision in a reply, or in what stands in its place."""
    try:
        if isinstance(reply, EngineError):
            raise reply
        return parse_decision(reply)
    except EngineError as error:
        decision = fallback_decision(error, rules.fail_mode)
        level = logging.WARNING if decision.fault == "unavailable" else logging.ERROR
        log.log(level, "%s of %s: %s", proposal.action, proposal.actor, decision.reason)
        return decision


async def record_answer(record: CallRecord, approval: Approval, ports: Ports) -> CallRecord:
    """Settle a person's answer. The first one wins; the journal's record is returned."""
    return await transition_or_load(record.key, AnswerGiven(approval), ports)


async def cancel_call(record: CallRecord, reason: str, ports: Ports) -> CallRecord:
    """End a call that nobody will answer any more."""
    return await transition_or_load(record.key, CallCancelled(reason), ports)


async def transition_or_load(key: str, event: Event, ports: Ports) -> CallRecord:
    """Make a move, or return what the journal says where it was made differently before."""
    try:
        return await ports.move(key, event)
    except InvalidTransition:
        return (await ports.find([key]))[key]


async def claim_and_execute(key: str, ports: Ports, run: RunTool) -> ExecutionResult:
    """Run a call once.

    The claim is durable before the tool starts. A call that was started before gets what became of
    it then, also when that is not known.
    """
    owner = new_owner_id(ports)
    try:
        claimed = await ports.move(key, ExecutionStarted(owner, ports.clock()))
    except InvalidTransition:
        return ExecutionResult((await ports.find([key]))[key], replayed=True)
    except BaseException:
        _release(key, owner, ports)
        raise
    if claimed.state is not State.RUNNING:  # the approval ran out
        return ExecutionResult(claimed)
    return await _run_claimed(claimed, owner, ports, run)


def new_owner_id(ports: Ports) -> str:
    """A name for one attempt: what one attempt lets go, another's claim must survive.

    The journal's name of this process is of this process alone, so that a number will do.
    """
    return f"{ports.journal.owner}/{next(_ATTEMPTS)}"


_ATTEMPTS = itertools.count(1)


async def _run_claimed(
    claimed: CallRecord, owner: str, ports: Ports, run: RunTool
) -> ExecutionResult:
    ended: ToolFinished | ToolPaused | None = None
    try:
        ended = await run(claimed)
        return await _noted(claimed, ended, owner, ports)
    except BaseException as error:
        # Cancelled or told to exit inside the tool: whether it took effect, nobody here knows. Or
        # behind it, and what became of it is known. The note is written in place, for a cancelled
        # coroutine may not be allowed to wait again. The journal makes up for a note that it cannot
        # take now; the cancellation goes on either way.
        lost = OwnerLost(owner, f"stopped by {type(error).__name__}")
        with contextlib.suppress(BighubGuardError):
            ports.move_now(claimed.key, lost if ended is None else _move_of(ended, owner))
        raise


def _move_of(ended: ToolFinished | ToolPaused, owner: str) -> ExecutionFinished | ExecutionPaused:
    return (
        ExecutionPaused(owner)
        if isinstance(ended, ToolPaused)
        else ExecutionFinished(owner, ended.result)
    )


async def _noted(
    claimed: CallRecord, ended: ToolFinished | ToolPaused, owner: str, ports: Ports
) -> ExecutionResult:
    move = _move_of(ended, owner)
    if isinstance(move, ExecutionPaused):
        return ExecutionResult(await ports.move(claimed.key, move), signal=ended.signal)
    try:
        record: CallRecord = await ports.move(claimed.key, move)
    except Exception:
        # The tool has run; nothing may raise past that. The claim stays, so it cannot run again,
        # and a journal on a database writes the result as soon as that is back.
        log.exception(
            "call %s (%s) ran, but the journal could not take its result; until it does, the call "
            "shows as running, and as in doubt when this process ends before",
            claimed.key[:12],
            claimed.tool,
        )
        record = apply_event(claimed, move)
    return ExecutionResult(record, signal=ended.signal)


def _release(key: str, owner: str, ports: Ports) -> None:
    """Give back a claim that was cancelled while it was being made: the tool has not begun."""
    try:
        ports.move_now(key, ClaimReleased(owner))
    except BighubGuardError:
        return  # the claim was not made, or the journal is away


def _proposed(
    one: ToolCall | EditedCall,
    rules: GuardSettings,
    at: float,
    session: str | None,
    trajectory: str | None,
) -> CallRecord | RefusedCall:
    call = one.call if isinstance(one, EditedCall) else one
    try:
        proposal = build_evaluation_request(call, rules, session=session, trajectory=trajectory)
        return CallRecord.of(call, proposal, at)
    except InvalidCall as error:
        return RefusedCall(call, error)


Unseen = tuple[CallRecord, ToolCall | EditedCall]


async def _decide_all(
    unseen: Sequence[Unseen], rules: GuardSettings, ports: Ports
) -> list[CallRecord]:
    together = ports.engine.ask_together
    alone = len(unseen) < 2 or any(one.proposal.whole for one, _ in unseen)  # noqa: PLR2004 - one
    if together is None or alone:
        return await ports.gather([_decide(*one, rules, ports) for one in unseen])
    replies = await together([(one.proposal, one.key) for one, _ in unseen])
    return [
        _decided(one, asked, _read(reply, one.proposal, rules), rules, ports)
        for (one, asked), reply in zip(unseen, replies, strict=True)
    ]


async def _decide(
    record: CallRecord, asked: ToolCall | EditedCall, rules: GuardSettings, ports: Ports
) -> CallRecord:
    decision = await evaluate_request(record.proposal, record.key, rules, ports)
    return _decided(record, asked, decision, rules, ports)


def _decided(
    record: CallRecord,
    asked: ToolCall | EditedCall,
    decision: Decision,
    rules: GuardSettings,
    ports: Ports,
) -> CallRecord:
    review = rules.policy(record.tool).always_review
    floor = Verdict.REVIEW if review else Verdict.EXECUTE
    verdict = resolve_verdict(decision, floor, rules.minimum_mode)
    edited = asked if isinstance(asked, EditedCall) else None
    after = rules.approvals.expires_after
    return apply_event(
        record,
        DecisionMade(
            decision,
            verdict,
            approval=edited.approval if edited else None,
            edited_from=edited.edited_from if edited else None,
            expires_at=ports.clock() + after if after else None,
        ),
    )


OWNER_TIMEOUT = 10.0
FIRST_POLL = 0.005
LONGEST_POLL = 0.25


async def wait_for_owner(
    record: CallRecord, ports: Ports, patience: float = OWNER_TIMEOUT
) -> CallRecord:
    """Wait for whoever runs a call, at most `patience` seconds; note it when that one is gone."""
    deadline = ports.clock() + patience
    pause = FIRST_POLL
    while record.state is State.RUNNING:
        if await ports.call(ports.journal.abandoned, record):
            gone = OwnerLost(record.owner or "", "the process that ran it is gone")
            record = await transition_or_load(record.key, gone, ports)
            continue  # it may run again by now, in the hands of somebody faster
        if ports.clock() >= deadline:
            return record
        await ports.sleep(pause)
        pause = min(2 * pause, LONGEST_POLL)
        record = (await ports.find([record.key]))[record.key]
    return record


async def execute_or_recover(
    key: str, policy: ToolPolicy, arguments: Mapping[str, Any], ports: Ports, run: RunTool
) -> ExecutionResult:
    """Run a call once; or wait for whoever runs it; or find out what became of it.

    Raises `CallStillRunning` where the other one takes longer: any answer now would be a wrong one,
    and in the thread's history for ever.
    """
    ran = await claim_and_execute(key, ports, run)
    while ran.replayed:
        record = await wait_for_owner(ran.record, ports)
        if record.state is State.RUNNING:
            raise CallStillRunning(key, record.tool)
        record = await recover_call(record, policy, arguments, ports)
        if record.state in _STARTABLE:  # let go by the other one, or good to run again
            ran = await claim_and_execute(key, ports, run)
        elif record.state is State.RUNNING:  # and somebody was faster: wait for that one
            ran = ExecutionResult(record, replayed=True)
        else:
            return ExecutionResult(record, replayed=True)
    return ran


_STARTABLE = frozenset({State.ALLOWED, State.PAUSED})


async def recover_call(
    record: CallRecord, policy: ToolPolicy, arguments: Mapping[str, Any], ports: Ports
) -> CallRecord:
    """Settle a call in doubt without a person, where its tool's policy offers a way."""
    if record.state is not State.UNKNOWN:
        return record
    if policy.probe is not None:
        event = await _probed(record, policy, arguments, ports)
    elif policy.idempotent:
        event = RerunAllowed("the tool is idempotent")
    else:
        event = None
    return record if event is None else await transition_or_load(record.key, event, ports)


async def resolve_unknown(record: CallRecord, approval: Approval, ports: Ports) -> CallRecord:
    """Settle a call in doubt by a person's word.

    An approval says: run it again. A rejection: it did not take effect, and shall not. A response:
    it did, and this is its output.
    """
    return await transition_or_load(record.key, event_for_answer(approval), ports)


def event_for_answer(approval: Approval) -> Event:
    """What a person's word about a call in doubt does to its record."""
    match approval.answer:
        case Answer.RESPOND:
            return OutcomeResolved(ToolSucceeded(approval.text), approval)
        case Answer.APPROVE:
            return RerunAllowed(f"run again, says {approval.approver or 'a person'}", approval)
        case _:
            said = approval.text or "a person says that it did not take effect"
            return OutcomeResolved(ToolFailed(said), approval)


async def _probed(
    record: CallRecord, policy: ToolPolicy, arguments: Mapping[str, Any], ports: Ports
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
        RerunAllowed("its probe says that it did not run")
        if found is None
        else OutcomeResolved(ToolSucceeded(found))
    )
