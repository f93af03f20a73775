"""The closed vocabularies: BIGHUB's words on the wire, and ours for what becomes of a call."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.jsonable import MAPPING


class Recommendation(StrEnum):
    """What BIGHUB recommends. The last two stand for a word we do not know, and for no word."""

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
    """What we do about a call, from loose to tight."""

    EXECUTE = "execute"
    REVIEW = "review"
    BLOCK = "block"


class State(StrEnum):
    """Where a call is in its life."""

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


FINAL_STATES = frozenset(
    {State.EXECUTED, State.TOOL_ERROR, State.BLOCKED, State.ANSWERED, State.EDITED}
)


class Status(StrEnum):
    """BIGHUB's four public words for the result of a call."""

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
    """What to do about a call while BIGHUB cannot be reached."""

    CLOSED = "closed"
    REVIEW = "review"
    OPEN = "open"


def strictest(*verdicts: Verdict) -> Verdict:
    """The most careful of some verdicts."""
    return max(verdicts, key=_TIGHTNESS.__getitem__)


_TIGHTNESS = {verdict: rank for rank, verdict in enumerate(Verdict)}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call of one assistant message.

    Attributes:
        thread: Thread id of a graph, run id of the facade.
        turn: Id of the assistant message or response that asked for it.
        call_id: The provider's id of the call, unique within the turn.
        tool: The tool's name.
        arguments: What the model wants to pass, plain JSON.
    """

    thread: str
    turn: str
    call_id: str
    tool: str
    arguments: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Digest of all five parts, 32 hexadecimal digits; the same anywhere."""
        parts = (self.thread, self.turn, self.call_id, self.tool, self.arguments)
        try:
            return _digest(parts)
        except _NOT_JSON as error:
            raise _not_plain(f"call {self.call_id} of {self.tool!r}", error) from error


def digest(value: object, *, of: str = "value") -> str:
    """Digest a plain JSON value; what has no canonical JSON is an `InvalidCall`."""
    try:
        return _digest(value)
    except _NOT_JSON as error:
        raise _not_plain(of, error) from error


def _digest(value: object) -> str:
    return hashlib.sha256(_canonical(value).encode()).hexdigest()[:32]


def _not_plain(what: str, error: Exception) -> InvalidCall:
    return InvalidCall(f"the arguments of {what} are not plain JSON: {error}")


_NOT_JSON = (TypeError, ValueError, RecursionError)
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


@dataclass(frozen=True)
class Decision:
    """BIGHUB's opinion of one call.

    Attributes:
        reply: BIGHUB's own reply, whole; or what stands in for it when there is none.
        recommendation: Its recommendation; `UNKNOWN` for a word that is none of the four.
        mode: How binding it is; a missing field is advisory, a word we do not know is review.
        request_id: BIGHUB's id of the evaluation; None when BIGHUB gave no readable answer.
        risk_score: From 0 (none) to 1, if given.
        fault: What stood in the way of an answer: nothing, "unavailable" or "refused".
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
        """BIGHUB's confidence: high, medium or low; a number from newer services, as text."""
        said = self.reply.get("recommendation_confidence", self.reply.get("confidence"))
        return None if said is None else str(said)

    @property
    def reason(self) -> str:
        """Why, in BIGHUB's words."""
        return str(self.intelligence.get("rationale") or self.reply.get("reason") or "")

    @property
    def alternatives(self) -> Sequence[Mapping[str, Any]]:
        """What BIGHUB would rather see done, each with an `action` and perhaps a `rationale`."""
        listed = _mappings(self.intelligence.get("alternatives"))
        better = self.reply.get("better_action")
        if better and not any(one.get("action") == better for one in listed):
            return ({"action": better}, *listed)
        return listed

    @property
    def precedents(self) -> Sequence[Mapping[str, Any]]:
        """Earlier calls like this one, as far as BIGHUB lists them."""
        return _mappings(self.intelligence.get("precedents"))

    @property
    def trajectory_health(self) -> str | None:
        """How the session is going so far, in BIGHUB's word."""
        said = self.intelligence.get("trajectory_health")
        if said is None and (older := self.reply.get("intelligence")) is not None:
            said = older.get("trajectory_health") if isinstance(older, MAPPING) else None
        return None if said is None else str(said)

    def flag(self, *names: str) -> bool:
        """Whether the reply sets any of these fields to something true."""
        for name in names:  # noqa: SIM110 - asked several times a call: `any` would cost as much again
            if self.reply.get(name):
                return True
        return False


def _mappings(value: object) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(value, list | tuple):
        return ()
    return tuple(one for one in value if isinstance(one, Mapping))


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
    """What a person may say to a call that waits for one."""

    APPROVE = "approve"
    EDIT = "edit"
    REJECT = "reject"
    RESPOND = "respond"


@dataclass(frozen=True, slots=True)
class Approval:
    """What a person answered, and who.

    Attributes:
        text: The reason of a rejection, or the response that stands in for the tool's output.
        edited_to: Key of the record with the edited arguments, after an edit.
        approver: Who says so; only a claim unless `verified`.
        at: When, in seconds since the epoch.
        expires_at: Until when a yes may be used; None for no limit.
    """

    answer: Answer
    at: float
    text: str = ""
    comment: str = ""
    approver: str = ""
    verified: bool = False
    expires_at: float | None = None
    edited_to: str = ""


@dataclass(frozen=True, slots=True)
class ToolSucceeded:
    """The tool ran and returned."""

    output: object


@dataclass(frozen=True, slots=True)
class ToolFailed:
    """The tool ran and raised, or said that it failed.

    Attributes:
        error: One line for the model, secrets redacted.
        output: What the framework made of the failure, when it made something.
    """

    error: str
    output: object = None


ToolOutcome = ToolSucceeded | ToolFailed


@dataclass(frozen=True)
class CallRecord:
    """Everything known of one call.

    Attributes:
        key: The call's digest; the record's name in the journal.
        request: What BIGHUB evaluates.
        decision: BIGHUB's decision; None while the call is not evaluated.
        approval: What a person answered.
        edited_from: Key of the record whose arguments a person replaced by these.
        result: The tool's result, once it ran.
        reason: Why the call was blocked or its outcome is unknown, in a sentence.
        owner: The attempt that runs it, while it runs.
        starts: How many times the tool was started.
        expires_at: When a pending or unused approval expires, in seconds since the epoch.
        version: Grows with every transition; the journal compares it before it writes.
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

    @classmethod
    def of(cls, call: ToolCall, request: EvaluationRequest, at: float) -> "CallRecord":
        """Return a new record of a call that is not evaluated yet."""
        return cls(
            key=call.key,
            thread=call.thread,
            turn=call.turn,
            call_id=call.call_id,
            tool=call.tool,
            request=request,
            created_at=at,
        )

    @property
    def is_final(self) -> bool:
        """Whether the state is final, so that the outcome can be reported."""
        return self.state in FINAL_STATES

    @property
    def request_id(self) -> str | None:
        """BIGHUB's id of the evaluation."""
        return self.decision.request_id if self.decision else None
