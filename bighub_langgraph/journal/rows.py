"""Records as rows and back. Everything is JSON but a tool's output, which may be any object."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from bighub_langgraph.core.decision import Decision, parse_decision
from bighub_langgraph.core.outcome import Entry, Kind
from bighub_langgraph.core.plain import plain
from bighub_langgraph.core.record import (
    Answer,
    Approval,
    Executed,
    Failed,
    Proposal,
    Record,
    Result,
)
from bighub_langgraph.core.words import Recommendation, State

log = logging.getLogger("bighub_langgraph")


def row_of(record: Record) -> dict[str, Any]:
    """A record as a row of the calls table."""
    codec, result = _dumped(record.result)
    return {
        "key": record.key,
        "thread": record.thread,
        "turn": record.turn,
        "call_id": record.call_id,
        "tool": record.tool,
        "state": record.state.value,
        "version": record.version,
        "owner": record.owner,
        "starts": record.starts,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "body": json.dumps(_body(record)),
        "codec": codec,
        "result": result,
    }


def record_of(row: Mapping[str, Any]) -> Record:
    """A record from its row."""
    body = json.loads(row["body"])
    return Record(
        key=row["key"],
        thread=row["thread"],
        turn=row["turn"],
        call_id=row["call_id"],
        tool=row["tool"],
        proposal=Proposal(**body["proposal"]),
        state=State(row["state"]),
        decision=_decision(body["decision"]),
        approval=_approval(body["approval"]),
        edited_from=body["edited_from"],
        result=_loaded(row["codec"], row["result"], body.get("error")),
        reason=body["reason"],
        owner=row["owner"],
        starts=row["starts"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        version=row["version"],
    )


def entry_of(row: Mapping[str, Any]) -> Entry:
    """An outbox entry from its row."""
    return Entry(row["key"], row["turn"], Kind(row["kind"]), json.loads(row["body"]))


def note_of(record: Record) -> str:
    """What the history keeps of a move: who said what, on which evidence."""
    note: dict[str, Any] = {"reason": record.reason, "owner": record.owner}
    if record.decision is not None:
        note["recommendation"] = record.decision.word
        note["request_id"] = record.decision.request_id
    if record.approval is not None:
        note["approval"] = _told(record.approval)
    return json.dumps(note)


def _body(record: Record) -> dict[str, Any]:
    proposal = record.proposal
    body: dict[str, Any] = {
        "proposal": {name: getattr(proposal, name) for name in Proposal.__slots__},
        "decision": None,
        "approval": None if record.approval is None else _told(record.approval),
        "edited_from": record.edited_from,
        "reason": record.reason,
    }
    if record.decision is not None:
        body["decision"] = {"reply": plain(record.decision.reply), "fault": record.decision.fault}
    if isinstance(record.result, Failed):
        body["error"] = record.result.error
    return body


def _told(approval: Approval) -> dict[str, Any]:
    return {name: getattr(approval, name) for name in Approval.__slots__}


def _decision(body: Mapping[str, Any] | None) -> Decision | None:
    if body is None:
        return None
    reply = body["reply"]
    if not body["fault"]:
        return parse_decision(reply)
    return Decision(reply, Recommendation(reply["recommendation"]), fault=body["fault"])


def _approval(body: Mapping[str, Any] | None) -> Approval | None:
    return None if body is None else Approval(**{**body, "answer": Answer(body["answer"])})


_JSON = "json"


def _dumped(result: Result | None) -> tuple[str | None, bytes | None]:
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
        return _JSON, json.dumps(plain(output)).encode()


def _loaded(codec: str | None, stored: bytes | None, error: str | None) -> Result | None:
    if codec is None or stored is None:
        return None
    if codec == _JSON:
        output = json.loads(stored)
    else:
        from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

        output = JsonPlusSerializer().loads_typed((codec, bytes(stored)))
    return Executed(output) if error is None else Failed(error, output)


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
