"""Stored decisions for people: cases to look up and report on, and approvals to answer."""

from typing import Any, Literal

from sqlalchemy import Connection, Row, select, text

from bighub_langgraph.local.api_keys import APPROVE, IN_PROCESS, Caller
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.errors import ApiError
from bighub_langgraph.local.evaluate import evaluate
from bighub_langgraph.local.outcomes import (
    case_id,
    decision_context,
    find_decision,
    report_outcome,
    request_id_of,
)
from bighub_langgraph.local.repository import DecisionRow
from bighub_langgraph.local.response import load_response
from bighub_langgraph.local.schemas.requests import (
    ApprovalResolution,
    CaseRequest,
    EvaluateRequest,
    OutcomeReport,
)
from bighub_langgraph.local.schemas.responses import ApprovalResponse, CaseResponse
from bighub_langgraph.local.schemas.wire_format import (
    Fraction,
    Limit,
    Offset,
    QueryText,
    format_timestamp,
    to_json_text,
    validate,
)
from bighub_langgraph.local.scoring.features import Label
from bighub_langgraph.local.tables import decisions


def create(engine: Engine, body: CaseRequest) -> dict[str, Any]:
    """Store a decision made elsewhere, so that its outcome can be reported and learned from."""
    request = {
        **body.action.model_dump(include={"action", "target", "value"}),
        "domain": body.domain,
        "actor": body.actor_id or body.actor_type,
        "context": {
            **body.context,
            "arguments": body.action.arguments,
            "case": {"verdict": body.verdict, "goal": body.goal_summary, "tags": body.tags},
            "auto_executed": True,
        },
    }
    decision = evaluate(engine, validate(EvaluateRequest, request))
    return get(engine, decision["request_id"])


def get(engine: Engine, case_or_request_id: str) -> dict[str, Any]:
    """Return one case, by its id or its request's."""
    with engine.store.transaction() as tx:
        return _case_view(find_decision(engine, tx, case_or_request_id))


def list_cases(
    engine: Engine,
    *,
    domain: QueryText | None = None,
    tool: QueryText | None = None,
    action: QueryText | None = None,
    verdict: QueryText | None = None,
    outcome_status: QueryText | None = None,
    has_outcome: bool | None = None,
    min_risk_score: Fraction | None = None,
    max_risk_score: Fraction | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> dict[str, Any]:
    """Return the cases that match every filter, newest first."""
    filters = (
        (domain, decisions.c.domain == domain),
        (tool, decisions.c.action == tool),
        (action, decisions.c.action == action),
        (verdict, decisions.c.recommendation == verdict),
        (outcome_status, decisions.c.outcome == (outcome_status or "").upper()),
        (has_outcome, decisions.c.outcome.is_not(None) == has_outcome),
        (min_risk_score, decisions.c.risk >= (min_risk_score or 0.0)),
        (max_risk_score, decisions.c.risk <= (max_risk_score or 0.0)),
    )
    where = [condition for value, condition in filters if value is not None]
    query = select(decisions).where(*where).order_by(decisions.c.id.desc())
    with engine.store.transaction() as tx:
        rows = tx.execute(query.limit(limit).offset(offset)).all()
    return {"cases": [_case_view(row) for row in rows], "limit": limit, "offset": offset}


def report_case_outcome(
    engine: Engine, case_or_request_id: str, body: OutcomeReport
) -> dict[str, Any]:
    """Report the outcome of a case."""
    request_id = request_id_of(case_or_request_id)
    return report_outcome(engine, body.model_copy(update={"request_id": request_id}))


def _case_view(row: DecisionRow | Row[Any]) -> dict[str, Any]:
    response = load_response(row)
    action = {"tool": row.action, "action": row.action, "target": row.target, "value": row.value}
    verdict = {
        "recommendation": row.recommendation,
        "result": response["result"],
        "risk_score": row.risk,
        "rationale": response["reason"],
    }
    return CaseResponse.from_row(
        row,
        case_id=case_id(row.request_id),
        action=action,
        verdict=verdict,
        decision_context=decision_context(row),
        approval=row.approval or None,
        has_outcome=row.outcome is not None,
    )


# -- approvals -------------------------------------------------------------------------------------

ApprovalStatus = Literal["pending", "approved", "denied", "settled", "all"]
_RESOLUTIONS = ("approved", "denied")
_HAS_APPROVAL = text("approval <> ''")  # the condition of the index


def list_approvals(
    engine: Engine, *, status: ApprovalStatus = "pending", limit: Limit = 100
) -> list[dict[str, Any]]:
    """Return the approvals with a status, or `all`, oldest first; answered ones newest first."""
    query = select(decisions).where(_HAS_APPROVAL)
    if status != "all":
        query = query.where(decisions.c.approval == status)
    with engine.store.transaction() as tx:
        is_answered = status in _RESOLUTIONS
        order = decisions.c.resolved_at.desc() if is_answered else decisions.c.id
        rows = tx.execute(query.order_by(order).limit(limit))
        return [_approval_view(row) for row in rows]


def resolve_approval(
    engine: Engine, request_id: str, body: ApprovalResolution, caller: Caller = IN_PROCESS
) -> dict[str, Any]:
    """Record a person's answer. The first one stands; the same answer again changes nothing.

    From a key that may decide but not approve it is a report of the agent about its own request:
    it is stored as not verified, and the approval stays open.
    """
    with engine.store.transaction() as tx:
        engine.sequences.lock(tx)
        decision = find_decision(engine, tx, request_id)
        if APPROVE not in caller.scopes:
            return _record_agent_report(engine, tx, decision, body, caller)
        if decision.approval in _RESOLUTIONS:
            answer = (decision.approval, decision.modified_action)
            if answer != (body.resolution, body.modified_action):
                message = f"{decision.request_id} is {decision.approval} already"
                raise ApiError(409, message)
            return _approval_view(decision)
        at = engine.clock()
        # An outcome weighs more than an opinion; a change is no opinion of this call.
        is_modified = body.review_decision == "modified" or body.modified_action is not None
        is_denial = body.resolution == "denied" and decision.label is None and not is_modified
        engine.decisions.update(
            tx,
            decision,
            label=Label.DENIED if is_denial else None,
            at=at,
            approval=body.resolution,
            comment=body.comment,
            modified_action=body.modified_action,
            resolved_at=at,
        )
        view = _approval_view(find_decision(engine, tx, decision.request_id))
    engine.learn()
    return view


def _record_agent_report(
    engine: Engine,
    tx: Connection,
    decision: DecisionRow,
    body: ApprovalResolution,
    caller: Caller,
) -> dict[str, Any]:
    if decision.key_id != caller.key_id:
        raise ApiError(403, "this key may not approve, and only report about its own requests")
    at = engine.clock()
    report = {
        **body.model_dump(include={"resolution", "comment", "modified_action"}),
        "at": format_timestamp(at),
        "key_id": caller.key_id,
        "verified": False,
        "note": "reported by the agent, not verified",
    }
    engine.decisions.update(tx, decision, at=at, agent_report=to_json_text(report))
    return _approval_view(find_decision(engine, tx, decision.request_id))


def _approval_view(decision: DecisionRow | Row[Any]) -> dict[str, Any]:
    resolution = decision.approval if decision.approval in _RESOLUTIONS else None
    reason = load_response(decision)["reason"]
    return ApprovalResponse.from_row(decision, resolution=resolution, reason=reason)
