"""Approvals: decisions that wait for a person, and people's answers."""

from typing import Any, Literal

from sqlalchemy import Row, select, text

from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.errors import ApiError
from bighub_langgraph.local.outcomes import find_decision
from bighub_langgraph.local.repository import DecisionRow
from bighub_langgraph.local.response import load_response
from bighub_langgraph.local.schemas.requests import ApprovalResolution
from bighub_langgraph.local.schemas.wire_format import Limit, format_timestamp
from bighub_langgraph.local.scoring.evidence import Label
from bighub_langgraph.local.tables import decisions

ApprovalStatus = Literal["pending", "approved", "denied", "settled", "all"]
_LABELS = {"approved": Label.APPROVED, "denied": Label.DENIED}
_HAS_APPROVAL = text("approval <> ''")  # the condition of the index


def list_approvals(
    engine: Engine, *, status: ApprovalStatus = "pending", limit: Limit = 100
) -> list[dict[str, Any]]:
    """Return the approvals with a status, or `all`, oldest first."""
    query = select(decisions).where(_HAS_APPROVAL)
    if status != "all":
        query = query.where(decisions.c.approval == status)
    with engine.store.transaction() as tx:
        rows = tx.execute(query.order_by(decisions.c.id).limit(limit))
        return [_approval_view(row) for row in rows]


def resolve(engine: Engine, request_id: str, body: ApprovalResolution) -> dict[str, Any]:
    """Record a person's answer. The first one stands; the same answer again changes nothing."""
    with engine.store.transaction() as tx:
        engine.sequences.lock(tx)
        decision = find_decision(engine, tx, request_id)
        if decision.approval in _LABELS:
            if decision.approval != body.resolution:
                message = f"{decision.request_id} is {decision.approval} already"
                raise ApiError(409, message)
            return _approval_view(decision)
        at = engine.clock()
        engine.decisions.update(
            tx,
            decision,
            # An outcome weighs more than an earlier opinion.
            label=_LABELS[body.resolution] if decision.label is None else None,
            at=at,
            approval=body.resolution,
            comment=body.comment,
            resolved_at=at,
        )
        return _approval_view(find_decision(engine, tx, decision.request_id))


def _approval_view(decision: DecisionRow | Row[Any]) -> dict[str, Any]:
    return {
        "request_id": decision.request_id,
        "validation_id": decision.request_id,
        "action": decision.action,
        "actor": decision.actor,
        "target": decision.target,
        "domain": decision.domain,
        "value": decision.value,
        "status": decision.approval,
        "resolution": decision.approval if decision.approval in _LABELS else None,
        "comment": decision.comment,
        "risk_score": decision.risk,
        "recommendation": decision.recommendation,
        "reason": load_response(decision)["reason"],
        "created_at": format_timestamp(decision.at),
        "resolved_at": format_timestamp(decision.resolved_at),
    }
