"""The life of a call as one table: which event leads a record from which state to which.

PROPOSED   --DecisionMade--> ALLOWED | AWAITING | BLOCKED
AWAITING   --AnswerGiven--> ALLOWED (approve) | BLOCKED (reject) | ANSWERED (respond)
                            | EDITED (the edited call has a record of its own)
                            | AWAITING (more approvals are needed, or this one does not count)
EDITED, by an edit that the guard has not applied:
           --EditApplied--> EDITED (the guard knows the edited call)
           --CallCancelled--> CANCELLED    --CallExpired--> EXPIRED
           --NobodyToAsk--> BLOCKED (the edit does not fit)
AWAITING, ALLOWED, PAUSED --CallCancelled--> CANCELLED (nobody waits for it any more)
AWAITING, ALLOWED --CallExpired--> EXPIRED (also an answer or a start that comes too late)
AWAITING   --NobodyToAsk--> BLOCKED
ALLOWED, PAUSED --ExecutionStarted--> RUNNING, unless the approval has expired
RUNNING    --ExecutionFinished--> EXECUTED | TOOL_ERROR    --ExecutionPaused--> PAUSED
           --ClaimReleased--> ALLOWED (the tool did not start)    --OwnerLost--> UNKNOWN
UNKNOWN    --ExecutionFinished (by its owner) | OutcomeResolved--> EXECUTED | TOOL_ERROR
           --RerunAllowed--> ALLOWED | UNKNOWN (more people have to say so)
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, assert_never

from bighub_langgraph.core.approval_rules import find_objection
from bighub_langgraph.core.decision import block_reason
from bighub_langgraph.core.errors import InvalidTransition
from bighub_langgraph.core.models import (
    Answer,
    Approval,
    ApprovalRequirement,
    CallRecord,
    Decision,
    State,
    Step,
    ToolOutcome,
    ToolSucceeded,
    Verdict,
)


class DecisionMade(NamedTuple):
    """BIGHUB evaluated the call. `approval` is that of a person who edited the arguments."""

    decision: Decision
    verdict: Verdict
    approval: Approval | None = None
    edited_from: str | None = None
    expires_at: float | None = None
    requirement: ApprovalRequirement = ApprovalRequirement()


class AnswerGiven(NamedTuple):
    """A person answered; with `version` what was shown at that version of the record."""

    approval: Approval
    version: int | None = None


class EditApplied(NamedTuple):
    """The guard applied a person's changes, and knows the key of the edited call."""

    edited_to: str


class CallCancelled(NamedTuple):
    """Nobody waits for the call any more: a new message, removed from the history, or a person."""

    reason: str
    cancelled_by: str = ""
    verified: bool = False


class CallExpired(NamedTuple):
    """The time to answer, or to use the approval, is over."""

    at: float


class NobodyToAsk(NamedTuple):
    """A person would have to decide, and none can be asked here."""

    reason: str


class ExecutionStarted(NamedTuple):
    """An attempt claims the one start of this call."""

    owner: str
    at: float


class ExecutionFinished(NamedTuple):
    """The tool returned or raised in the attempt that started it."""

    owner: str
    result: ToolOutcome


class ExecutionPaused(NamedTuple):
    """The tool interrupted to ask a person, and will be entered again."""

    owner: str


class ClaimReleased(NamedTuple):
    """The start was cancelled before the tool started."""

    owner: str


class OwnerLost(NamedTuple):
    """The process that ran the tool is gone or was stopped: the outcome is unknown."""

    owner: str
    reason: str


class OutcomeResolved(NamedTuple):
    """A probe or a person found out what became of a call whose outcome was unknown."""

    result: ToolOutcome
    approval: Approval | None = None


class RerunAllowed(NamedTuple):
    """A call may start again: the tool is idempotent, did not run, or a person says so."""

    reason: str
    approval: Approval | None = None


Event = (
    DecisionMade
    | AnswerGiven
    | EditApplied
    | CallCancelled
    | CallExpired
    | NobodyToAsk
    | ExecutionStarted
    | ExecutionFinished
    | ExecutionPaused
    | ClaimReleased
    | OwnerLost
    | OutcomeResolved
    | RerunAllowed
)


def apply_event(record: CallRecord, event: Event) -> CallRecord:
    """Return the record after an event; the same one where the event changes nothing.

    Raises:
        InvalidTransition: The record's state does not allow the event.
    """
    transition = TRANSITIONS.get((record.state, type(event)))
    if transition is None:
        raise InvalidTransition(record.key, record.state, type(event).__name__)
    owner = getattr(event, "owner", record.owner)
    if owner != record.owner and not isinstance(event, ExecutionStarted):
        why = f"it belongs to {record.owner}, not to {owner}"
        raise InvalidTransition(record.key, record.state, type(event).__name__, why)
    changes = transition(record, event)
    return record if changes is None else record._replace(**changes, version=record.version + 1)


def next_step(record: CallRecord) -> Step:
    """Return what must happen to a call next."""
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
    State.EXPIRED: Step.REPORT,
    State.CANCELLED: Step.REPORT,
    # The outcome belongs to the record of the edited call.
    State.EDITED: Step.NOTHING,
}


def is_expired(record: CallRecord, at: float) -> bool:
    """Whether a pending or unused approval is too old to be used."""
    return record.expires_at is not None and at >= record.expires_at


# The fields that a transition changes in a record; None where it changes nothing.
Changes = dict[str, Any]
MaybeChanges = Changes | None


def _decide(record: CallRecord, event: DecisionMade) -> Changes:
    decision, approval, requirement = event.decision, event.approval, event.requirement
    votes: tuple[Approval, ...] = ()
    if approval and not find_objection(record._replace(requirement=requirement), approval):
        votes = (approval,)
    if event.verdict is Verdict.REVIEW and len(votes) < requirement.approvals:
        approval = None
    match event.verdict:
        case Verdict.EXECUTE:
            state = State.ALLOWED
        case Verdict.REVIEW:
            state = State.ALLOWED if approval else State.AWAITING
        case Verdict.BLOCK:
            state = State.BLOCKED
        case _:
            assert_never(event.verdict)
    return {
        "state": state,
        "decision": decision,
        "approval": approval,
        "requirement": requirement,
        "votes": votes,
        "edited_from": event.edited_from,
        "reason": block_reason(decision) if state is State.BLOCKED else "",
        "expires_at": approval.expires_at if approval else event.expires_at,
    }


_STATE_AFTER_ANSWER = {
    Answer.APPROVE: State.ALLOWED,
    Answer.REJECT: State.BLOCKED,
    Answer.RESPOND: State.ANSWERED,
    Answer.EDIT: State.EDITED,
}


def _keep_refused(record: CallRecord, approval: Approval) -> MaybeChanges:
    """Keep an answer that does not count; the same one once more changes nothing."""
    answer = replace(approval, at=0.0, expires_at=None)
    return (
        None
        if answer in record.refused_answers
        else {"refused_answers": (*record.refused_answers, answer)}
    )


def _answer(record: CallRecord, event: AnswerGiven) -> MaybeChanges:
    approval = event.approval
    if event.version not in {None, record.version}:
        why = "it has changed since it was shown"
        raise InvalidTransition(record.key, record.state, "AnswerGiven", why)
    if is_expired(record, approval.at):
        return _EXPIRED_CHANGES
    if find_objection(record, approval):
        return _keep_refused(record, approval)
    votes = (*record.votes, approval)
    if approval.answer is Answer.APPROVE and len(votes) < record.requirement.approvals:
        return {"votes": votes}
    is_applied_edit = approval.answer is Answer.EDIT and approval.edit is None
    return {
        "votes": votes,
        "state": _STATE_AFTER_ANSWER[approval.answer],
        "approval": approval,
        "reason": approval.text if approval.answer is Answer.REJECT else "",
        "expires_at": None if is_applied_edit else approval.expires_at,
    }


EXPIRED_REASON = "the time to answer or to use the approval ran out"
_EXPIRED_CHANGES: Changes = {"state": State.EXPIRED, "reason": EXPIRED_REASON}


def _expire(record: CallRecord, event: CallExpired) -> Changes:
    if not is_expired(record, event.at):
        raise InvalidTransition(record.key, record.state, "CallExpired", "its time is not over")
    return _EXPIRED_CHANGES


def _apply_edit(record: CallRecord, event: EditApplied) -> Changes:
    assert record.approval is not None  # noqa: S101 - see `has_unapplied_edit`
    return {"approval": replace(record.approval, edited_to=event.edited_to), "expires_at": None}


def _while_unapplied(
    transition: Callable[[CallRecord, Any], Changes],
) -> Callable[[CallRecord, Any], Changes]:
    """Return a transition that ends with the edit's application."""

    def apply(record: CallRecord, event: Event) -> Changes:
        if not record.has_unapplied_edit:
            why = "the edited call is known already"
            raise InvalidTransition(record.key, record.state, type(event).__name__, why)
        return transition(record, event)

    return apply


def _cancel(_: CallRecord, event: CallCancelled) -> Changes:
    person = f"cancelled by {event.cancelled_by}: " if event.cancelled_by else ""
    return {"state": State.CANCELLED, "reason": f"{person}{event.reason}"}


def _block(_: CallRecord, event: NobodyToAsk) -> Changes:
    return {"state": State.BLOCKED, "reason": event.reason}


def _start(record: CallRecord, event: ExecutionStarted) -> Changes:
    # Expiry is part of the claim: an approval given in time may still be used too late.
    if is_expired(record, event.at):
        return _EXPIRED_CHANGES
    return {"state": State.RUNNING, "owner": event.owner, "starts": record.starts + 1}


def _start_again(_: CallRecord, event: ExecutionStarted) -> Changes:
    return {"state": State.RUNNING, "owner": event.owner}


def _finish(_: CallRecord, event: ExecutionFinished) -> Changes:
    return _complete(event.result)


def _pause(_: CallRecord, __: ExecutionPaused) -> Changes:
    return {"state": State.PAUSED, "owner": None}


def _release(record: CallRecord, _: ClaimReleased) -> Changes:
    return {"state": State.ALLOWED, "owner": None, "starts": record.starts - 1}


def _lose(_: CallRecord, event: OwnerLost) -> Changes:
    # The approvals were for the start that is over: another one needs as many again.
    return {"state": State.UNKNOWN, "reason": event.reason, "votes": ()}


def _resolve(record: CallRecord, event: OutcomeResolved) -> MaybeChanges:
    if event.approval is not None and find_objection(record, event.approval):
        return _keep_refused(record, event.approval)
    return {"approval": event.approval or record.approval, **_complete(event.result)}


def _allow_rerun(record: CallRecord, event: RerunAllowed) -> MaybeChanges:
    approval, votes = event.approval, record.votes
    if approval is not None:
        if find_objection(record, approval):
            return _keep_refused(record, approval)
        votes = (*votes, approval)
        if len(votes) < record.requirement.approvals:
            return {"votes": votes}
    return {
        "state": State.ALLOWED,
        "owner": None,
        "reason": event.reason,
        "approval": approval or record.approval,
        "votes": votes,
        "expires_at": approval.expires_at if approval else None,
    }


def _complete(result: ToolOutcome) -> Changes:
    state = State.EXECUTED if isinstance(result, ToolSucceeded) else State.TOOL_ERROR
    return {"state": state, "result": result, "reason": "", "owner": None}


# Each function takes the event of its row, which the type of the table cannot express.
TRANSITIONS: dict[tuple[State, type], Callable[[CallRecord, Any], MaybeChanges]] = {
    (State.PROPOSED, DecisionMade): _decide,
    (State.AWAITING, AnswerGiven): _answer,
    (State.EDITED, EditApplied): _while_unapplied(_apply_edit),
    (State.EDITED, CallCancelled): _while_unapplied(_cancel),
    (State.EDITED, CallExpired): _while_unapplied(_expire),
    (State.EDITED, NobodyToAsk): _while_unapplied(_block),
    (State.AWAITING, NobodyToAsk): _block,
    (State.AWAITING, CallExpired): _expire,
    (State.ALLOWED, CallExpired): _expire,
    (State.AWAITING, CallCancelled): _cancel,
    (State.ALLOWED, CallCancelled): _cancel,
    (State.PAUSED, CallCancelled): _cancel,
    (State.ALLOWED, ExecutionStarted): _start,
    (State.PAUSED, ExecutionStarted): _start_again,
    (State.RUNNING, ExecutionFinished): _finish,
    (State.RUNNING, ExecutionPaused): _pause,
    (State.RUNNING, ClaimReleased): _release,
    (State.RUNNING, OwnerLost): _lose,
    (State.UNKNOWN, ExecutionFinished): _finish,
    (State.UNKNOWN, OutcomeResolved): _resolve,
    (State.UNKNOWN, RerunAllowed): _allow_rerun,
}
