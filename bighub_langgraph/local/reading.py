"""Reading outcomes back: by decision, as a timeline, and what is still awaited."""

from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, func, select

from bighub_langgraph.local.checking import sent
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.faults import not_found
from bighub_langgraph.local.outcomes import (
    case_id,
    decision_context,
    find_decision,
    outcome_view,
    stored_outcome,
)
from bighub_langgraph.local.reply import stored_reply
from bighub_langgraph.local.tables import decisions, evidence, outcomes
from bighub_langgraph.local.times import iso


def outcome_of(engine: Engine, request_id: str) -> dict[str, Any]:
    """The outcome that stands for a decision: the worst one reported."""
    with engine.store.transaction() as tx:
        decision = find_decision(tx, request_id=request_id)
        reports = _reports(tx, decision.request_id)
    if not reports:
        raise not_found("outcome", request_id)
    standing = next((row for row in reports if row.at == decision.outcome_at), reports[0])
    return _report_view(decision, standing)


def timeline(engine: Engine, request_id: str) -> dict[str, Any]:
    """Everything that happened to a decision, in order."""
    with engine.store.transaction() as tx:
        decision = find_decision(tx, request_id=request_id)
        reports = _reports(tx, decision.request_id)
    events = [{"type": "decision", "at": iso(decision.at), **decision_context(decision)}]
    if decision.resolved_at is not None:
        answer = {"resolution": decision.approval, "comment": decision.comment}
        events.append({"type": "approval", "at": iso(decision.resolved_at), **answer})
    events += [
        {"type": "outcome", "at": iso(row.at), "outcome": _report_view(decision, row)}
        for row in reports
    ]
    return {
        "request_id": decision.request_id,
        "case_id": case_id(decision.request_id),
        "current_status": decision.outcome,
        "events": sorted(events, key=lambda each: str(each["at"])),
    }


def pending(engine: Engine, *, min_age_hours: int, limit: int) -> dict[str, Any]:
    """Decisions whose outcome nobody has reported, oldest first."""
    before = engine.clock() - min_age_hours * 3_600.0
    waiting = (decisions.c.outcome.is_(None), decisions.c.at <= before)
    with engine.store.transaction() as tx:
        total = tx.execute(select(func.count()).select_from(decisions).where(*waiting)).scalar_one()
        rows = tx.execute(select(decisions).where(*waiting).order_by(decisions.c.id).limit(limit))
        found = [_pending_view(row) for row in rows]
    return {"pending": found, "total": total, "limit": limit}


def verify(engine: Engine, request_id: str) -> dict[str, Any]:
    """Whether a decision is known, and whether its stored reply is still the one that was given."""
    with engine.store.transaction() as tx:
        decision = find_decision(tx, request_id=request_id)
    reply = stored_reply(decision)
    return {
        "valid": reply["request_id"] == decision.request_id,
        "validation_id": decision.request_id,
        "validation_hash": decision.digest,
        "computed_hash": sha256(sent(reply)).hexdigest(),
        "validated_at": iso(decision.at),
        "allowed": reply["allowed"],
        "result": reply["result"],
        "message": f"{decision.action} was decided as {decision.recommendation}",
    }


def status(engine: Engine) -> dict[str, Any]:
    """That the engine is there, and how much it knows."""
    with engine.store.transaction() as tx:
        decided = tx.execute(select(func.max(decisions.c.id))).scalar_one()
        learned = tx.execute(select(func.max(evidence.c.seq))).scalar_one()
    return {
        "status": "ok",
        "engine": "embedded",
        "decisions": decided or 0,
        "evidence": learned or 0,
        "time": iso(engine.clock()),
    }


def _reports(tx: Connection, request_id: str) -> list[Row[Any]]:
    query = select(outcomes).where(outcomes.c.request_id == request_id)
    return list(tx.execute(query.order_by(outcomes.c.id)).all())


def _report_view(decision: Row[Any], row: Row[Any]) -> dict[str, Any]:
    view = outcome_view(decision, stored_outcome(row), row.at)
    return {**view, "outcome_id": f"out_{row.id}"}


def _pending_view(row: Row[Any]) -> dict[str, Any]:
    return {
        "request_id": row.request_id,
        "case_id": case_id(row.request_id),
        **decision_context(row),
        "decision_at": iso(row.at),
    }
