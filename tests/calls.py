"""Calls, decisions and records for tests, and strategies for hypothesis."""

from typing import Any

from hypothesis import strategies as st

from bighub_langgraph.core.decision import parse_decision
from bighub_langgraph.core.lifecycle import (
    AnswerGiven,
    CallCancelled,
    CallExpired,
    ClaimReleased,
    DecisionMade,
    EditApplied,
    Event,
    ExecutionFinished,
    ExecutionPaused,
    ExecutionStarted,
    NobodyToAsk,
    OutcomeResolved,
    OwnerLost,
    RerunAllowed,
    apply_event,
)
from bighub_langgraph.core.models import (
    Answer,
    Approval,
    ApprovalRequirement,
    CallRecord,
    Decision,
    Recommendation,
    ToolCall,
    ToolFailed,
    ToolSucceeded,
    Verdict,
)
from bighub_langgraph.core.policy import GuardSettings, build_evaluation_request

REFUND = ToolCall("thread-1", "message-1", "call-1", "refund", {"order_id": "o1", "amount": 40})


def reply(recommendation: str | None = "proceed", **fields: Any) -> dict[str, Any]:
    """A response of BIGHUB."""
    response = {
        "request_id": "req-1",
        "risk_score": 0.2,
        "recommendation_confidence": "high",
        **fields,
    }
    return response if recommendation is None else {"recommendation": recommendation, **response}


def decision(recommendation: str = "proceed", **fields: Any) -> Decision:
    """A decision, parsed from a response."""
    return parse_decision(reply(recommendation, **fields))


def proposed_record(call: ToolCall = REFUND) -> CallRecord:
    """The record of a call that is not evaluated yet."""
    return CallRecord.of(call, build_evaluation_request(call, GuardSettings()), 0.0)


def decided_record(verdict: Verdict = Verdict.EXECUTE, **fields: Any) -> CallRecord:
    """The record of a call that BIGHUB evaluated."""
    return apply_event(proposed_record(), DecisionMade(decision(), verdict, **fields))


def approval(answer: Answer = Answer.APPROVE, at: float = 0.0, **fields: Any) -> Approval:
    """A person's answer."""
    return Approval(answer=answer, at=at, **fields)


OWNERS = st.sampled_from(["a", "b"])
TIMES = st.floats(0, 20)
RESULTS = st.one_of(st.builds(ToolSucceeded, st.text()), st.builds(ToolFailed, st.text()))
APPROVALS = st.builds(
    Approval,
    answer=st.sampled_from(Answer),
    at=TIMES,
    expires_at=st.none() | TIMES,
    approver=OWNERS,
    verified=st.booleans(),
    edit=st.none(),
)
REQUIREMENTS = st.builds(
    ApprovalRequirement,
    st.integers(1, 3),
    st.sampled_from([(), ("a",)]),
    st.sampled_from(["", "a"]),
)
DECISIONS = st.sampled_from(
    [decision(recommendation) for recommendation in Recommendation]
    + [decision("proceed", needs_review=True)]
)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        DecisionMade,
        DECISIONS,
        st.sampled_from(Verdict),
        approval=st.none() | st.builds(approval, st.just(Answer.EDIT), TIMES),
        expires_at=st.none() | TIMES,
        requirement=REQUIREMENTS,
    ),
    st.builds(AnswerGiven, APPROVALS, st.none() | st.integers(1, 3)),
    st.builds(EditApplied, OWNERS),
    st.builds(CallCancelled, st.text()),
    st.builds(CallExpired, TIMES),
    st.builds(NobodyToAsk, st.text()),
    st.builds(ExecutionStarted, OWNERS, TIMES),
    st.builds(ExecutionFinished, OWNERS, RESULTS),
    st.builds(ExecutionPaused, OWNERS),
    st.builds(ClaimReleased, OWNERS),
    st.builds(OwnerLost, OWNERS, st.text()),
    st.builds(OutcomeResolved, RESULTS, st.none() | APPROVALS),
    st.builds(RerunAllowed, st.text(), st.none() | APPROVALS),
)
