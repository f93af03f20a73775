"""Calls, decisions and records that tests begin with, and strategies for hypothesis."""

from typing import Any

from hypothesis import strategies as st

from bighub_langgraph.core.decision import parse_decision
from bighub_langgraph.core.lifecycle import (
    Answered,
    Closed,
    Decided,
    Event,
    Finished,
    Interrupted,
    Lost,
    Released,
    Rerun,
    Resolved,
    Started,
    advance,
)
from bighub_langgraph.core.models import (
    Answer,
    Approval,
    Decision,
    Executed,
    Failed,
    Recommendation,
    Record,
    ToolCall,
    Verdict,
)
from bighub_langgraph.core.policy import Rules, propose

REFUND = ToolCall("thread-1", "message-1", "call-1", "refund", {"order_id": "o1", "amount": 40})


def reply(recommendation: str | None = "proceed", **fields: Any) -> dict[str, Any]:
    """A reply of BIGHUB."""
    said = {"request_id": "req-1", "risk_score": 0.2, "recommendation_confidence": "high", **fields}
    return said if recommendation is None else {"recommendation": recommendation, **said}


def decision(recommendation: str = "proceed", **fields: Any) -> Decision:
    """A decision, read from a reply."""
    return parse_decision(reply(recommendation, **fields))


def proposed(call: ToolCall = REFUND) -> Record:
    """A record of a call that nobody has evaluated."""
    return Record.of(call, propose(call, Rules()), 0.0)


def decided(verdict: Verdict = Verdict.EXECUTE, **fields: Any) -> Record:
    """A record of a call that BIGHUB was asked about."""
    return advance(proposed(), Decided(decision(), verdict, **fields))


def approval(answer: Answer = Answer.APPROVE, at: float = 0.0, **fields: Any) -> Approval:
    """A person's answer."""
    return Approval(answer=answer, at=at, **fields)


OWNERS = st.sampled_from(["a", "b"])
TIMES = st.floats(0, 20)
RESULTS = st.one_of(st.builds(Executed, st.text()), st.builds(Failed, st.text()))
APPROVALS = st.builds(
    Approval,
    answer=st.sampled_from(Answer),
    at=TIMES,
    expires_at=st.none() | TIMES,
)
DECISIONS = st.sampled_from(
    [decision(word) for word in Recommendation] + [decision("proceed", needs_review=True)]
)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        Decided,
        DECISIONS,
        st.sampled_from(Verdict),
        approval=st.none() | st.builds(approval, st.just(Answer.EDIT), TIMES),
        expires_at=st.none() | TIMES,
    ),
    st.builds(Answered, APPROVALS),
    st.builds(Closed, st.text()),
    st.builds(Started, OWNERS, TIMES),
    st.builds(Finished, OWNERS, RESULTS),
    st.builds(Interrupted, OWNERS),
    st.builds(Released, OWNERS),
    st.builds(Lost, OWNERS, st.text()),
    st.builds(Resolved, RESULTS),
    st.builds(Rerun, st.text()),
)
