"""The types of the domain: a tool call, its evaluation and decision, and its record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from bighub_langgraph.core.argument_patch import ArgumentPatch
from bighub_langgraph.core.jsonable import MAPPING, digest, replace_all_surrogates


class Recommendation(StrEnum):
    """BIGHUB's recommendation; UNKNOWN is any other word, MISSING is none."""

    PROCEED = "proceed"
    CAUTION = "proceed_with_caution"
    REVIEW = "review_recommended"
    STOP = "do_not_proceed"
    UNKNOWN = "unknown"
    MISSING = "missing"


class Mode(StrEnum):
    """How binding a recommendation is (BIGHUB's `enforcement_mode`)."""

    ADVISORY = "advisory"
    REVIEW = "review"
    ENFORCED = "enforced"


class Verdict(StrEnum):
    """What we do about a call, from the loosest to the strictest."""

    EXECUTE = "execute"
    REVIEW = "review"
    BLOCK = "block"


class State(StrEnum):
    """The state of a call."""

    PROPOSED = "proposed"
    AWAITING = "awaiting_approval"
    ALLOWED = "allowed"
    RUNNING = "running"
    PAUSED = "paused"
    UNKNOWN = "unknown"
    EXECUTED = "executed"
    TOOL_ERROR = "tool_error"
    BLOCKED = "blocked"
    ANSWERED = "answered"
    EDITED = "edited"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


# A person is asked about a call in these states: to approve it, or what became of it.
ASKABLE_STATES = (State.AWAITING, State.UNKNOWN)
# A call in these states ends when its time is over.
EXPIRING_STATES = frozenset({State.AWAITING, State.ALLOWED})
# A call in these waits for a person, or for its thread to be resumed.
WAITING_STATES = EXPIRING_STATES | {State.PAUSED}
# A call in these ended without its tool and without a refusal.
LAPSED_STATES = frozenset({State.EXPIRED, State.CANCELLED})
FINAL_STATES = LAPSED_STATES | {
    *(State.EXECUTED, State.TOOL_ERROR, State.BLOCKED, State.ANSWERED, State.EDITED)
}


class Status(StrEnum):
    """BIGHUB's four public statuses of a call."""

    EXECUTED = "executed"
    BLOCKED = "blocked"
    APPROVAL_REQUIRED = "approval_required"
    TOOL_ERROR = "tool_error"


class Step(StrEnum):
    """What must happen to a call next."""

    EVALUATE = "evaluate"
    ASK = "ask"
    EXECUTE = "execute"
    REPORT = "report"
    NOTHING = "nothing"


class FailMode(StrEnum):
    """What to do about a call while BIGHUB is unreachable."""

    CLOSED = "closed"
    REVIEW = "review"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call of one assistant message.

    Attributes:
        thread: Thread id of a graph, run id of the facade.
        turn: Id of the assistant message or response with the call.
        call_id: The provider's id of the call, unique within the turn.
        tool: The tool's name.
        arguments: The arguments as JSON-compatible data.
    """

    thread: str
    turn: str
    call_id: str
    tool: str
    arguments: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Digest of all five parts: 32 hexadecimal digits, the same in every process."""
        parts = (self.thread, self.turn, self.call_id, self.tool, self.arguments)
        return digest(parts, of=f"call {self.call_id} of {self.tool!r}")


@dataclass(frozen=True)
class Decision:
    """BIGHUB's decision about one call.

    Attributes:
        reply: BIGHUB's whole response, or its stand-in where there is none.
        recommendation: The recommendation; `UNKNOWN` where it is none of the four.
        mode: How binding it is: advisory where the field is missing, review where it is unknown.
        request_id: BIGHUB's id of the evaluation; None without a valid response.
        risk_score: From 0 (none) to 1, if given.
        fault: Why there is no valid response: "unavailable" or "refused"; else "".
        intelligence: The response's `decision_intelligence`.
    """

    reply: Mapping[str, Any]
    recommendation: Recommendation = Recommendation.MISSING
    mode: Mode = Mode.ADVISORY
    request_id: str | None = None
    risk_score: float | None = None
    fault: str = ""
    intelligence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def raw_recommendation(self) -> str:
        """The recommendation as BIGHUB wrote it."""
        return str(self.reply.get("recommendation") or self.recommendation)

    @property
    def confidence(self) -> str | None:
        """High, medium or low; or a number as text, from newer services."""
        value = self.reply.get("recommendation_confidence", self.reply.get("confidence"))
        return None if value is None else str(value)

    @property
    def reason(self) -> str:
        """BIGHUB's rationale."""
        return str(self.intelligence.get("rationale") or self.reply.get("reason") or "")

    @property
    def alternatives(self) -> Sequence[Mapping[str, Any]]:
        """Actions that BIGHUB prefers, each with an `action` and perhaps a `rationale`."""
        rows = _select_mappings(self.intelligence.get("alternatives"))
        better = self.reply.get("better_action")
        if better and not any(row.get("action") == better for row in rows):
            return ({"action": better}, *rows)
        return rows

    @property
    def precedents(self) -> Sequence[Mapping[str, Any]]:
        """Earlier calls like this one, where BIGHUB lists them."""
        return _select_mappings(self.intelligence.get("precedents"))

    @property
    def trajectory_health(self) -> str | None:
        """The health of the session so far, as BIGHUB names it."""
        value = self.intelligence.get("trajectory_health")
        if value is None and isinstance(older := self.reply.get("intelligence"), MAPPING):
            value = older.get("trajectory_health")
        return None if value is None else str(value)

    def flag(self, *names: str) -> bool:
        """Whether any of these fields of the response is true."""
        return any(self.reply.get(name) for name in names)


def _select_mappings(value: object) -> tuple[Mapping[str, Any], ...]:
    rows = value if isinstance(value, list | tuple) else ()
    return tuple(row for row in rows if isinstance(row, MAPPING))


@dataclass(frozen=True)
class EvaluationRequest:
    """What BIGHUB evaluates. The arguments in `context` are redacted.

    Attributes:
        action: The tool's `action_name`, or its name.
        value: What is at stake, in the user's own unit; None when there is none.
        target: The person or thing the action affects, if known.
        context: Session and trajectory ids, objective, the tool's metadata, redacted arguments.
        as_payload: Whether it is sent as one payload (`decision_mode="submit_payload"`).
        model: The model that made the call; goes to BIGHUB's memory only.
    """

    action: str
    actor: str
    domain: str | None = None
    value: float | None = None
    target: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    as_payload: bool = False
    model: str | None = None


class Answer(StrEnum):
    """The answers a person may give about a call."""

    APPROVE = "approve"
    EDIT = "edit"
    REJECT = "reject"
    RESPOND = "respond"


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's answer.

    Attributes:
        text: The reason of a rejection, or the response that stands in for the tool's output.
        edited_to: Key of the record with the edited arguments, after an edit.
        approver: The person's name; only a claim unless `verified`.
        at: When it was given, in seconds since the epoch.
        expires_at: When an approval can no longer be used; None for no limit.
        roles: What a verified approver is, such as "approver".
        edit: The changes of an edit that the guard applies when the call's graph is resumed.
    """

    answer: Answer
    at: float
    text: str = ""
    comment: str = ""
    approver: str = ""
    verified: bool = False
    expires_at: float | None = None
    edited_to: str = ""
    roles: tuple[str, ...] = ()
    edit: ArgumentPatch | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "roles", tuple(self.roles))
        if isinstance(self.edit, Mapping):
            object.__setattr__(self, "edit", ArgumentPatch(**self.edit))
        for name in ("text", "comment", "approver"):
            object.__setattr__(self, name, replace_all_surrogates(getattr(self, name)))


class ApprovalRequirement(NamedTuple):
    """Who has to approve a call, as it was decided with the call.

    Attributes:
        approvals: How many people; of several each must be verified.
        approvers: The names or roles of those who may; anyone where there are none.
        requested_by: The authenticated user for whom the agent runs; "" if unknown.
    """

    approvals: int = 1
    approvers: tuple[str, ...] = ()
    requested_by: str = ""


@dataclass(frozen=True, slots=True)
class ToolSucceeded:
    """The tool ran and returned.

    Attributes:
        output: What a replay returns again; a framework may have wrapped it.
        content: The tool's own result, for reports and people, where `output` wraps it.
    """

    output: object
    content: object = None

    @property
    def own_output(self) -> object:
        """The tool's own result."""
        return self.output if self.content is None else self.content


@dataclass(frozen=True, slots=True)
class ToolFailed:
    """The tool ran and raised, or returned an error.

    Attributes:
        error: One line for the model, redacted.
        output: The framework's own form of the failure, if any.
        error_class: Name of the exception's class, for traces, where this process saw it raised.
    """

    error: str
    output: object = None
    error_class: str | None = field(default=None, compare=False)


ToolOutcome = ToolSucceeded | ToolFailed


class CallRecord(NamedTuple):
    """Everything known of one call.

    Attributes:
        key: The call's digest; the record's name in the journal.
        request: What BIGHUB evaluates.
        decision: BIGHUB's decision; None while the call is not evaluated.
        approval: What a person answered.
        requirement: Who has to approve it.
        votes: The approvals that count so far, and the answer that ended the question.
        refused_answers: The answers that do not count, without their times.
        edited_from: Key of the record whose arguments a person replaced by these.
        result: The tool's result, once it ran.
        reason: Why the call was blocked or its outcome is unknown, in a sentence.
        owner: The attempt that runs it, while it runs.
        starts: How many times the tool was started.
        expires_at: When a pending or unused approval expires, in seconds since the epoch.
        version: Grows with every transition; the journal compares it before it writes.
        root_checkpoint: Of a call in a subgraph, the root graph's checkpoint whose task made it.
        trace_context: The W3C trace context of the call's span; None where calls are not traced.
    """

    key: str
    thread: str
    turn: str
    call_id: str
    tool: str
    request: EvaluationRequest
    state: State = State.PROPOSED
    decision: Decision | None = None
    approval: Approval | None = None
    edited_from: str | None = None
    result: ToolOutcome | None = None
    reason: str = ""
    owner: str | None = None
    starts: int = 0
    created_at: float = 0.0
    expires_at: float | None = None
    version: int = 0
    requirement: ApprovalRequirement = ApprovalRequirement()
    votes: tuple[Approval, ...] = ()
    refused_answers: tuple[Approval, ...] = ()
    root_checkpoint: str | None = None
    trace_context: Mapping[str, str] | None = None

    @classmethod
    def of(
        cls,
        call: ToolCall,
        request: EvaluationRequest,
        at: float,
        root_checkpoint: str | None = None,
    ) -> "CallRecord":
        """Return a new record of a call that is not evaluated yet."""
        call_fields = (call.thread, call.turn, call.call_id, call.tool)
        return cls(call.key, *call_fields, request, created_at=at, root_checkpoint=root_checkpoint)

    @property
    def has_unapplied_edit(self) -> bool:
        """Whether a person edited it outside of its graph, and the guard has not applied that."""
        approval = self.approval if self.state is State.EDITED else None
        return bool(approval and approval.edit is not None and not approval.edited_to)

    @property
    def is_final(self) -> bool:
        """Whether the state is final, so that the outcome can be reported."""
        return self.state in FINAL_STATES and not self.has_unapplied_edit

    @property
    def request_id(self) -> str | None:
        """BIGHUB's id of the evaluation."""
        return self.decision.request_id if self.decision else None
