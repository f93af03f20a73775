"""The flows behind a decision: record an answer, execute a call at most once, recover it.

Each flow is written once, for sync and async callers; see `bighub_langgraph.core.ports`.
"""

import contextlib
import copy
import inspect
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bighub_langgraph.core.errors import (
    BighubGuardError,
    CallStillRunning,
    InvalidTransition,
)
from bighub_langgraph.core.lifecycle import (
    AnswerGiven,
    CallCancelled,
    ClaimReleased,
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
    State,
    ToolFailed,
    ToolOutcome,
    ToolSucceeded,
)
from bighub_langgraph.core.policy import ToolPolicy
from bighub_langgraph.core.ports import Ports

log = logging.getLogger("bighub_langgraph")

# How long a second runner of a call waits for the first one, and how often it looks, in seconds.
OWNER_TIMEOUT = 10.0
FIRST_POLL = 0.005
LONGEST_POLL = 0.25


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """The tool returned or raised; `signal` is what the framework must see raised."""

    result: ToolOutcome
    signal: BaseException | None = None


@dataclass(frozen=True, slots=True)
class ToolPaused:
    """The tool interrupted to ask a person; `signal` is what the framework must see raised."""

    signal: BaseException


RunTool = Callable[[CallRecord], Awaitable[ToolFinished | ToolPaused]]


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """What became of an attempt to execute a call.

    Attributes:
        record: The journal's record.
        replayed: Whether the result is that of an earlier attempt.
        signal: What the framework must see raised, once the record is complete.
    """

    record: CallRecord
    replayed: bool = False
    signal: BaseException | None = None


# -- approve ---------------------------------------------------------------------------------------


async def record_answer(record: CallRecord, approval: Approval, ports: Ports) -> CallRecord:
    """Record a person's answer. The first one wins; returns the journal's record."""
    return await transition_or_load(record.key, AnswerGiven(approval), ports)


async def cancel_call(record: CallRecord, reason: str, ports: Ports) -> CallRecord:
    """End a call that no one can answer any more; returns the journal's record."""
    return await transition_or_load(record.key, CallCancelled(reason), ports)


async def transition_or_load(key: str, event: Event, ports: Ports) -> CallRecord:
    """Apply an event, or return the journal's record where its state no longer allows the event."""
    try:
        return await ports.transition(key, event)
    except InvalidTransition:
        return (await ports.find([key]))[key]


# -- execute at most once --------------------------------------------------------------------------


async def claim_and_execute(key: str, ports: Ports, run: RunTool) -> ExecutionResult:
    """Claim a call, run its tool, and record the outcome.

    The claim is durable before the tool starts. A call that was started before is not run again;
    its record is returned, also when its outcome is unknown.
    """
    owner = new_owner_id(ports)
    try:
        claimed = await ports.transition(key, ExecutionStarted(owner, ports.clock()))
    except InvalidTransition:
        return ExecutionResult((await ports.find([key]))[key], replayed=True)
    except BaseException:
        _release_claim(key, owner, ports)
        raise
    if claimed.state is not State.RUNNING:  # the approval has expired
        return ExecutionResult(claimed)
    return await _run_claimed(claimed, owner, ports, run)


def new_owner_id(ports: Ports) -> str:
    """Return a name for one attempt, unique to this process and attempt.

    An attempt can only release its own claim, never that of another attempt of this process.
    """
    return f"{ports.journal.owner}/{next(_ATTEMPTS)}"


_ATTEMPTS = itertools.count(1)


async def _run_claimed(
    claimed: CallRecord, owner: str, ports: Ports, run: RunTool
) -> ExecutionResult:
    ending: ToolFinished | ToolPaused | None = None
    try:
        ending = await run(claimed)
        return await _record_ending(claimed, ending, owner, ports)
    except BaseException as error:
        # Cancelled or interrupted. Inside the tool: whether it took effect is unknown. After the
        # tool: its outcome is known. Recorded inline, since a cancelled coroutine may not be able
        # to wait again. A journal that fails here retries by itself; the cancellation goes on.
        event = (
            OwnerLost(owner, f"stopped by {type(error).__name__}")
            if ending is None
            else _event_of(ending, owner)
        )
        with contextlib.suppress(BighubGuardError):
            ports.transition_now(claimed.key, event)
        raise


def _event_of(ending: ToolFinished | ToolPaused, owner: str) -> ExecutionFinished | ExecutionPaused:
    if isinstance(ending, ToolPaused):
        return ExecutionPaused(owner)
    return ExecutionFinished(owner, ending.result)


async def _record_ending(
    claimed: CallRecord, ending: ToolFinished | ToolPaused, owner: str, ports: Ports
) -> ExecutionResult:
    event = _event_of(ending, owner)
    if isinstance(event, ExecutionPaused):
        record = await ports.transition(claimed.key, event)
        return ExecutionResult(record, signal=ending.signal)
    try:
        record = await ports.transition(claimed.key, event)
    except Exception:
        # The tool ran, so nothing may raise here. The claim stays and prevents a second run; a
        # journal on a database writes the result as soon as the database is back.
        log.exception(
            "call %s (%s) ran, but the journal could not store its result; until it does, the call "
            "shows as running, and its outcome as unknown if this process ends before",
            claimed.key[:12],
            claimed.tool,
        )
        record = apply_event(claimed, event)
    return ExecutionResult(record, signal=ending.signal)


def _release_claim(key: str, owner: str, ports: Ports) -> None:
    """Release a claim that was cancelled while it was made: the tool has not started."""
    try:
        ports.transition_now(key, ClaimReleased(owner))
    except BighubGuardError:
        return  # the claim was not made, or the journal is unreachable


# -- recover ---------------------------------------------------------------------------------------


async def execute_or_recover(
    key: str, policy: ToolPolicy, arguments: Mapping[str, Any], ports: Ports, run: RunTool
) -> ExecutionResult:
    """Execute a call once; otherwise wait for its runner, or find out what became of it.

    Raises:
        CallStillRunning: Another worker still runs the call after `OWNER_TIMEOUT` seconds. Any
            result given now would be wrong, and would stay in the thread's history.
    """
    result = await claim_and_execute(key, ports, run)
    while result.replayed:
        record = await wait_for_owner(result.record, ports)
        if record.state is State.RUNNING:
            raise CallStillRunning(key, record.tool)
        record = await recover_call(record, policy, arguments, ports)
        if record.state in _STARTABLE:  # released by the other runner, or safe to run again
            result = await claim_and_execute(key, ports, run)
        elif record.state is State.RUNNING:  # another runner has claimed it meanwhile
            result = ExecutionResult(record, replayed=True)
        else:
            return ExecutionResult(record, replayed=True)
    return result


_STARTABLE = frozenset({State.ALLOWED, State.PAUSED})


async def wait_for_owner(
    record: CallRecord,
    ports: Ports,
    timeout: float = OWNER_TIMEOUT,  # noqa: ASYNC109 - polls a journal
) -> CallRecord:
    """Wait up to `timeout` seconds until a call's runner is done; record when its process died."""
    deadline = ports.clock() + timeout
    pause = FIRST_POLL
    while record.state is State.RUNNING:
        if await ports.call(ports.journal.is_owner_dead, record):
            lost = OwnerLost(record.owner or "", "the process that ran it is gone")
            record = await transition_or_load(record.key, lost, ports)
            continue  # another runner may have claimed it meanwhile
        if ports.clock() >= deadline:
            return record
        await ports.sleep(pause)
        pause = min(2 * pause, LONGEST_POLL)
        record = (await ports.find([record.key]))[record.key]
    return record


async def recover_call(
    record: CallRecord, policy: ToolPolicy, arguments: Mapping[str, Any], ports: Ports
) -> CallRecord:
    """Resolve an unknown outcome without a person, where the tool's policy allows it."""
    if record.state is not State.UNKNOWN:
        return record
    if policy.probe is not None:
        event = await _run_probe(policy.probe, record, arguments, ports)
    elif policy.idempotent:
        event = RerunAllowed("the tool is idempotent")
    else:
        event = None
    return record if event is None else await transition_or_load(record.key, event, ports)


async def resolve_unknown(record: CallRecord, approval: Approval, ports: Ports) -> CallRecord:
    """Resolve an unknown outcome by a person's answer.

    An approval runs the call again. A rejection says that it did not take effect, and that it must
    not run. A response says that it did take effect, and gives its output.
    """
    return await transition_or_load(record.key, event_for_answer(approval), ports)


def event_for_answer(approval: Approval) -> Event:
    """Return the event by which a person's answer resolves an unknown outcome."""
    match approval.answer:
        case Answer.RESPOND:
            return OutcomeResolved(ToolSucceeded(approval.text), approval)
        case Answer.APPROVE:
            return RerunAllowed(f"run again, says {approval.approver or 'a person'}", approval)
        case _:
            reason = approval.text or "a person says that it did not take effect"
            return OutcomeResolved(ToolFailed(reason), approval)


async def _run_probe(
    probe: Callable[[dict[str, Any], str], Any],
    record: CallRecord,
    arguments: Mapping[str, Any],
    ports: Ports,
) -> Event | None:
    try:
        output = probe(copy.deepcopy(dict(arguments)), record.key)
        if inspect.isawaitable(output):
            output = await ports.wait_for(output)
    except Exception:
        log.exception(
            "the probe of %r raised; the outcome of call %s stays unknown",
            record.tool,
            record.key[:12],
        )
        return None
    if output is None:
        return RerunAllowed("its probe says that it did not run")
    return OutcomeResolved(ToolSucceeded(output))
