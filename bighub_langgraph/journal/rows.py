"""Records as rows and back. Everything is JSON but a tool's output, which may be any object."""

import json
import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from bighub_langgraph.core.decision import parse_decision
from bighub_langgraph.core.jsonable import to_jsonable
from bighub_langgraph.core.models import (
    Answer,
    Approval,
    CallRecord,
    Decision,
    EvaluationRequest,
    Recommendation,
    State,
    ToolFailed,
    ToolOutcome,
    ToolSucceeded,
)
from bighub_langgraph.core.ports import MEMORY_GRACE, QueuedReport
from bighub_langgraph.core.reporting import Report, ReportKind

log = logging.getLogger("bighub_langgraph")


def row_of(record: CallRecord, at: float) -> dict[str, Any]:
    """A record as a row of the calls table."""
    return {
        "key": record.key,
        **{name: storable(getattr(record, name)) for name in _NAMES},
        "request_id": storable(record.request_id) if record.request_id else None,
        "created_at": record.created_at,
        "body": json.dumps(_body(record)),
        **moving_parts(record, at),
    }


def moving_parts(record: CallRecord, at: float) -> dict[str, Any]:
    """The part of a row that a move may change."""
    codec, result = _dumped(record.result)
    return {
        "state": record.state.value,
        "version": record.version,
        "moved_at": at,
        "owner": record.owner,
        "starts": record.starts,
        "expires_at": record.expires_at,
        "said": _said(record),
        "codec": codec,
        "result": result,
    }


def record_of(row: Mapping[str, Any]) -> CallRecord:
    """A record from its row."""
    body = json.loads(row["body"])
    said = json.loads(row["said"])
    return CallRecord(
        key=row["key"],
        **{name: row[name] for name in _NAMES} | body["names"],
        request=EvaluationRequest(**body["request"]),
        state=State(row["state"]),
        decision=_decision(body["decision"]),
        approval=_approval(said["approval"]),
        edited_from=body["edited_from"],
        result=_loaded(row["codec"], row["result"], said["error"]),
        reason=said["reason"],
        owner=row["owner"],
        starts=row["starts"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        version=row["version"],
    )


_NAMES = ("thread", "turn", "call_id", "tool")


def storable(text: str) -> str:
    """A text that both databases take: PostgreSQL knows no NUL, and no driver half a surrogate."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\\0").encode(errors="backslashreplace").decode()


def _unstorable(record: CallRecord) -> dict[str, str]:
    """Names as they are, where the columns cannot hold them; a model may say anything."""
    names = {name: getattr(record, name) for name in _NAMES}
    return {name: text for name, text in names.items() if storable(text) != text}


def entry_row(entry: Report, at: float) -> dict[str, Any]:
    """An entry as a new row of the outbox."""
    return {
        "key": entry.key,
        "turn": storable(entry.turn),
        "kind": entry.kind.value,
        "body": json.dumps(entry.body),
        "queued_at": at,
        "due_at": at + MEMORY_GRACE if entry.kind is ReportKind.MEMORY else 0.0,
    }


def queued_of(row: Mapping[str, Any]) -> QueuedReport:
    """A queued entry from its row."""
    entry = Report(row["key"], row["turn"], ReportKind(row["kind"]), json.loads(row["body"]))
    return QueuedReport(row["id"], entry, row["tries"], row["refusals"])


def note_row(before: CallRecord | None, after: CallRecord, event: str, at: float) -> dict[str, Any]:
    """A move as a row of the history."""
    return {
        "key": after.key,
        "at": at,
        "event": event,
        "state": after.state.value,
        "version": after.version,
        "note": json.dumps(_note(before, after)),
    }


def _note(before: CallRecord | None, after: CallRecord) -> dict[str, Any]:
    """What the history keeps of a move: who did it, who said what, and on which evidence."""
    note: dict[str, Any] = {}
    if before is None and after.decision is not None:
        note["decision"] = _evidence(after.decision)
    if before is None and after.edited_from:
        note["edited_from"] = after.edited_from
    if after.approval is not None and (before is None or after.approval != before.approval):
        note["approval"] = _told(after.approval)
    if isinstance(after.result, ToolFailed):
        note["error"] = after.result.error
    if after.reason:
        note["reason"] = after.reason
    owner = after.owner or (before.owner if before is not None else None)
    if owner:
        note["owner"] = owner
    return note


def _evidence(decision: Decision) -> dict[str, Any]:
    """What BIGHUB said, in the words that decide; the whole reply stays on the record."""
    return {
        "recommendation": decision.raw_recommendation,
        "enforcement_mode": decision.mode.value,
        "confidence": decision.confidence,
        "risk_score": decision.risk_score,
        "reason": decision.reason,
        "request_id": decision.request_id,
        "fault": decision.fault,
    }


def _body(record: CallRecord) -> dict[str, Any]:
    proposal = record.request
    body: dict[str, Any] = {
        "request": {name: getattr(proposal, name) for name in _PROPOSED},
        "decision": None,
        "edited_from": record.edited_from,
        "names": _unstorable(record),
    }
    if record.decision is not None:
        body["decision"] = {"reply": record.decision.reply, "fault": record.decision.fault}
    return body


def _said(record: CallRecord) -> str:
    error = record.result.error if isinstance(record.result, ToolFailed) else None
    if record.approval is None and error is None and not record.reason:
        return _NOTHING_SAID
    approval = None if record.approval is None else _told(record.approval)
    return json.dumps({"reason": record.reason, "error": error, "approval": approval})


# Of most calls, at every move.
_NOTHING_SAID = json.dumps({"reason": "", "error": None, "approval": None})


def _told(approval: Approval) -> dict[str, Any]:
    return {name: getattr(approval, name) for name in _APPROVED}


_PROPOSED = tuple(one.name for one in fields(EvaluationRequest))
_APPROVED = tuple(one.name for one in fields(Approval))


def _decision(body: Mapping[str, Any] | None) -> Decision | None:
    if body is None:
        return None
    reply = body["reply"]
    if not body["fault"]:
        return parse_decision(reply)
    return Decision(reply, Recommendation(reply["recommendation"]), fault=body["fault"])


def _approval(told: Mapping[str, Any] | None) -> Approval | None:
    return None if told is None else Approval(**{**told, "answer": Answer(told["answer"])})


_JSON = "json"


def _dumped(result: ToolOutcome | None) -> tuple[str | None, bytes | None]:
    """A result as bytes. Objects of LangGraph go through its own serializer."""
    if result is None:
        return None, None
    output = result.output
    if _is_plain(output):
        return _JSON, json.dumps(output).encode()
    try:
        from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

        return JsonPlusSerializer().dumps_typed(output)
    except Exception:
        log.exception("an output could not be stored as it is; its description is stored instead")
        return _JSON, json.dumps(to_jsonable(output)).encode()


def _loaded(codec: str | None, stored: bytes | None, error: str | None) -> ToolOutcome | None:
    if codec is None or stored is None:
        return None
    if codec == _JSON:
        output = json.loads(stored)
    else:
        from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

        output = JsonPlusSerializer().loads_typed((codec, bytes(stored)))
    return ToolSucceeded(output) if error is None else ToolFailed(error, output)


def _is_plain(value: object) -> bool:
    """Whether JSON gives back exactly this value."""
    if value is None or type(value) in {str, bool, int}:
        return True
    if type(value) is float:
        return value == value and value not in {float("inf"), float("-inf")}  # noqa: PLR0124 - NaN
    if type(value) is list:
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(type(key) is str and _is_plain(one) for key, one in value.items())
    return False
