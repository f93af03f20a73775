"""Calls that somebody else runs, and calls of which nobody knows whether they ran."""

import copy
import inspect
import logging
from collections.abc import Mapping
from typing import Any

from bighub_langgraph.core.errors import CallStillRunning
from bighub_langgraph.core.flows import Ran, Run, execute, settled
from bighub_langgraph.core.policy import ToolPolicy
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.record import Answer, Approval, Executed, Failed, Record
from bighub_langgraph.core.transitions import Event, Lost, Rerun, Resolved
from bighub_langgraph.core.words import State

log = logging.getLogger("bighub_langgraph")

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
