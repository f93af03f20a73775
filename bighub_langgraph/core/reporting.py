"""What is told to BIGHUB of a call, and when: resolutions, outcomes and memory events, as data."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import NoneType
from typing import Any, Literal, NamedTuple

from bighub_langgraph.core.jsonable import to_jsonable, truncate
from bighub_langgraph.core.models import (
    FINAL_STATES,
    Answer,
    CallRecord,
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
    """What an outbox entry tells, in the order in which a call's entries are sent."""

    APPROVAL = "approval"
    OUTCOME = "outcome"
    MEMORY = "memory"


class Report(NamedTuple):
    """One thing to tell BIGHUB.

    Attributes:
        key: The call's record.
        turn: The tool round; memory events of one round travel together.
        body: Plain JSON, redacted.
    """

    key: str
    turn: str
    kind: ReportKind
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReportingConfig:
    """What of a call is told at all, and how it is redacted.

    Attributes:
        source: Which host speaks: `langgraph` or `openai_adapter`.
    """

    outcomes: bool = True
    memory: bool = True
    source: str = "langgraph"
    source_version: str = ""
    redact: Callable[[Any], Any] = field(default=redact)

    def hide(self, value: Any) -> Any:
        """A value redacted, in plain JSON.

        A user's redaction that fails hides everything: the tool has run, nothing may raise now.
        """
        try:
            said = self.redact(
                value if type(value) is str and value.isascii() else to_jsonable(value)
            )
            # Of a user's redaction it may be any object, and is put in words much later.
            return said if self.redact is redact or type(said) is str else to_jsonable(said)
        except Exception:
            log.exception("redact raised; the value is not told at all")
            return REDACTED

    def hide_text(self, text: str) -> str:
        """The same of a text, which stays one and is cut."""
        said = self.hide(text)
        return truncate(said if isinstance(said, str) else str(said), LONGEST_OUTPUT)


def build_reports(
    before: CallRecord, after: CallRecord, reporting: ReportingConfig
) -> Sequence[Report]:
    """What a move gives us to tell."""
    return [build_report(kind, after, reporting) for kind in report_kinds(before, after, reporting)]


def report_kinds(
    before: CallRecord, after: CallRecord, reporting: ReportingConfig
) -> Sequence[ReportKind]:
    """Of what kinds that is, in its order."""
    answered = before.state is State.AWAITING and after.state is not State.AWAITING
    settled = after.state in FINAL_STATES and before.state not in FINAL_STATES
    if not answered and not settled:
        return ()
    told: list[ReportKind] = []
    if answered and after.request_id:
        told.append(ReportKind.APPROVAL)
    if settled and after.state is not State.EDITED:
        if reporting.outcomes and (after.request_id or after.starts):
            told.append(ReportKind.OUTCOME)
        if reporting.memory:
            told.append(ReportKind.MEMORY)
    return told


def build_report(kind: ReportKind, record: CallRecord, reporting: ReportingConfig) -> Report:
    """One thing to tell of a call."""
    return Report(record.key, record.turn, kind, _BODIES[kind](record, reporting))


def has_immutable_output(record: CallRecord) -> bool:
    """Whether what there is to tell of a call can be put in words later: it is all our own.

    What a tool returned may be the framework's or the user's object, and change.
    """
    result = record.result
    return not isinstance(result, ToolSucceeded) or type(result.output) in _UNCHANGING


_UNCHANGING = frozenset({str, int, float, bool, NoneType})


def build_approval_resolution(record: CallRecord, reporting: ReportingConfig) -> dict[str, Any]:
    """What BIGHUB's approval queue is told. It knows no approver, so the comment opens with it."""
    approval = record.approval
    approved = approval is not None and approval.answer is Answer.APPROVE
    if approval is None:
        comment = record.reason
    else:
        text = approval.comment or approval.text
        said = reporting.hide_text(text) if text else approval.answer.value
        comment = f"{approval.approver}: {said}" if approval.approver else said
    return {
        "request_id": record.request_id,
        "resolution": "approved" if approved else "denied",
        "comment": comment,
    }


def build_outcome(record: CallRecord, reporting: ReportingConfig) -> dict[str, Any]:
    """The outcome of a call, in the words of BIGHUB's `outcomes.report`."""
    status, description = _told(record)
    body: dict[str, Any] = {
        "status": status,
        "request_id": record.request_id,
        "description": reporting.hide_text(description),
        "production_action": record.tool,
        "reported_by": record.request.actor,
        "recommendation_followed": recommendation_followed(record),
        "details": {"idempotency_key": record.key, "tool": record.tool},
    }
    if record.approval is not None:
        answered = record.approval.answer
        said = record.approval.text if answered is Answer.RESPOND else answered.value
        body["human_final_action"] = reporting.hide_text(said)
    return body


def recommendation_followed(record: CallRecord) -> bool | None:
    """Whether what happened is what BIGHUB recommended; None where that cannot be said."""
    if record.decision is None or record.decision.fault:
        return None
    ran = record.state is State.EXECUTED or record.state is State.TOOL_ERROR
    asked = record.approval is not None
    return _FOLLOWED[record.decision.recommendation](ran, asked)


_FOLLOWED: dict[Recommendation, Callable[[bool, bool], bool | None]] = {
    Recommendation.PROCEED: lambda ran, _: ran,
    Recommendation.CAUTION: lambda ran, _: ran,
    Recommendation.REVIEW: lambda ran, asked: True if asked else (False if ran else None),
    Recommendation.STOP: lambda ran, _: not ran,
    Recommendation.UNKNOWN: lambda _, __: None,
    Recommendation.MISSING: lambda _, __: None,
}


def public_status(record: CallRecord) -> Status | None:
    """BIGHUB's public word for where a call stands; None while it is on its way.

    A call in doubt shows as `tool_error`.
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
}


def build_memory_event(record: CallRecord, reporting: ReportingConfig) -> dict[str, Any]:
    """A `DecisionMemoryEvent` of BIGHUB's SDK, redacted and cut."""
    build_event: dict[str, Any] = {
        "event_id": record.key,
        "schema_version": 1,
        "source_version": reporting.source_version,
        "tool": record.tool,
        "status": (public_status(record) or record.state).value,
        "decision": record.decision.reply if record.decision else {},
        "arguments": record.request.context.get("arguments", {}),
        "call_id": record.call_id,
    }
    match record.result:
        case ToolSucceeded(output):
            build_event["output"] = to_loggable(output, reporting.hide)
        case ToolFailed(error):
            build_event["error"] = reporting.hide_text(error)
        case None if record.reason:
            build_event["error"] = reporting.hide_text(record.reason)
        case None:
            pass
    return build_event


_BODIES: dict[ReportKind, Callable[[CallRecord, ReportingConfig], dict[str, Any]]] = {
    ReportKind.APPROVAL: build_approval_resolution,
    ReportKind.OUTCOME: build_outcome,
    ReportKind.MEMORY: lambda record, reporting: {
        "about": _about(record, reporting),
        "event": build_memory_event(record, reporting),
    },
}


def _about(record: CallRecord, reporting: ReportingConfig) -> dict[str, Any]:
    """What BIGHUB's `ingest_memory` takes beside the events."""
    about: dict[str, Any] = {
        "source": reporting.source,
        "actor": record.request.actor,
        "trace_id": record.request.context.get("trajectory_id", record.thread),
    }
    if reporting.source_version:
        about["source_version"] = reporting.source_version
    if record.request.domain:
        about["domain"] = record.request.domain
    if record.request.model:
        about["model"] = record.request.model
    return about


def _redacted(value: object) -> Any:
    return redact(to_jsonable(value))


def to_loggable(output: object, hide: Callable[[object], Any] = _redacted) -> Any:
    """An output for memory and logs: plain JSON, redacted, and its `repr` cut when it is large.

    Where a framework wrapped what the tool said into messages, only what it said is shown.
    """
    contents = [] if isinstance(output, str) else _contents(output)
    told = hide(contents[0] if len(contents) == 1 else contents or output)
    text = told if isinstance(told, str) else repr(told)
    return told if len(text) <= LONGEST_OUTPUT else truncate(text, LONGEST_OUTPUT)


def _contents(output: object) -> list[object]:
    """The contents of tool messages in a framework's update, by their shape."""
    found: list[object] = []
    seen: dict[int, object] = {}  # what a tool made may hold itself
    left = [output]
    while left:
        one = left.pop()
        if hasattr(one, "tool_call_id") and hasattr(one, "content"):
            found.append(one.content)
        elif id(one) not in seen:
            seen[id(one)] = one
            left.extend(reversed(_parts(one)))
    return found


def _parts(output: object) -> Sequence[object]:
    if isinstance(output, Mapping):
        return list(output.values())
    if isinstance(output, list | tuple):
        return output
    return [output.update] if hasattr(output, "goto") and hasattr(output, "update") else ()


def _told(record: CallRecord) -> tuple[str, str]:
    match record.result:
        case ToolSucceeded():
            return "SUCCESS", f"{record.tool} ran"
        case ToolFailed(error):
            return "FAILURE", f"{record.tool} failed: {error}"
        case None if record.state is State.ANSWERED:
            return "BLOCKED", f"a person answered instead of {record.tool}"
        case None:
            return "BLOCKED", f"{record.tool} did not run: {record.reason or 'denied'}"


EventName = Literal["decision", "approval", "outcome"]


def build_event(name: EventName, record: CallRecord, *, replayed: bool = False) -> dict[str, Any]:
    """An event as plain JSON.

    Keys: `type` ("bighub"), `event`, `tool`, `call_id`, `key`, `status` (one of BIGHUB's four, or
    None while the call is on its way), `state` (ours), `verdict`, `recommendation`,
    `confidence`, `risk_score`, `enforcement_mode`, `reason`, `request_id`; and where they apply
    `approval` (answer, approver, verified, comment), `output` (redacted), `error`, `replayed`,
    `in_doubt`.
    """
    told: dict[str, Any] = {
        "type": "bighub",
        "event": name,
        "tool": record.tool,
        "call_id": record.call_id,
        "key": record.key,
        "status": to_jsonable(public_status(record)),
        "state": record.state.value,
        **_decided(record),
        **_answered(record),
        **_ended(record),
    }
    if replayed:
        told["replayed"] = True
    if record.state is State.UNKNOWN:
        told["in_doubt"] = True
    return told


def _decided(record: CallRecord) -> dict[str, Any]:
    decision = record.decision
    if decision is None:
        return {}
    return {
        "verdict": _VERDICTS.get(record.state, Verdict.EXECUTE).value,
        "recommendation": decision.raw_recommendation,
        "confidence": decision.confidence,
        "risk_score": decision.risk_score,
        "enforcement_mode": decision.mode.value,
        "reason": decision.reason,
        "request_id": decision.request_id,
    }


_VERDICTS = {State.AWAITING: Verdict.REVIEW, State.BLOCKED: Verdict.BLOCK}


def _answered(record: CallRecord) -> dict[str, Any]:
    approval = record.approval
    if approval is None:
        return {}
    return {
        "approval": {
            "answer": approval.answer.value,
            "approver": approval.approver,
            "verified": approval.verified,
            "comment": approval.comment or approval.text,
        }
    }


def _ended(record: CallRecord) -> dict[str, Any]:
    match record.result:
        case ToolSucceeded(output):
            return {"output": to_loggable(output)}
        case ToolFailed(error):
            return {"error": error}
        case None:
            return {"error": record.reason} if record.reason else {}
