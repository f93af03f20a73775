"""What a person is shown of a call: the evidence in plain words, and as data."""

from collections.abc import Mapping, Sequence
from typing import Any

from bighub_langgraph.core.decision import Decision
from bighub_langgraph.core.plain import cut, plain
from bighub_langgraph.core.record import Record
from bighub_langgraph.core.words import State

MOST_SHOWN = 3


def describe(record: Record, arguments: Mapping[str, Any]) -> str:
    """What a person reads before they answer."""
    lines = [f"{record.tool}({_listed(arguments)})"]
    if record.state is State.UNKNOWN:
        lines += [
            f"This call was started, and whether it took effect is not known: {record.reason}.",
            (
                "Approve: run it again. Reject: it did not take effect and shall not. "
                "Respond: it did; write what it returned."
            ),
        ]
    if record.decision is not None:
        lines += _opinion(record.decision)
    return "\n".join(lines)


def evidence(record: Record) -> dict[str, Any]:
    """The same for programs, plain JSON: what stands under the `bighub` key of a request."""
    decision = record.decision
    told: dict[str, Any] = {
        "tool_call_id": record.call_id,
        "key": record.key,
        "state": record.state.value,
        "expires_at": record.expires_at,
    }
    if decision is None:
        return told
    return told | {
        "recommendation": decision.word,
        "confidence": decision.confidence,
        "risk_score": decision.risk_score,
        "rationale": decision.reason,
        "alternatives": plain(decision.alternatives),
        "precedents": plain(decision.precedents),
        "trajectory_health": decision.trajectory_health,
        "request_id": decision.request_id,
    }


def _opinion(decision: Decision) -> list[str]:
    heading = f"BIGHUB says {decision.word.replace('_', ' ')}"
    if decision.risk_score is not None:
        heading += f", risk {decision.risk_score:.2f}"
    if decision.confidence is not None:
        heading += f", confidence {decision.confidence}"
    lines = [f"{heading}.", decision.reason]
    lines += _some("Instead", decision.alternatives, "action", "rationale")
    lines += _some("Earlier", decision.precedents, "action", "outcome")
    return [line for line in lines if line]


def _some(title: str, rows: Sequence[Mapping[str, Any]], *names: str) -> list[str]:
    told = []
    for row in rows[:MOST_SHOWN]:
        words = [str(row[name]) for name in names if row.get(name)]
        if words:
            told.append(f"{title}: {cut(': '.join(words), 200)}")
    return told


def _listed(arguments: Mapping[str, Any]) -> str:
    return cut(", ".join(f"{name}={value!r}" for name, value in arguments.items()), 600)
