"""What hosts stream and log of a call: one shape for decisions, approvals and outcomes."""

from typing import Any, Literal

from bighub_langgraph.core.outcome import shown, status_of
from bighub_langgraph.core.plain import plain
from bighub_langgraph.core.record import Executed, Failed, Record
from bighub_langgraph.core.words import State, Verdict

EventName = Literal["decision", "approval", "outcome"]


def event(name: EventName, record: Record, *, replayed: bool = False) -> dict[str, Any]:
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
        "status": plain(status_of(record)),
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


def _decided(record: Record) -> dict[str, Any]:
    decision = record.decision
    if decision is None:
        return {}
    return {
        "verdict": _VERDICTS.get(record.state, Verdict.EXECUTE).value,
        "recommendation": decision.word,
        "confidence": decision.confidence,
        "risk_score": decision.risk_score,
        "enforcement_mode": decision.mode.value,
        "reason": decision.reason,
        "request_id": decision.request_id,
    }


_VERDICTS = {State.AWAITING: Verdict.REVIEW, State.BLOCKED: Verdict.BLOCK}


def _answered(record: Record) -> dict[str, Any]:
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


def _ended(record: Record) -> dict[str, Any]:
    match record.result:
        case Executed(output):
            return {"output": shown(output)}
        case Failed(error):
            return {"error": error}
        case None:
            return {"error": record.reason} if record.reason else {}
