"""End calls without their tool: people's answers, cancellation, expiry, and nobody to ask."""

from bighub_langgraph.core.errors import InvalidTransition
from bighub_langgraph.core.lifecycle import (
    AnswerGiven,
    CallCancelled,
    CallExpired,
    Event,
    NobodyToAsk,
)
from bighub_langgraph.core.models import WAITING_STATES, Approval, CallRecord
from bighub_langgraph.core.ports import Ports

# How many overdue calls are ended at once; the others follow with the next deliveries.
MAX_EXPIRED = 1000


async def record_answer(record: CallRecord, approval: Approval, ports: Ports) -> CallRecord:
    """Record a person's answer. The first one wins; returns the journal's record."""
    # An answer that comes too late ends the call.
    answered_record = await _end_call(record, AnswerGiven(approval), ports)
    if (telemetry := ports.active_telemetry()) is not None and answered_record.approval == approval:
        telemetry.add_answer(answered_record)
    return answered_record


def is_cancellable(record: CallRecord) -> bool:
    """Whether a call waits for a person, for its start, or for its tool's own question."""
    return record.state in WAITING_STATES or record.has_unapplied_edit


async def cancel_call(record: CallRecord, reason: str, ports: Ports) -> CallRecord:
    """End a call that nobody waits for any more; returns the journal's record."""
    return await _end_call(record, CallCancelled(reason), ports)


async def _end_call(record: CallRecord, event: Event, ports: Ports) -> CallRecord:
    """Apply an event that may end a call without its tool; returns the journal's record."""
    try:
        ended_record = await ports.transition(record.key, event)
    except InvalidTransition:
        return (await ports.find([record.key]))[record.key]
    if (telemetry := ports.active_telemetry()) is not None:
        telemetry.add_ending(record, ended_record)
    return ended_record


async def block_call(record: CallRecord, reason: str, ports: Ports) -> CallRecord:
    """Block a call that needs a person where none can be asked; returns the journal's record."""
    return await ports.transition_or_load(record.key, NobodyToAsk(reason))


async def expire_overdue_calls(ports: Ports) -> None:
    """End the calls whose time is over, so that BIGHUB gets an outcome of each evaluation."""
    at = ports.clock()
    for record in await ports.call(ports.journal.find_overdue, at, MAX_EXPIRED):
        await _end_call(record, CallExpired(at), ports)
