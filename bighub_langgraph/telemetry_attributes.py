"""What spans and metrics say about a call: never a secret, a name of a person or an argument."""

import hashlib

from bighub_langgraph.core.models import (
    LAPSED_STATES,
    Answer,
    CallRecord,
    Decision,
    State,
    ToolFailed,
    Verdict,
)

Attributes = dict[str, str | float | bool]

_ANSWERS = {
    Answer.APPROVE: "approved",
    Answer.EDIT: "edited",
    Answer.REJECT: "rejected",
    Answer.RESPOND: "responded",
}
_WITHOUT_ANSWER = {
    State.AWAITING: "pending",
    State.EXPIRED: "expired",
    State.CANCELLED: "cancelled",
}


def decision_attributes(decision: Decision | None) -> Attributes:
    """Return what is shown of BIGHUB's decision."""
    if decision is None:
        return {}
    attributes: Attributes = {"bighub.recommendation": decision.recommendation.value}
    if decision.confidence is not None:
        attributes["bighub.confidence"] = decision.confidence
    if decision.risk_score is not None:
        attributes["bighub.risk_score"] = decision.risk_score
    if decision.request_id is not None:
        attributes["bighub.request_id"] = decision.request_id
    if decision.fault:
        attributes["bighub.fault"] = decision.fault
    return attributes


def verdict_attributes(record: CallRecord) -> Attributes:
    """Return what was made of the decision, and how its approval stands."""
    state = _approval_state(record)
    attributes: Attributes = {"bighub.verdict": verdict_of(record).value}
    return {**attributes, "bighub.approval.state": state} if state else attributes


def approval_attributes(record: CallRecord) -> Attributes:
    """Return who answered: a reference that is the same for the same name, and not the name."""
    approval = record.approval
    if approval is None:
        return {}
    attributes: Attributes = {
        "bighub.approval.state": _ANSWERS[approval.answer],
        "bighub.approval.verified": approval.verified,
    }
    if approval.approver:
        name = f"bighub.approver:{approval.approver}".encode(errors="backslashreplace")
        attributes["bighub.approval.approver"] = hashlib.sha256(name).hexdigest()[:16]
    return attributes


def ended_status(record: CallRecord) -> str | None:
    """Return how a call ended that was neither run nor answered; None for any other."""
    return record.state.value if record.state in LAPSED_STATES else None


def verdict_of(record: CallRecord) -> Verdict:
    """Return what was decided about a call."""
    if record.state is State.AWAITING or record.approval is not None:
        return Verdict.REVIEW
    return Verdict.BLOCK if record.state is State.BLOCKED else Verdict.EXECUTE


def error_type(outcome: ToolFailed) -> str:
    """Return the class of a tool's error; never a part of its text, which may hold anything."""
    return outcome.error_class or "tool_error"


def _approval_state(record: CallRecord) -> str | None:
    if record.approval is not None:
        return _ANSWERS[record.approval.answer]
    return _WITHOUT_ANSWER.get(record.state)
