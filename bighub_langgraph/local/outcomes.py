"""Outcomes of decisions: reporting what really happened, and reading it back."""

import json
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, func, select

from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.errors import ApiError, invalid_field, not_found_error
from bighub_langgraph.local.repository import DecisionRow, LabelRow
from bighub_langgraph.local.response import load_response
from bighub_langgraph.local.schemas.requests import (
    STATUS_ALIASES,
    TAXONOMY,
    OutcomeMeaning,
    OutcomeReport,
    OutcomeReportBatch,
)
from bighub_langgraph.local.schemas.wire_format import (
    AgeInHours,
    Limit,
    format_timestamp,
    to_json_text,
    validate,
)
from bighub_langgraph.local.scoring.features import Label
from bighub_langgraph.local.settings import HOUR
from bighub_langgraph.local.tables import decisions, evidence, outcomes


def report_outcome(engine: Engine, body: OutcomeReport) -> dict[str, Any]:
    """Report one outcome."""
    with engine.store.transaction() as tx:
        engine.sequences.lock(tx)
        view, label = _apply_report(engine, tx, body)
    engine.learn([label])
    return view


def report_outcomes(engine: Engine, body: OutcomeReportBatch) -> dict[str, Any]:
    """Report up to a hundred outcomes; an invalid one does not affect the others."""
    views, labels, errors = [], [], []
    with engine.store.transaction() as tx:
        engine.sequences.lock(tx)
        for index, item in enumerate(body.outcomes):
            try:  # an outcome is refused before anything of it is written
                view, label = _apply_report(engine, tx, validate(OutcomeReport, item))
            except ApiError as refusal:
                errors.append({"index": index, "status": refusal.status, "detail": refusal.detail})
            else:
                views.append(view)
                labels.append(label)
    engine.learn(labels)
    return {"reported": len(views), "failed": len(errors), "outcomes": views, "errors": errors}


def get_outcome(engine: Engine, request_id: str) -> dict[str, Any]:
    """Return the outcome that counts for a decision: the last one that was accepted."""
    with engine.store.transaction() as tx:
        decision = find_decision(engine, tx, request_id)
        reports = _list_reports(tx, decision)
    if not reports:
        raise not_found_error("outcome", request_id)
    last_report = (decision.outcome_at, decision.outcome)
    return next(view for at, view in reversed(reports) if (at, view["status"]) == last_report)


def get_timeline(engine: Engine, request_id: str) -> dict[str, Any]:
    """Return everything that happened to a decision, in order."""
    with engine.store.transaction() as tx:
        decision = find_decision(engine, tx, request_id)
        reports = _list_reports(tx, decision)
    answer = {
        "resolution": decision.approval,
        "comment": decision.comment,
        "modified_action": decision.modified_action,
    }
    events = [
        ("decision", decision.at, decision_context(decision)),
        ("approval", decision.resolved_at, answer),
        *(("outcome", at, {"outcome": view}) for at, view in reports),
    ]
    return {
        "request_id": decision.request_id,
        "case_id": case_id(decision.request_id),
        "current_status": decision.outcome,
        "events": [
            {"type": kind, "at": format_timestamp(at), **details}
            for kind, at, details in sorted(events, key=lambda event: event[1] or 0.0)
            if at is not None
        ],
    }


def list_pending(
    engine: Engine, *, min_age_hours: AgeInHours = 0, limit: Limit = 50
) -> dict[str, Any]:
    """Return decisions without a reported outcome, oldest first."""
    before = engine.clock() - min_age_hours * HOUR
    pending = (decisions.c.outcome.is_(None), decisions.c.at <= before)
    with engine.store.transaction() as tx:
        total = tx.execute(select(func.count()).select_from(decisions).where(*pending)).scalar_one()
        query = select(decisions).where(*pending).order_by(decisions.c.id).limit(limit)
        views = [
            {
                "request_id": row.request_id,
                "case_id": case_id(row.request_id),
                **decision_context(row),
                "decision_at": format_timestamp(row.at),
            }
            for row in tx.execute(query)
        ]
    return {"pending": views, "total": total, "limit": limit}


def list_statuses(_engine: Engine) -> dict[str, Any]:
    """Return every status that may be reported, with its meaning."""
    return {
        "statuses": [
            {"status": status, "category": meaning.category, "severity": meaning.severity}
            for status, meaning in TAXONOMY.items()
        ],
        "aliases": STATUS_ALIASES,
    }


def verify(engine: Engine, request_id: str) -> dict[str, Any]:
    """Return whether a decision exists, with hashes of its request and of its stored reply."""
    with engine.store.transaction() as tx:
        decision = find_decision(engine, tx, request_id)
    reply = load_response(decision)
    return {
        "valid": reply["request_id"] == decision.request_id,
        "validation_id": decision.request_id,
        "validation_hash": decision.digest,
        "computed_hash": sha256(to_json_text(reply).encode()).hexdigest(),
        "validated_at": format_timestamp(decision.at),
        "allowed": reply["allowed"],
        "result": reply["result"],
        "message": f"{decision.action} was decided as {decision.recommendation}",
    }


def get_status(engine: Engine) -> dict[str, Any]:
    """Return that the engine is available, and the numbers of decisions and labels."""
    with engine.store.transaction() as tx:
        last_decision = tx.execute(select(func.max(decisions.c.id))).scalar_one() or 0
        last_label = tx.execute(select(func.max(evidence.c.seq))).scalar_one() or 0
    return {
        "status": "ok",
        "engine": "embedded",
        "decisions": last_decision,
        "evidence": last_label,
        "time": format_timestamp(engine.clock()),
    }


def find_decision(engine: Engine, tx: Connection, name: str) -> DecisionRow:
    """Return a decision by the id of its request, validation or case; it is locked."""
    decision = engine.decisions.find(tx, request_id_of(name))
    if decision is None:
        raise not_found_error("decision", name)
    return decision


def request_id_of(name: str) -> str:
    """Return the id of a case's request; the id of a request stays as it is."""
    return "req_" + name.removeprefix("case_") if name.startswith("case_") else name


def case_id(request_id: str) -> str:
    """Return the id of a request's case."""
    return "case_" + request_id.removeprefix("req_")


def decision_context(decision: DecisionRow | Row[Any]) -> dict[str, Any]:
    """Return a decision as outcomes and cases show it."""
    return {
        "domain": decision.domain,
        "tool": decision.action,
        "action": decision.action,
        "actor_type": decision.actor,
        "verdict_was": decision.recommendation,
        "risk_score_was": decision.risk,
    }


def _apply_report(
    engine: Engine, tx: Connection, outcome: OutcomeReport
) -> tuple[dict[str, Any], LabelRow | None]:
    name = outcome.request_id or outcome.validation_id or outcome.case_id
    if name is None:
        raise invalid_field("body.request_id", "request_id, validation_id or case_id is required")
    decision = find_decision(engine, tx, name)
    at = engine.clock()
    number = engine.decisions.insert_report(
        tx,
        request_id=decision.request_id,
        idempotency_key=outcome.idempotency_key,
        at=at,
        status=outcome.status,
        report=outcome.model_dump_json(exclude_defaults=True),
    )
    if number is None:
        return {**_outcome_view(decision, outcome), "duplicate": True}, None
    is_accepted = decision.outcome is None or not outcome.is_automatic
    label = _update_decision(engine, tx, decision, outcome, at, is_accepted=is_accepted)
    view = {**_outcome_view(decision, outcome, at), "accepted": is_accepted}
    if not is_accepted:
        view["warning"] = f"{decision.outcome} was reported before and stays"
    return {**view, "outcome_id": f"out_{number}", "duplicate": False}, label


def _update_decision(
    engine: Engine,
    tx: Connection,
    decision: DecisionRow,
    outcome: OutcomeReport,
    at: float,
    *,
    is_accepted: bool,
) -> LabelRow | None:
    """Apply an outcome to its decision, label and session.

    The last report counts. What an adapter reports of the execution itself comes before anything
    that is found out later, even if it arrives after it.
    """
    changes: dict[str, Any] = {}
    if decision.approval == "pending":
        changes["approval"] = "settled"
    if outcome.recommendation_followed is not None:
        changes["followed"] = outcome.recommendation_followed
    label = None
    if is_accepted:
        meaning = _find_meaning(outcome)
        changes |= {"outcome": outcome.status, "severity": meaning.severity, "outcome_at": at}
        before = None if decision.label is None else Label(decision.label)
        if meaning.bad is not None:
            label = Label.BAD if meaning.bad else Label.GOOD
        elif before is not None and before.outcome:
            label = Label.NOTHING
        if label is before:
            label = None
        if label is not None and decision.session_id:
            session = engine.decisions.read_state(tx, decision.session_id).session
            after = session.with_outcome(decision.action, label, replaces=before)
            engine.decisions.update_session(tx, decision.session_id, after)
    return engine.decisions.update(tx, decision, label=label, at=at, **changes)


def _find_meaning(outcome: OutcomeReport) -> OutcomeMeaning:
    meaning, rollback = TAXONOMY[outcome.status], TAXONOMY["ROLLBACK"]
    # A success that had to be rolled back is none.
    is_worse = outcome.rollback_performed and rollback.severity > meaning.severity
    return rollback if is_worse else meaning


def _list_reports(tx: Connection, decision: DecisionRow) -> list[tuple[float, dict[str, Any]]]:
    """Return the time and the view of each outcome reported for a decision, in order."""
    query = select(outcomes).where(outcomes.c.request_id == decision.request_id)
    reports = []
    for row in tx.execute(query.order_by(outcomes.c.id)):
        outcome = OutcomeReport.model_validate(json.loads(row.report))
        view = _outcome_view(decision, outcome, row.at)
        reports.append((row.at, {**view, "outcome_id": f"out_{row.id}"}))
    return reports


def _outcome_view(
    decision: DecisionRow, outcome: OutcomeReport, at: float | None = None
) -> dict[str, Any]:
    meaning = _find_meaning(outcome)
    bad, risk = meaning.bad, decision.risk
    return {
        "request_id": decision.request_id,
        "validation_id": decision.request_id,
        "case_id": case_id(decision.request_id),
        "status": outcome.status,
        "category": meaning.category,
        "severity": meaning.severity,
        "reported_at": format_timestamp(at),
        "reported_by": outcome.reported_by,
        "description": outcome.description,
        "details": outcome.details,
        "actual_impact": outcome.actual_impact,
        "decision_context": decision_context(decision),
        "decision_at": format_timestamp(decision.at),
        "observed_at": outcome.observed_at,
        "time_to_outcome_s": None if at is None else max(0.0, at - decision.at),
        "correction": {
            "needed": outcome.correction_needed,
            "description": outcome.correction_description,
            "cost": outcome.correction_cost,
        },
        "rollback": {"performed": outcome.rollback_performed},
        "business_impact": {
            "revenue_impact": outcome.revenue_impact,
            "customer_impact_count": outcome.customer_impact_count,
            "support_tickets_created": outcome.support_tickets_created,
        },
        "calibration": {
            "error": None if bad is None else round(abs(bad - risk), 6),
            "prediction_correct": None if bad is None else round(risk) == bad,
        },
        "tags": list(outcome.tags),
    }
