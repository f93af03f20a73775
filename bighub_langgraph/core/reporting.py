"""What is reported about a call: approvals, outcomes and memory events for BIGHUB, and events."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from types import NoneType
from typing import Any, Literal, NamedTuple

from bighub_langgraph.core.jsonable import copy_jsonable, to_jsonable, truncate
from bighub_langgraph.core.models import (
    LAPSED_STATES,
    Answer,
    CallRecord,
    Decision,
    Recommendation,
    State,
    Status,
    ToolFailed,
    ToolSucceeded,
    Verdict,
)
from bighub_langgraph.core.redaction import REDACTED, redact

log = logging.getLogger("bighub_langgraph")

LONGEST_OUTPUT = 4_000


class ReportKind(StrEnum):
    """The kinds of reports, in the order in which those of a call are delivered."""

    APPROVAL = "approval"
    OUTCOME = "outcome"
    MEMORY = "memory"


class Report(NamedTuple):
    """One report to BIGHUB.

    Attributes:
        key: The key of the call's record.
        turn: The turn of the call; memory events of one turn are delivered together.
        body: JSON-compatible, redacted.
    """

    key: str
    turn: str
    kind: ReportKind
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReportingConfig:
    """Which reports are made, and how they are redacted.

    Attributes:
        outcomes: Whether outcomes are reported.
        memory: Whether memory events are sent.
        source: The host that reports: `langgraph` or `openai_adapter`.
    """

    outcomes: bool = True
    memory: bool = True
    source: str = "langgraph"
    source_version: str = ""
    redact: Callable[[Any], Any] = field(default=redact)

    def redact_value(self, value: Any) -> Any:
        """Return a redacted, JSON-compatible copy.

        A user's `redact` that raises redacts the whole value: the tool ran, so nothing may raise.
        """
        try:
            is_ascii = type(value) is str and value.isascii()
            redacted_value = self.redact(value if is_ascii else to_jsonable(value))
            is_jsonable = self.redact is redact or type(redacted_value) is str
            return redacted_value if is_jsonable else to_jsonable(redacted_value)
        except Exception:
            log.exception("redact raised; the whole value is redacted")
            return REDACTED

    def redact_text(self, text: str) -> str:
        """Return a redacted, truncated text."""
        redacted_text = str(self.redact_value(text)).replace("\x00", "\\x00")
        return truncate(redacted_text, LONGEST_OUTPUT)


# -- reports for BIGHUB ----------------------------------------------------------------------------


def build_reports(
    before: CallRecord, after: CallRecord, reporting: ReportingConfig
) -> Sequence[Report]:
    """Build the reports of a transition."""
    bodies = ReportBodies(after, reporting)
    kinds = report_kinds(before, after, reporting)
    return [Report(after.key, after.turn, kind, bodies.build(kind)) for kind in kinds]


def report_kinds(
    before: CallRecord, after: CallRecord, reporting: ReportingConfig
) -> Sequence[ReportKind]:
    """Return the kinds of reports that a transition causes, in their order."""
    # Only what a person said of this call: silence is no denial. The outcome tells of a response.
    answer = after.approval.answer if after.approval is not None else None
    is_answered = before.state is State.AWAITING and answer in _RESOLUTIONS
    is_completed = after.is_final and not before.is_final
    kinds: list[ReportKind] = []
    if is_answered and after.request_id:
        kinds.append(ReportKind.APPROVAL)
    if is_completed and after.state is not State.EDITED:
        if reporting.outcomes and (after.request_id or after.starts):
            kinds.append(ReportKind.OUTCOME)
        if reporting.memory:
            kinds.append(ReportKind.MEMORY)
    return kinds


def has_immutable_output(record: CallRecord) -> bool:
    """Whether a report may be built later: no one can change the output meanwhile."""
    result = record.result
    return not isinstance(result, ToolSucceeded) or type(result.own_output) in _IMMUTABLE


_IMMUTABLE = frozenset({str, int, float, bool, NoneType})


class ReportBodies:
    """Builds the bodies of a call's reports; the tool's output is redacted once for all of them."""

    def __init__(self, record: CallRecord, reporting: ReportingConfig) -> None:
        self._record, self._reporting = record, reporting

    def build(self, kind: ReportKind) -> dict[str, Any]:
        """Build the body of one report: JSON-compatible, redacted and bounded."""
        match kind:
            case ReportKind.APPROVAL:
                return self._build_approval_resolution()
            case ReportKind.OUTCOME:
                return self._build_outcome()
            case ReportKind.MEMORY:
                return {"about": self._describe_source(), "event": self._build_memory_event()}

    @cached_property
    def _output(self) -> Any:
        assert isinstance(self._record.result, ToolSucceeded)  # noqa: S101 - for the type checker
        return to_loggable(self._record.result.own_output, self._reporting.redact_value)

    def _build_approval_resolution(self) -> dict[str, Any]:
        """Build the body for BIGHUB's `approvals.resolve`, of a call that a person answered.

        It knows no approver, so the comment starts with the approver's name.
        """
        record, approval = self._record, self._record.approval
        assert approval is not None  # noqa: S101 - see `report_kinds`
        text = approval.comment or approval.text
        comment = self._reporting.redact_text(text) if text else approval.answer.value
        if approval.approver:
            comment = f"{approval.approver}: {comment}"
        resolution = _RESOLUTIONS[approval.answer]
        body = {"request_id": record.request_id, "resolution": resolution, "comment": comment}
        return body | ({"action": record.request.action} if approval.answer is Answer.EDIT else {})

    def _build_outcome(self) -> dict[str, Any]:
        """Build the body for BIGHUB's `outcomes.report`."""
        record, redact_text = self._record, self._reporting.redact_text
        status, description = _describe_result(record)
        body: dict[str, Any] = {
            "status": status,
            "request_id": record.request_id,
            "description": redact_text(description),
            "production_action": record.tool,
            "reported_by": record.request.actor,
            "recommendation_followed": was_recommendation_followed(record),
            "details": {"idempotency_key": record.key, "tool": record.tool},
        }
        if isinstance(record.result, ToolSucceeded):
            body["details"]["output"] = copy_jsonable(self._output)
        if record.approval is not None:
            answer = record.approval.answer
            action = record.approval.text if answer is Answer.RESPOND else answer.value
            body["human_final_action"] = redact_text(action)
        return body

    def _build_memory_event(self) -> dict[str, Any]:
        """Build a `DecisionMemoryEvent` of BIGHUB's SDK."""
        record = self._record
        event: dict[str, Any] = {
            "event_id": record.key,
            "schema_version": 1,
            "source_version": self._reporting.source_version,
            "tool": record.tool,
            "status": (public_status(record) or record.state).value,
            "decision": record.decision.reply if record.decision else {},
            "arguments": record.request.context.get("arguments", {}),
            "call_id": record.call_id,
        }
        if isinstance(record.result, ToolSucceeded):
            event["output"] = copy_jsonable(self._output)
        elif error := _find_error(record):
            event["error"] = self._reporting.redact_text(error)
        return event

    def _describe_source(self) -> dict[str, Any]:
        """Return the arguments of BIGHUB's `ingest_memory` besides the events."""
        request, reporting = self._record.request, self._reporting
        about: dict[str, Any] = {
            "source": reporting.source,
            "actor": request.actor,
            "trace_id": request.context.get("trajectory_id", self._record.thread),
        }
        optional = {
            "source_version": reporting.source_version,
            "domain": request.domain,
            "model": request.model,
        }
        return about | {name: value for name, value in optional.items() if value}


_RESOLUTIONS: Mapping[Answer | None, str] = {
    Answer.APPROVE: "approved",
    Answer.REJECT: "denied",
    Answer.EDIT: "modified",
}


def _describe_result(record: CallRecord) -> tuple[str, str]:
    match record.result:
        case ToolSucceeded():
            return "SUCCESS", f"{record.tool} ran"
        case ToolFailed(error):
            return "FAILURE", f"{record.tool} failed: {error}"
        case None if record.state is State.ANSWERED:
            return "BLOCKED", f"a person answered instead of {record.tool}"
        case None:
            return "BLOCKED", f"{record.tool} did not run: {record.reason or 'denied'}"


def was_recommendation_followed(record: CallRecord) -> bool | None:
    """Whether BIGHUB's recommendation was followed; None where that cannot be decided."""
    if record.decision is None or record.decision.fault or record.state in LAPSED_STATES:
        return None
    did_run = record.state in {State.EXECUTED, State.TOOL_ERROR}
    return _WAS_FOLLOWED[record.decision.recommendation](did_run, record.approval is not None)


# By recommendation, from whether the tool ran and whether a person answered.
_WAS_FOLLOWED: dict[Recommendation, Callable[[bool, bool], bool | None]] = {
    Recommendation.PROCEED: lambda did_run, _: did_run,
    Recommendation.CAUTION: lambda did_run, _: did_run,
    Recommendation.REVIEW: lambda did_run, is_answered: is_answered or (False if did_run else None),
    Recommendation.STOP: lambda did_run, _: not did_run,
    Recommendation.UNKNOWN: lambda _, __: None,
    Recommendation.MISSING: lambda _, __: None,
}


def _find_error(record: CallRecord) -> str:
    """Return why a call has no output, if it has none."""
    return record.result.error if isinstance(record.result, ToolFailed) else record.reason


# -- events ----------------------------------------------------------------------------------------

EventName = Literal["decision", "approval", "outcome"]


def build_event(name: EventName, record: CallRecord, *, replayed: bool = False) -> dict[str, Any]:
    """Build the JSON-compatible event that hosts stream and log.

    Keys: `type` ("bighub"), `event`, `tool`, `call_id`, `key`, `status` (one of BIGHUB's four, or
    None while the call is not complete), `state` (ours), `verdict`, `recommendation`,
    `confidence`, `risk_score`, `enforcement_mode`, `reason`, `request_id`; and where they apply
    `approval` (answer, approver, verified, comment), `output` (redacted), `error`, `replayed`,
    `outcome_unknown`.
    """
    event: dict[str, Any] = {
        "type": "bighub",
        "event": name,
        "tool": record.tool,
        "call_id": record.call_id,
        "key": record.key,
        "status": to_jsonable(public_status(record)),
        "state": record.state.value,
    }
    if (decision := record.decision) is not None:
        event["verdict"] = _VERDICTS.get(record.state, Verdict.EXECUTE).value
        event |= decision_fields(decision)
    if (approval := record.approval) is not None:
        event["approval"] = {
            "answer": approval.answer.value,
            "approver": approval.approver,
            "verified": approval.verified,
            "comment": approval.comment or approval.text,
        }
    if isinstance(record.result, ToolSucceeded):
        event["output"] = to_loggable(record.result.own_output)
    elif error := _find_error(record):
        event["error"] = error
    if replayed:
        event["replayed"] = True
    if record.state is State.UNKNOWN:
        event["outcome_unknown"] = True
    return event


def decision_fields(decision: Decision) -> dict[str, Any]:
    """Return what events and the history show of a decision."""
    return {
        "recommendation": decision.raw_recommendation,
        "confidence": decision.confidence,
        "risk_score": decision.risk_score,
        "enforcement_mode": decision.mode.value,
        "reason": decision.reason,
        "request_id": decision.request_id,
    }


_VERDICTS = {
    State.AWAITING: Verdict.REVIEW,
    **dict.fromkeys((State.BLOCKED, *LAPSED_STATES), Verdict.BLOCK),
}


def public_status(record: CallRecord) -> Status | None:
    """Return BIGHUB's public status of a call; None while it is not complete.

    A call whose outcome is unknown shows as `tool_error`.
    """
    return PUBLIC_STATUSES.get(record.state)


PUBLIC_STATUSES = {
    State.AWAITING: Status.APPROVAL_REQUIRED,
    State.UNKNOWN: Status.TOOL_ERROR,
    State.EXECUTED: Status.EXECUTED,
    State.TOOL_ERROR: Status.TOOL_ERROR,
    State.BLOCKED: Status.BLOCKED,
    State.ANSWERED: Status.BLOCKED,
    State.EDITED: Status.BLOCKED,
    State.EXPIRED: Status.BLOCKED,
    State.CANCELLED: Status.BLOCKED,
}


# -- outputs ---------------------------------------------------------------------------------------


def _redact_jsonable(value: object) -> Any:
    return redact(to_jsonable(value))


def to_loggable(output: object, redact: Callable[[object], Any] = _redact_jsonable) -> Any:
    """Return an output for reports and logs: JSON-compatible and redacted.

    One that is large, or that not every database can store, becomes its truncated `repr`.
    """
    redacted_output = redact(output)
    text = redacted_output if isinstance(redacted_output, str) else repr(redacted_output)
    if len(text) <= LONGEST_OUTPUT and _is_storable(redacted_output, _MAX_DEPTH):
        return redacted_output
    return truncate(text.replace("\x00", "\\x00"), LONGEST_OUTPUT)


def _is_storable(value: Any, depth: int) -> bool:
    """Whether a JSON value has no NUL character, no number over 64 bits, and is not too deep."""
    match value:
        case str():
            return "\x00" not in value
        case int():
            return -_MAX_INTEGER <= value < _MAX_INTEGER
        case dict() | list() if not depth:
            return False
        case dict():
            members = [*value, *value.values()]
        case list():
            members = value
        case _:
            return True
    return all(_is_storable(member, depth - 1) for member in members)


_MAX_DEPTH, _MAX_INTEGER = 16, 2**63
