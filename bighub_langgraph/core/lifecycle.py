"""The life of a call as one table: which event moves a record from which state, and where to.

PROPOSED   --Decided--> ALLOWED | AWAITING | BLOCKED
AWAITING   --Answered--> ALLOWED (approve) | BLOCKED (reject) | ANSWERED (respond)
                         | SUPERSEDED (edit; the edited call has a record of its own)
AWAITING, ALLOWED, PAUSED --Closed--> BLOCKED (expired, superseded, or nobody can be asked)
ALLOWED, PAUSED --Started--> RUNNING, once the yes behind it is still good
RUNNING    --Finished--> EXECUTED | TOOL_ERROR    --Interrupted--> PAUSED
           --Released--> ALLOWED (the tool did not begin)    --Lost--> UNKNOWN
UNKNOWN    --Finished (by its owner) | Resolved--> EXECUTED | TOOL_ERROR    --Rerun--> ALLOWED
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, assert_never

from bighub_langgraph.core.errors import InvalidTransition
from bighub_langgraph.core.models import (
    Answer,
    Approval,
    CallRecord,
    Decision,
    State,
    Step,
    ToolOutcome,
    ToolSucceeded,
    Verdict,
)


# The three that every call goes through are tuples, which are made in half the time.
class DecisionMade(NamedTuple):
    """BIGHUB was asked. A person's edit is that person's yes: `approval` carries it here."""

    decision: Decision
    verdict: Verdict
    approval: Approval | None = None
    edited_from: str | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class AnswerGiven:
    """A person answered."""

    approval: Approval


@dataclass(frozen=True, slots=True)
class CallCancelled:
    """Nobody's yes will come any more: expired, overtaken by a new message, or nobody to ask."""

    reason: str


class ExecutionStarted(NamedTuple):
    """A process claims the one start of this call."""

    owner: str
    at: float


class ExecutionFinished(NamedTuple):
    """The tool came to its end in the process that started it."""

    owner: str
    result: ToolOutcome


@dataclass(frozen=True, slots=True)
class ExecutionPaused:
    """The tool itself asks a person something and will be entered again."""

    owner: str


@dataclass(frozen=True, slots=True)
class ClaimReleased:
    """The start was cancelled before the tool began."""

    owner: str


@dataclass(frozen=True, slots=True)
class OwnerLost:
    """Whether the tool did its work is not known: its process is gone or was told to stop."""

    owner: str
    reason: str


@dataclass(frozen=True, slots=True)
class OutcomeResolved:
    """A probe or a person found out what became of a call in doubt."""

    result: ToolOutcome
    approval: Approval | None = None


@dataclass(frozen=True, slots=True)
class RerunAllowed:
    """A call in doubt may start again: the tool is idempotent, did not run, or a person says so."""

    reason: str
    approval: Approval | None = None


Event = (
    DecisionMade
    | AnswerGiven
    | CallCancelled
    | ExecutionStarted
    | ExecutionFinished
    | ExecutionPaused
    | ClaimReleased
    | OwnerLost
    | OutcomeResolved
    | RerunAllowed
)


def apply_event(record: CallRecord, event: Event) -> CallRecord:
    """The record after an event; an `IllegalMove` where the table has no such row."""
    move = TRANSITIONS.get((record.state, type(event)))
    if move is None:
        raise InvalidTransition(record.key, record.state, type(event).__name__)
    changes = move(record, event)
    changes["version"] = record.version + 1
    return replace(record, **changes)


def next_step(record: CallRecord) -> Step:
    """Say what must happen to a call next."""
    return STEPS[record.state]


STEPS: dict[State, Step] = {
    State.PROPOSED: Step.EVALUATE,
    State.AWAITING: Step.ASK,
    State.ALLOWED: Step.EXECUTE,
    State.PAUSED: Step.EXECUTE,
    # Whoever runs it now will finish it; the claim finds out whether that one is still there.
    State.RUNNING: Step.EXECUTE,
    State.UNKNOWN: Step.ASK,
    State.EXECUTED: Step.REPORT,
    State.TOOL_ERROR: Step.REPORT,
    State.BLOCKED: Step.REPORT,
    State.ANSWERED: Step.REPORT,
    # The edited call, a record of its own, has the outcome.
    State.EDITED: Step.NOTHING,
}


def is_expired(record: CallRecord, at: float) -> bool:
    """Whether an open request or an unused yes is too old to be used."""
    return record.expires_at is not None and at >= record.expires_at


# What a move changes in a record, by the names of its fields.
Changes = dict[str, Any]


def _decided(_: CallRecord, event: DecisionMade) -> Changes:
    match event.verdict:
        case Verdict.EXECUTE:
            state = State.ALLOWED
        case Verdict.REVIEW:
            state = State.ALLOWED if event.approval else State.AWAITING
        case Verdict.BLOCK:
            state = State.BLOCKED
        case _:
            assert_never(event.verdict)
    return {
        "state": state,
        "decision": event.decision,
        "approval": event.approval,
        "edited_from": event.edited_from,
        "reason": _why(event.decision) if state is State.BLOCKED else "",
        "expires_at": event.approval.expires_at if event.approval else event.expires_at,
    }


def _why(decision: Decision) -> str:
    return decision.reason or f"BIGHUB says {decision.raw_recommendation}"


_AFTER = {
    Answer.APPROVE: State.ALLOWED,
    Answer.REJECT: State.BLOCKED,
    Answer.RESPOND: State.ANSWERED,
    Answer.EDIT: State.EDITED,
}


def _answered(record: CallRecord, event: AnswerGiven) -> Changes:
    approval = event.approval
    if is_expired(record, approval.at):
        return {"state": State.BLOCKED, "reason": EXPIRED}
    return {
        "state": _AFTER[approval.answer],
        "approval": approval,
        "reason": approval.text if approval.answer is Answer.REJECT else "",
        "expires_at": approval.expires_at,
    }


EXPIRED = "the time to answer or to use the approval ran out"


def _closed(_: CallRecord, event: CallCancelled) -> Changes:
    return {"state": State.BLOCKED, "reason": event.reason}


def _started(record: CallRecord, event: ExecutionStarted) -> Changes:
    # Expiry is part of the claim: a yes that came in time may still be used too late.
    if is_expired(record, event.at):
        return {"state": State.BLOCKED, "reason": EXPIRED}
    return {"state": State.RUNNING, "owner": event.owner, "starts": record.starts + 1}


def _resumed(_: CallRecord, event: ExecutionStarted) -> Changes:
    return {"state": State.RUNNING, "owner": event.owner}


def _finished(record: CallRecord, event: ExecutionFinished) -> Changes:
    _owned(record, event)
    return _ended(event.result)


def _interrupted(record: CallRecord, event: ExecutionPaused) -> Changes:
    _owned(record, event)
    return {"state": State.PAUSED, "owner": None}


def _released(record: CallRecord, event: ClaimReleased) -> Changes:
    _owned(record, event)
    return {"state": State.ALLOWED, "owner": None, "starts": record.starts - 1}


def _lost(record: CallRecord, event: OwnerLost) -> Changes:
    _owned(record, event)
    return {"state": State.UNKNOWN, "reason": event.reason}


def _resolved(record: CallRecord, event: OutcomeResolved) -> Changes:
    return {"approval": event.approval or record.approval, **_ended(event.result)}


def _rerun(record: CallRecord, event: RerunAllowed) -> Changes:
    return {
        "state": State.ALLOWED,
        "owner": None,
        "reason": event.reason,
        "approval": event.approval or record.approval,
        "expires_at": event.approval.expires_at if event.approval else None,
    }


def _ended(result: ToolOutcome) -> Changes:
    state = State.EXECUTED if isinstance(result, ToolSucceeded) else State.TOOL_ERROR
    return {"state": state, "result": result, "reason": "", "owner": None}


def _owned(
    record: CallRecord, event: ExecutionFinished | ExecutionPaused | ClaimReleased | OwnerLost
) -> None:
    if event.owner != record.owner:
        why = f"it belongs to {record.owner}, not to {event.owner}"
        raise InvalidTransition(record.key, record.state, type(event).__name__, why)


# Each function takes exactly the event it stands behind; the table cannot say so to a type checker.
TRANSITIONS: dict[tuple[State, type], Callable[[CallRecord, Any], Changes]] = {
    (State.PROPOSED, DecisionMade): _decided,
    (State.AWAITING, AnswerGiven): _answered,
    (State.AWAITING, CallCancelled): _closed,
    (State.ALLOWED, CallCancelled): _closed,
    (State.PAUSED, CallCancelled): _closed,
    (State.ALLOWED, ExecutionStarted): _started,
    (State.PAUSED, ExecutionStarted): _resumed,
    (State.RUNNING, ExecutionFinished): _finished,
    (State.RUNNING, ExecutionPaused): _interrupted,
    (State.RUNNING, ClaimReleased): _released,
    (State.RUNNING, OwnerLost): _lost,
    (State.UNKNOWN, ExecutionFinished): _finished,
    (State.UNKNOWN, OutcomeResolved): _resolved,
    (State.UNKNOWN, RerunAllowed): _rerun,
}
