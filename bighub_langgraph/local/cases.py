"""Cases: decisions as things to look up, list and report on."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Row, select

from bighub_langgraph.local.checking import check
from bighub_langgraph.local.deciding import evaluate
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.outcomes import (
    case_id,
    decision_context,
    find_decision,
    report,
    request_id_of,
)
from bighub_langgraph.local.reply import stored_reply
from bighub_langgraph.local.requests import Case
from bighub_langgraph.local.tables import decisions
from bighub_langgraph.local.times import iso


def create(engine: Engine, body: object) -> dict[str, Any]:
    """Take in a decision made elsewhere, so that its outcome can be reported and learned from."""
    case = check(Case, body)
    told = {"verdict": case.verdict, "goal": case.goal_summary, "tags": list(case.tags)}
    proposed = {
        "action": case.action.action,
        "target": case.action.target,
        "value": case.action.value,
        "domain": case.domain,
        "actor": case.actor_id or case.actor_type,
        "context": {
            **case.context,
            "arguments": case.action.arguments,
            "case": told,
            "unasked": True,
        },
    }
    return get(engine, str(evaluate(engine, proposed)["request_id"]))


def get(engine: Engine, name: str) -> dict[str, Any]:
    """One case, by its id or its request's."""
    with engine.store.transaction() as tx:
        return _view(find_decision(tx, request_id=name))


def list_cases(
    engine: Engine, *, filters: Mapping[str, Any], limit: int, offset: int
) -> dict[str, Any]:
    """Cases that match, newest first."""
    where = [_FILTERS[name](wanted) for name, wanted in filters.items() if wanted is not None]
    query = select(decisions).where(*where).order_by(decisions.c.id.desc())
    with engine.store.transaction() as tx:
        rows = tx.execute(query.limit(limit).offset(offset)).all()
    return {"cases": [_view(row) for row in rows], "limit": limit, "offset": offset}


def report_outcome(engine: Engine, name: str, body: object) -> dict[str, Any]:
    """Report what became of a case."""
    told = dict(body) if isinstance(body, Mapping) else {}
    return report(engine, {**told, "request_id": request_id_of(name)})


def _has_outcome(yes: bool) -> ColumnElement[bool]:  # noqa: FBT001 - a filter's value
    return decisions.c.outcome.is_not(None) if yes else decisions.c.outcome.is_(None)


_FILTERS: dict[str, Callable[[Any], ColumnElement[bool]]] = {
    "domain": lambda name: decisions.c.domain == name,
    "tool": lambda name: decisions.c.action == name,
    "action": lambda name: decisions.c.action == name,
    "verdict": lambda word: decisions.c.recommendation == word,
    "outcome_status": lambda word: decisions.c.outcome == word.upper(),
    "has_outcome": _has_outcome,
    "min_risk_score": lambda share: decisions.c.risk >= share,
    "max_risk_score": lambda share: decisions.c.risk <= share,
}


def _view(row: Row[Any]) -> dict[str, Any]:
    reply = stored_reply(row)
    return {
        "case_id": case_id(row.request_id),
        "request_id": row.request_id,
        "domain": row.domain,
        "action": {
            "tool": row.action,
            "action": row.action,
            "target": row.target,
            "value": row.value,
        },
        "actor_id": row.actor,
        "verdict": {
            "recommendation": row.recommendation,
            "result": reply["result"],
            "risk_score": row.risk,
            "rationale": reply["decision_intelligence"]["rationale"],
        },
        "decision_context": decision_context(row),
        "approval": row.approval or None,
        "outcome_status": row.outcome,
        "has_outcome": row.outcome is not None,
        "created_at": iso(row.at),
        "outcome_at": iso(row.outcome_at),
    }
