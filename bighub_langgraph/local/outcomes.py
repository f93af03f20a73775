"""Outcomes: what really happened, and what it teaches."""

import json
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from bighub_langgraph.local.checking import check
from bighub_langgraph.local.decided import Decided
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.faults import Refused, invalid, not_found
from bighub_langgraph.local.requests import Outcome, OutcomeBatch
from bighub_langgraph.local.scoring.evidence import Label
from bighub_langgraph.local.store import Prepared
from bighub_langgraph.local.tables import decisions, outcomes
from bighub_langgraph.local.times import iso
from bighub_langgraph.local.words import TAXONOMY, Meaning


def report(engine: Engine, body: object) -> dict[str, Any]:
    """Take in one outcome."""
    outcome = check(Outcome, body)
    with engine.store.transaction() as tx:
        engine.numbers.take_turn(tx)
        return _report(engine, tx, outcome)


def report_batch(engine: Engine, body: object) -> dict[str, Any]:
    """Take in up to a hundred outcomes; a bad one does not hold up the others."""
    batch = check(OutcomeBatch, body)
    taken: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    with engine.store.transaction() as tx, engine.sessions.held(tx), engine.numbers.held(tx):
        engine.numbers.take_turn(tx)
        for index, each in enumerate(batch.outcomes):
            try:  # whatever is refused is refused before anything is written
                taken.append(_report(engine, tx, check(Outcome, each)))
            except Refused as refusal:
                errors.append({"index": index, "status": refusal.status, "detail": refusal.detail})
    return {"reported": len(taken), "failed": len(errors), "outcomes": taken, "errors": errors}


def taxonomy() -> dict[str, Any]:
    """Every status that may be reported, and what it says."""
    return {
        "statuses": [
            {"status": status, "category": meaning.category, "severity": meaning.severity}
            for status, meaning in TAXONOMY.items()
        ]
    }


def find_decision(tx: Connection, *, request_id: str) -> Row[Any]:
    """A decision by its id, in the form of a request, a validation or a case."""
    wanted = request_id_of(request_id)
    query = select(decisions).where(decisions.c.request_id == wanted).with_for_update()
    row = tx.execute(query).one_or_none()
    if row is None:
        raise not_found("decision", request_id)
    return row


def request_id_of(name: str) -> str:
    """The request of a case, or of itself."""
    return "req_" + name.removeprefix("case_") if name.startswith("case_") else name


def case_id(request_id: str) -> str:
    """The case of a request."""
    return "case_" + request_id.removeprefix("req_")


def _report(engine: Engine, tx: Connection, outcome: Outcome) -> dict[str, Any]:
    named = outcome.request_id or outcome.validation_id or outcome.case_id
    if named is None:
        raise invalid("body.request_id", "request_id, validation_id or case_id is required")
    decision = _decided(engine, tx, named)
    at = engine.clock()
    written = engine.store.prepared(outcomes, returning="id").rows(
        tx,
        request_id=decision.request_id,
        idempotency_key=outcome.idempotency_key,
        at=at,
        status=outcome.status,
        report=outcome.model_dump_json(exclude_defaults=True),
    )
    if not written:
        return {**outcome_view(decision, outcome), "duplicate": True}
    changes = _settle(engine, tx, decision, outcome, at)
    if changes:
        _changing(*changes).write(tx, this=decision.request_id, **changes)
        engine.decisions.changed(decision.request_id)
    if "outcome" in changes:
        _tell_session(engine, tx, decision, bad=_meaning(outcome).bad, at=at)
    view = outcome_view(decision, outcome, at)
    return {**view, "outcome_id": f"out_{written[0][0]}", "duplicate": False}


def _decided(engine: Engine, tx: Connection, named: str) -> Decided:
    found = engine.decisions.find(tx, request_id_of(named))
    if found is None:
        raise not_found("decision", named)
    return found


@cache
def _changing(*names: str) -> Prepared:
    """An UPDATE of some columns of one decision."""
    chosen = update(decisions).where(decisions.c.request_id == bindparam("this"))
    return Prepared(chosen, columns=names)


def _settle(
    engine: Engine, tx: Connection, decision: Decided, outcome: Outcome, at: float
) -> dict[str, object]:
    """What an outcome changes in the decision it belongs to. The worst report stands."""
    meaning = _meaning(outcome)
    changes: dict[str, object] = {}
    if decision.approval == "pending":
        changes["approval"] = "settled"
    if outcome.recommendation_followed is not None:
        changes["followed"] = outcome.recommendation_followed
    if not _stands(decision, meaning):
        return changes
    changes |= {"outcome": outcome.status, "severity": meaning.severity, "outcome_at": at}
    if meaning.bad is not None:
        label = Label.BAD if meaning.bad else Label.GOOD
        if decision.label != label:
            changes |= engine.learned.add(tx, decision, label, at)
    return changes


def _meaning(outcome: Outcome) -> Meaning:
    reported = TAXONOMY[outcome.status]
    undone = TAXONOMY["ROLLBACK"]
    # A success that had to be undone was none.
    return (
        undone if outcome.rollback_performed and undone.severity > reported.severity else reported
    )


def _stands(decision: Decided, meaning: Meaning) -> bool:
    """Whether a report replaces what was known; a later, milder one does not."""
    if decision.outcome is None:
        return True
    if meaning.bad is None:
        return False
    known = TAXONOMY[decision.outcome]
    return known.bad is None or meaning.severity > decision.severity


def _tell_session(
    engine: Engine, tx: Connection, decision: Decided, *, bad: bool | None, at: float
) -> None:
    if decision.session_id and bad is not None:
        session = engine.sessions.read(tx, decision.session_id)
        after = session.ended(action=decision.action, bad=bad)
        engine.sessions.save(tx, decision.session_id, after, at)


def outcome_view(
    decision: Decided | Row[Any], outcome: Outcome, at: float | None = None
) -> dict[str, Any]:
    """One report as the API shows it."""
    meaning = _meaning(outcome)
    return {
        "request_id": decision.request_id,
        "validation_id": decision.request_id,
        "case_id": case_id(decision.request_id),
        "status": outcome.status,
        "category": meaning.category,
        "severity": meaning.severity,
        "reported_at": iso(at),
        "reported_by": outcome.reported_by,
        "description": outcome.description,
        "details": outcome.details,
        "actual_impact": outcome.actual_impact,
        "decision_context": decision_context(decision),
        "decision_at": iso(decision.at),
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
        "calibration": _calibration(decision, meaning),
        "tags": list(outcome.tags),
    }


def decision_context(decision: Decided | Row[Any]) -> dict[str, Any]:
    """What was decided, as outcomes and cases show it."""
    return {
        "domain": decision.domain,
        "tool": decision.action,
        "action": decision.action,
        "actor_type": decision.actor,
        "verdict_was": decision.recommendation,
        "risk_score_was": decision.risk,
    }


def _calibration(decision: Decided | Row[Any], meaning: Meaning) -> dict[str, Any]:
    if meaning.bad is None:
        return {"error": None, "prediction_correct": None}
    error = abs(float(meaning.bad) - decision.risk)
    return {"error": round(error, 6), "prediction_correct": round(decision.risk) == meaning.bad}


def stored_outcome(row: Row[Any]) -> Outcome:
    """A report as it was stored."""
    return Outcome.model_validate(json.loads(row.report))
