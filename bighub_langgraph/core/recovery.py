"""Recover calls that were started before: wait for their owner, or resolve an unknown outcome.

A call whose owner has crashed runs again only where its tool is idempotent, its probe says that it
did not run, or a person says so.
"""

import copy
import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

from bighub_langgraph.core.claims import ExecutionResult, RunTool, claim_and_execute
from bighub_langgraph.core.context import log_fields
from bighub_langgraph.core.errors import CallStillRunning
from bighub_langgraph.core.lifecycle import Event, OutcomeResolved, OwnerLost, RerunAllowed
from bighub_langgraph.core.models import (
    Answer,
    Approval,
    CallRecord,
    State,
    ToolFailed,
    ToolSucceeded,
)
from bighub_langgraph.core.policy import ToolPolicy
from bighub_langgraph.core.ports import Ports

log = logging.getLogger("bighub_langgraph")

# How long a second runner of a call waits for the first one, and how often it looks, in seconds.
OWNER_TIMEOUT = 10.0
FIRST_POLL = 0.005
LONGEST_POLL = 0.25


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
    # Counted in pauses: a clock may be set meanwhile.
    remaining, pause = timeout, FIRST_POLL
    while record.state is State.RUNNING:
        if await ports.call(ports.journal.is_owner_dead, record):
            event = OwnerLost(record.owner or "", "the process that ran it is gone")
            record = await ports.transition_or_load(record.key, event)
            continue  # another runner may have claimed it meanwhile
        if remaining <= 0:
            return record
        await ports.sleep(pause)
        remaining -= pause
        pause = min(2 * pause, LONGEST_POLL)
        record = (await ports.find([record.key]))[record.key]
    return record


def recovers_itself(record: CallRecord, policy: ToolPolicy) -> bool:
    """Whether `recover_call` resolves the outcome of a call without a person."""
    return record.state is State.UNKNOWN and (policy.probe is not None or policy.idempotent)


async def recover_call(
    record: CallRecord, policy: ToolPolicy, arguments: Mapping[str, Any], ports: Ports
) -> CallRecord:
    """Resolve an unknown outcome without a person, where the tool's policy allows it."""
    if not recovers_itself(record, policy):
        return record
    if policy.probe is None:
        event: Event | None = RerunAllowed("the tool is idempotent")
    else:
        event = await _run_probe(policy.probe, record, arguments, ports)
    return record if event is None else await ports.transition_or_load(record.key, event)


async def resolve_unknown(record: CallRecord, approval: Approval, ports: Ports) -> CallRecord:
    """Resolve an unknown outcome by a person's answer.

    An approval runs the call again. A rejection says that it did not take effect, and that it must
    not run. A response says that it did take effect, and gives its output.
    """
    return await ports.transition_or_load(record.key, event_for_answer(approval))


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
            extra=log_fields(record),
        )
        return None
    if output is None:
        return RerunAllowed("its probe says that it did not run")
    return OutcomeResolved(ToolSucceeded(output))
