"""Claim a call, run its tool, and record the outcome: at most once, across processes and crashes.

The flow is written once, for sync and async callers; see `bighub_langgraph.core.ports`.
"""

import contextlib
import hashlib
import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from bighub_langgraph.core.context import log_fields
from bighub_langgraph.core.errors import BighubGuardError, InvalidTransition
from bighub_langgraph.core.lifecycle import (
    ClaimReleased,
    ExecutionFinished,
    ExecutionPaused,
    ExecutionStarted,
    OwnerLost,
    apply_event,
)
from bighub_langgraph.core.models import CallRecord, State, ToolOutcome
from bighub_langgraph.core.ports import Ports

log = logging.getLogger("bighub_langgraph")


class ToolFinished(NamedTuple):
    """The tool returned or raised; `signal` is what the framework must see raised."""

    result: ToolOutcome
    signal: BaseException | None = None


class ToolPaused(NamedTuple):
    """The tool interrupted to ask a person; `signal` is what the framework must see raised."""

    signal: BaseException


RunTool = Callable[[CallRecord], Awaitable[ToolFinished | ToolPaused]]


class ExecutionResult(NamedTuple):
    """What became of an attempt to execute a call.

    Attributes:
        record: The journal's record.
        replayed: Whether the result is that of an earlier attempt.
        signal: What the framework must see raised, once the record is complete.
    """

    record: CallRecord
    replayed: bool = False
    signal: BaseException | None = None


async def claim_and_execute(key: str, ports: Ports, run: RunTool) -> ExecutionResult:
    """Claim a call, run its tool, and record the outcome.

    The claim is durable before the tool starts, and is looked at again right before: a worker that
    was frozen in between may count as gone, and its call may be resolved. A call that was started
    before is not run again; its record is returned, also when its outcome is unknown.
    """
    owner = new_owner_id(ports)
    try:
        claimed_record = await ports.transition(key, ExecutionStarted(owner, ports.clock()))
        record = (await ports.find([key]))[key]
    except InvalidTransition:
        return ExecutionResult((await ports.find([key]))[key], replayed=True)
    except BaseException:
        _release_claim(key, owner, ports)
        raise
    if claimed_record.state is not State.RUNNING:  # the approval has expired
        if (telemetry := ports.active_telemetry()) is not None:
            telemetry.add_ending(claimed_record, claimed_record)
        return ExecutionResult(claimed_record)
    if (record.state, record.owner) != (State.RUNNING, owner):
        return ExecutionResult(record, replayed=True)
    return await _run_claimed(claimed_record, owner, ports, run)


def new_owner_id(ports: Ports) -> str:
    """Return a name for one attempt, unique to this process and attempt.

    An attempt can only release its own claim, never that of another attempt of this process.
    """
    return f"{ports.journal.owner}/{next(_ATTEMPTS)}"


_ATTEMPTS = itertools.count(1)


def build_work_key(*parts: str) -> str:
    """Build the key of a claim of work that is no call, such as a thread that is resumed."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


async def _run_claimed(
    claimed_record: CallRecord, owner: str, ports: Ports, run: RunTool
) -> ExecutionResult:
    ending: ToolFinished | ToolPaused | None = None
    try:
        if (telemetry := ports.active_telemetry()) is None:
            ending = await run(claimed_record)
        else:
            with telemetry.execution(claimed_record) as add_outcome:
                ending = await run(claimed_record)
                add_outcome(ending.result if isinstance(ending, ToolFinished) else None)
        return await _record_ending(claimed_record, ending, owner, ports)
    except BaseException as error:
        # Cancelled or interrupted. Inside the tool: whether it took effect is unknown. After the
        # tool: its outcome is known. Recorded inline, since a cancelled coroutine may not be able
        # to wait again. A journal that fails here retries by itself; the cancellation goes on.
        event = (
            OwnerLost(owner, f"stopped by {type(error).__name__}")
            if ending is None
            else _to_event(ending, owner)
        )
        with contextlib.suppress(BighubGuardError):
            ports.transition_now(claimed_record.key, event)
        raise


def _to_event(ending: ToolFinished | ToolPaused, owner: str) -> ExecutionFinished | ExecutionPaused:
    if isinstance(ending, ToolPaused):
        return ExecutionPaused(owner)
    return ExecutionFinished(owner, ending.result)


async def _record_ending(
    claimed_record: CallRecord, ending: ToolFinished | ToolPaused, owner: str, ports: Ports
) -> ExecutionResult:
    event = _to_event(ending, owner)
    if isinstance(event, ExecutionPaused):
        record = await ports.transition(claimed_record.key, event)
        return ExecutionResult(record, signal=ending.signal)
    try:
        record = await ports.transition(claimed_record.key, event)
    except Exception:
        # The tool ran, so nothing may raise here. The claim stays and prevents a second run; a
        # journal on a database writes the result as soon as the database is back.
        log.exception(
            "call %s (%s) ran, but the journal could not store its result; until it does, the call "
            "shows as running, and its outcome as unknown if this process ends before",
            claimed_record.key[:12],
            claimed_record.tool,
            extra=log_fields(claimed_record),
        )
        record = apply_event(claimed_record, event)
    return ExecutionResult(record, signal=ending.signal)


def _release_claim(key: str, owner: str, ports: Ports) -> None:
    """Release a claim that was cancelled while it was made: the tool has not started."""
    try:
        ports.transition_now(key, ClaimReleased(owner))
    except BighubGuardError:
        return  # the claim was not made, or the journal is unreachable
