"""Approvals: what waits for a person, and what the person said."""

from typing import Any

from sqlalchemy import Row, select, text, update

from bighub_langgraph.local.checking import check
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.faults import Refused, invalid
from bighub_langgraph.local.outcomes import find_decision
from bighub_langgraph.local.reply import stored_reply
from bighub_langgraph.local.requests import Resolution
from bighub_langgraph.local.scoring.evidence import Label
from bighub_langgraph.local.tables import decisions
from bighub_langgraph.local.times import iso

_STATUSES = ("pending", "approved", "denied", "settled")
_LABELS = {"approved": Label.APPROVED, "denied": Label.DENIED}


def list_approvals(engine: Engine, *, status: str, limit: int) -> list[dict[str, Any]]:
    """The approvals with a status, oldest first."""
    wanted = _STATUSES if status == "all" else (status,)
    if wanted[0] not in _STATUSES:
        raise invalid("query.status", f"one of {', '.join(_STATUSES)} or all")
    query = select(decisions).where(_ASKED, decisions.c.approval.in_(wanted))
    with engine.store.transaction() as tx:
        return [
            approval_view(row) for row in tx.execute(query.order_by(decisions.c.id).limit(limit))
        ]


_ASKED = text("approval <> ''")  # as the index has it


def resolve(engine: Engine, request_id: str, body: object) -> dict[str, Any]:
    """Take in a person's answer; the first one stands, the same again changes nothing."""
    answer = check(Resolution, body)
    with engine.store.transaction() as tx:
        engine.numbers.take_turn(tx)
        decision = find_decision(tx, request_id=request_id)
        if decision.approval in _LABELS:
            return _again(decision, answer.resolution)
        at = engine.clock()
        changes: dict[str, Any] = {
            "approval": answer.resolution,
            "comment": answer.comment,
            "resolved_at": at,
        }
        # What happened weighs more than what somebody thought of it before.
        if decision.label is None:
            changes |= engine.learned.add(tx, decision, _LABELS[answer.resolution], at)
        chosen = update(decisions).where(decisions.c.request_id == decision.request_id)
        tx.execute(chosen.values(**changes))
        return approval_view(find_decision(tx, request_id=decision.request_id))


def approval_view(decision: Row[Any]) -> dict[str, Any]:
    """An approval as the API shows it."""
    resolved = decision.approval in _LABELS
    intelligence = stored_reply(decision)["decision_intelligence"]
    return {
        "request_id": decision.request_id,
        "validation_id": decision.request_id,
        "action": decision.action,
        "actor": decision.actor,
        "target": decision.target,
        "domain": decision.domain,
        "value": decision.value,
        "status": decision.approval,
        "resolution": decision.approval if resolved else None,
        "comment": decision.comment,
        "risk_score": decision.risk,
        "recommendation": decision.recommendation,
        "reason": intelligence["rationale"],
        "created_at": iso(decision.at),
        "resolved_at": iso(decision.resolved_at),
    }


def _again(decision: Row[Any], resolution: str) -> dict[str, Any]:
    if decision.approval != resolution:
        raise Refused(409, f"{decision.request_id} was {decision.approval} before")
    return approval_view(decision)
