"""Events: the stream of decisions as a dashboard shows it."""

from typing import Any

from sqlalchemy import Row, func, select

from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.reply import stored_reply
from bighub_langgraph.local.tables import decisions
from bighub_langgraph.local.times import iso
from bighub_langgraph.local.words import Recommendation

_KINDS = {
    "allowed": (Recommendation.PROCEED, Recommendation.CAUTION),
    "approval_required": (Recommendation.REVIEW,),
    "blocked": (Recommendation.STOP,),
}
_SEVERITIES = {"allowed": "info", "approval_required": "warning", "blocked": "critical"}
_KIND_OF = {word.value: kind for kind, words in _KINDS.items() for word in words}


def list_events(
    engine: Engine, *, event_type: str | None, severity: str | None, limit: int, offset: int
) -> dict[str, Any]:
    """Decisions, newest first."""
    kinds = [
        kind
        for kind in _KINDS
        if event_type in (None, kind) and severity in (None, _SEVERITIES[kind])
    ]
    words = [word.value for kind in kinds for word in _KINDS[kind]]
    where = decisions.c.recommendation.in_(words)
    query = select(decisions).where(where).order_by(decisions.c.id.desc())
    with engine.store.transaction() as tx:
        total = tx.execute(select(func.count()).select_from(decisions).where(where)).scalar_one()
        rows = tx.execute(query.limit(limit).offset(offset)).all()
    return {
        "events": [_view(row) for row in rows],
        "total": total,
        "limit": limit,
        "offset": offset,
    }


def stats(engine: Engine) -> dict[str, Any]:
    """How many decisions of each kind there were."""
    query = select(decisions.c.recommendation, func.count()).group_by(decisions.c.recommendation)
    with engine.store.transaction() as tx:
        counts: dict[str, int] = {row[0]: row[1] for row in tx.execute(query)}
    kinds = dict.fromkeys(_KINDS, 0)
    for word, number in counts.items():
        kinds[_KIND_OF[word]] += number
    return {"total": sum(counts.values()), "by_type": kinds, "by_recommendation": counts}


def _view(row: Row[Any]) -> dict[str, Any]:
    reply = stored_reply(row)
    kind = _KIND_OF[row.recommendation]
    same = (
        "allowed",
        "reason",
        "blocked_by",
        "human_review",
        "gate_version",
        "mode",
        "warnings",
        "recommendation_confidence",
        "enforcement_mode",
        "enforced_verdict",
        "decision_intelligence",
    )
    return {
        **{name: reply[name] for name in same},
        "event_id": f"evt_{row.id}",
        "event_type": kind,
        "severity": _SEVERITIES[kind],
        "domain": row.domain,
        "validation_id": row.request_id,
        "action": row.action,
        "actor": row.actor,
        "value": row.value,
        "risk_score": row.risk,
        "recommendation": row.recommendation,
        "recommendation_followed": row.followed,
        "outcome_status": row.outcome,
        "outcome_reported_at": iso(row.outcome_at),
        "created_at": iso(row.at),
    }
