"""Settled calls in a small space, for a journal in memory that remembers thousands of them.

A record is a dozen objects, each of which Python's garbage collector would look at again and
again. Packed it is one run of bytes; who asks for it gets an equal record.
"""

import pickle
from dataclasses import fields
from io import BytesIO
from operator import attrgetter
from typing import Any

from bighub_langgraph.core.models import (
    FINAL_STATES,
    Answer,
    Approval,
    CallRecord,
    Decision,
    EvaluationRequest,
    Mode,
    Recommendation,
    State,
    ToolFailed,
    ToolSucceeded,
)
from bighub_langgraph.core.reporting import has_immutable_output

# Its thread, its request and its bytes. A plain tuple of such the collector leaves alone.
Packed = tuple[str, str | None, bytes]


def packed(record: CallRecord) -> CallRecord | Packed:
    """A record in a small space; the record itself where it may move, or is not all our own."""
    if record.state not in FINAL_STATES or not has_immutable_output(record):
        return record
    decision = record.decision
    result = (record.result.output,) if isinstance(record.result, ToolSucceeded) else record.result
    said = (_of_record(record), decision and _of_decision(decision), result)
    try:
        return record.thread, record.request_id, _dumped(said)
    except Exception:  # noqa: BLE001 - a user's redaction may have left any object in it
        return record


def _dumped(said: object) -> bytes:
    written = BytesIO()
    _Ours(written, pickle.HIGHEST_PROTOCOL).dump(said)
    return written.getvalue()


class _Ours(pickle.Pickler):
    """Refuses everybody else's objects: they may come back changed, or not at all."""

    def reducer_override(self, one: Any) -> Any:
        if (one if isinstance(one, type) else type(one)) in _OWN:
            return NotImplemented
        raise pickle.PicklingError


_OWN = frozenset({Approval, Answer, ToolFailed})


def unpacked(kept: CallRecord | Packed) -> CallRecord:
    """The record again."""
    if isinstance(kept, CallRecord):
        return kept
    (state, *said), decided, result = pickle.loads(kept[2])  # noqa: S301 - of this process
    about = len(_PROPOSAL)
    return CallRecord(
        **dict(zip(_RECORD, said[about:], strict=True)),
        state=State(state),
        request=EvaluationRequest(*said[:about]),
        decision=_decision(*decided) if decided else None,
        result=ToolSucceeded(*result) if isinstance(result, tuple) else result,
    )


def _decision(recommendation: str, mode: str, *said: Any) -> Decision:
    known = dict(zip(_DECISION, said, strict=True))
    return Decision(recommendation=Recommendation(recommendation), mode=Mode(mode), **known)


def thread_of(kept: CallRecord | Packed) -> str:
    """Its thread."""
    return kept.thread if isinstance(kept, CallRecord) else kept[0]


def request_of(kept: CallRecord | Packed) -> str | None:
    """BIGHUB's id of its evaluation."""
    return kept.request_id if isinstance(kept, CallRecord) else kept[1]


def _names(kind: type, *others: str) -> tuple[str, ...]:
    return tuple(one.name for one in fields(kind) if one.name not in others)


# What is packed of each, by its names; of an enum its word.
_PROPOSAL = _names(EvaluationRequest)
_RECORD = _names(CallRecord, "state", "request", "decision", "result")
_DECISION = _names(Decision, "recommendation", "mode")
_of_record = attrgetter("state._value_", *(f"request.{one}" for one in _PROPOSAL), *_RECORD)
_of_decision = attrgetter("recommendation._value_", "mode._value_", *_DECISION)
