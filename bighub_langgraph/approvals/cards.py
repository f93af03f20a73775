"""What page, terminal and worker show of a call that waits for a person."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bighub_langgraph.core.evidence import build_evidence, describe_call, describe_reason
from bighub_langgraph.core.models import LAPSED_STATES, Answer, Approval, CallRecord, State
from bighub_langgraph.core.ports import ApprovalQuestion
from bighub_langgraph.journal.admin import ApprovalView, CallView


@dataclass(frozen=True, slots=True)
class Approver:
    """Who answers.

    Attributes:
        verified: Whether somebody has checked that it is this person, as a sign-in does.
        roles: "viewer", "approver", "admin", or your own.
    """

    name: str
    verified: bool = False
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ApprovalCard:
    """One call, with everything that a person needs to answer about it.

    Attributes:
        agent: The name of the agent; "" where it has none, so that its caller resumes it.
        thread: The thread id of the root graph.
        namespace: The checkpoint namespace of the task that asks.
        arguments: The arguments, redacted.
        locked_pointers: Of the redacted arguments, which keep their value unless replaced.
        schema: The JSON schema of the arguments; empty where it is not known.
        description: The text that the question shows.
        evidence: What BIGHUB knows, as `build_evidence` returns it.
        allowed_answers: The answers that are allowed now; none where no answer is expected.
        approvers: The names or roles of those who may answer; anyone where there are none.
        required_approvals: How many people have to approve.
        votes: The answers so far that count.
        version: The record's version, for `ApprovalInbox.answer`.
        outcome_unknown: Whether the question is what became of the call: "approve" runs it again,
            "respond" says that it took effect and what it returned, "reject" that it did not.
        reason: Why it was blocked or ended; secrets that a person typed are redacted.
        edit: The changes of an edit by JSON pointer, redacted as the journal's history has them.
        change: Grows with every change of the call.
    """

    key: str
    agent: str
    thread: str
    namespace: str
    call_id: str
    tool: str
    arguments: Mapping[str, Any]
    locked_pointers: tuple[str, ...]
    schema: Mapping[str, Any]
    tool_description: str
    description: str
    evidence: Mapping[str, Any]
    allowed_answers: tuple[Answer, ...]
    allow_tool_change: bool
    approvers: tuple[str, ...]
    required_approvals: int
    votes: tuple[Approval, ...]
    asked_at: float
    expires_at: float | None
    state: State
    version: int
    record: CallRecord
    outcome_unknown: bool
    reason: str
    edit: Mapping[str, Any] | None
    change: int

    @property
    def risk_score(self) -> float | None:
        """The risk that BIGHUB sees, from 0 to 1; None where it gave none."""
        return find_risk_score(self.record)

    def is_locked(self, pointer: str) -> bool:
        """Whether a field, or what it is part of, is redacted."""
        return any(f"{pointer}/".startswith(f"{place}/") for place in self.locked_pointers)


def find_risk_score(record: CallRecord) -> float | None:
    """Return the risk score of a call's decision, if it has one."""
    return record.decision.risk_score if record.decision is not None else None


def build_card(view: ApprovalView) -> ApprovalCard:
    """Build the card of a call."""
    record = view.call.record
    question = view.question or _build_question(record)
    edit = record.approval.edit if record.approval is not None else None
    return ApprovalCard(
        key=record.key,
        agent=question.agent,
        thread=question.thread,
        namespace=question.namespace,
        call_id=record.call_id,
        tool=record.tool,
        arguments=question.arguments,
        locked_pointers=question.locked_pointers,
        schema=question.schema,
        tool_description=question.tool_description,
        description=question.description,
        evidence=question.evidence,
        allowed_answers=_list_allowed_answers(view.call, question),
        allow_tool_change=question.allow_tool_change,
        approvers=record.requirement.approvers,
        required_approvals=record.requirement.approvals,
        votes=record.votes,
        asked_at=view.asked_at or record.created_at,
        expires_at=record.expires_at if record.state is State.AWAITING else None,
        state=record.state,
        version=record.version,
        record=record,
        outcome_unknown=view.call.outcome_unknown,
        reason=describe_reason(record),
        edit=edit.redacted_values if edit is not None else None,
        change=view.change,
    )


def _build_question(record: CallRecord) -> ApprovalQuestion:
    """Build what people are shown of a call that nothing was stored of, such as a facade's."""
    arguments = record.request.context.get("arguments")
    arguments = arguments if isinstance(arguments, Mapping) else {}
    return ApprovalQuestion(
        key=record.key,
        agent="",
        thread=record.thread,
        namespace="",
        schema={},
        tool_description="",
        description=describe_call(record, arguments),
        evidence=build_evidence(record),
        arguments=arguments,
        locked_pointers=(),
        allowed_decisions=(Answer.APPROVE, Answer.REJECT),  # its caller has the arguments
        allow_tool_change=False,
    )


def _list_allowed_answers(call: CallView, question: ApprovalQuestion) -> tuple[Answer, ...]:
    if call.outcome_unknown:
        return (Answer.APPROVE, Answer.REJECT, Answer.RESPOND)
    if call.record.state is not State.AWAITING:
        return ()
    return tuple(Answer(answer) for answer in question.allowed_decisions)


def describe_ending(card: ApprovalCard) -> str:
    """Return why no answer is expected for a call, in a sentence: who answered, and when."""
    record, approval = card.record, card.record.approval
    if approval is None or record.state in LAPSED_STATES:
        return f"{card.tool} is {record.state.value}: {card.reason or 'nobody is asked about it'}"
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(approval.at))
    who = approval.approver or "somebody who gave no name"
    return f"{who} has answered already, at {when}: {approval.answer}"


def describe_details(details: Mapping[str, Any]) -> list[str]:
    """Return what the history knows of a transition: who decided what, and why."""
    parts: list[str] = []
    if decision := details.get("decision"):
        parts.append(str(decision["recommendation"]).replace("_", " "))
    if approval := details.get("approval"):
        name = approval["approver"] or "somebody without a name"
        identity = "verified" if approval["verified"] else "not verified"
        parts.append(f"{approval['answer']} by {name} ({identity})")
        parts += [approval["text"], approval["comment"]]
    parts += [details.get("reason", ""), details.get("error", "")]
    return [part for part in parts if part]
