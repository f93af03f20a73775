"""Analytics: outcomes by domain, whether following the advice helped, and the event stream."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, case, func, literal, select

from bighub_langgraph.core.models import Recommendation
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.outcomes import case_id
from bighub_langgraph.local.response import load_response
from bighub_langgraph.local.schemas.wire_format import (
    Limit,
    Offset,
    QueryText,
    Timestamp,
    format_timestamp,
)
from bighub_langgraph.local.scoring.evidence import Label
from bighub_langgraph.local.tables import decisions

_WEEK = 7 * 86_400.0
_MAX_EXAMPLES = 5
_REPORTED = decisions.c.outcome.is_not(None)
_IS_BAD = case((decisions.c.label.in_((int(Label.BAD), int(Label.DENIED))), 1), else_=0)
_QUADRANTS = {
    "followed_positive": decisions.c.followed & (_IS_BAD == 0),
    "followed_negative": decisions.c.followed & (_IS_BAD == 1),
    "ignored_positive": ~decisions.c.followed & (_IS_BAD == 0),
    "ignored_negative": ~decisions.c.followed & (_IS_BAD == 1),
}
Filters = tuple[ColumnElement[bool], ...]


def summarize(
    engine: Engine,
    *,
    domain: QueryText | None = None,
    since: Timestamp | None = None,
    until: Timestamp | None = None,
) -> dict[str, Any]:
    """Return how many outcomes a period has, by status and by domain."""
    where = _build_filters(domain, since, until)
    statuses = select(decisions.c.outcome, func.count()).where(*where, _REPORTED)
    by_domain = select(decisions.c.domain, func.count(), func.sum(_IS_BAD)).where(*where, _REPORTED)
    with engine.store.transaction() as tx:
        counts = {row[0]: row[1] for row in tx.execute(statuses.group_by(decisions.c.outcome))}
        domains = tx.execute(by_domain.group_by(decisions.c.domain)).all()
        decided = tx.execute(select(func.count()).select_from(decisions).where(*where)).scalar_one()
    total, bad = sum(counts.values()), sum(row[2] for row in domains)
    return {
        "total_decisions": decided,
        "total_outcomes": total,
        "by_status": counts,
        "negative_rate": _ratio(bad, total),
        "by_domain": [
            {"domain": name, "total": count, "negative_rate": _ratio(bad_count, count)}
            for name, count, bad_count in domains
        ],
    }


def recommendation_quality(
    engine: Engine,
    *,
    domain: QueryText | None = None,
    since: Timestamp | None = None,
    until: Timestamp | None = None,
) -> dict[str, Any]:
    """Return whether following the advice did better than ignoring it."""
    filters = _build_filters(domain, since, until)
    where = (*filters, _REPORTED, decisions.c.followed.is_not(None))
    with engine.store.transaction() as tx:
        domains = _count_quadrants(tx, where, decisions.c.domain)
        actors = _count_quadrants(tx, where, decisions.c.actor)
        weeks = _count_quadrants(tx, where, func.floor(decisions.c.at / _WEEK))
        helped = _find_examples(tx, where, followed=True, bad=False)
        missed = _find_examples(tx, where, followed=False, bad=True)
    quadrants = _sum_quadrants(domains)
    followed = quadrants["followed_positive"] + quadrants["followed_negative"]
    total = sum(quadrants.values())
    return {
        "total_with_outcome": total,
        "follow_rate": _ratio(followed, total) if total else None,
        "positive_after_following": (
            _ratio(quadrants["followed_positive"], followed) if followed else None
        ),
        "quadrants": quadrants,
        "by_domain": [_group_view(row, "domain", str) for row in domains],
        "by_actor": [_group_view(row, "actor_type", str) for row in actors],
        "trend": [
            _group_view(row, "week", lambda week: format_timestamp(week * _WEEK)) for row in weeks
        ],
        "examples": {"helped": helped, "missed": missed},
    }


def partner_view(engine: Engine, domain: str) -> dict[str, Any]:
    """Return one domain's figures in one response."""
    return {
        "domain": domain,
        "outcomes": summarize(engine, domain=domain),
        "quality": recommendation_quality(engine, domain=domain),
    }


def _build_filters(domain: str | None, since: float | None, until: float | None) -> Filters:
    filters: list[ColumnElement[bool]] = []
    if domain is not None:
        filters.append(decisions.c.domain == domain)
    if since is not None:
        filters.append(decisions.c.at >= since)
    if until is not None:
        filters.append(decisions.c.at <= until)
    return tuple(filters)


def _count_quadrants(tx: Connection, where: Filters, by: ColumnElement[Any]) -> list[Row[Any]]:
    counts = [func.sum(case((is_in, 1), else_=0)).label(name) for name, is_in in _QUADRANTS.items()]
    query = select(by.label("key"), *counts).where(*where).group_by(by).order_by(by)
    return list(tx.execute(query).all())


def _sum_quadrants(rows: list[Row[Any]]) -> dict[str, int]:
    return {name: sum(getattr(row, name) for row in rows) for name in _QUADRANTS}


def _group_view(row: Row[Any], name: str, format_key: Callable[[Any], Any]) -> dict[str, Any]:
    quadrants = _sum_quadrants([row])
    followed = quadrants["followed_positive"] + quadrants["followed_negative"]
    total = sum(quadrants.values())
    return {
        name: format_key(row.key),
        "total": total,
        "followed": followed,
        "ignored": total - followed,
        "follow_rate": _ratio(followed, total),
        **quadrants,
    }


def _find_examples(
    tx: Connection, where: Filters, *, followed: bool, bad: bool
) -> list[dict[str, Any]]:
    chosen = select(decisions).where(
        *where, decisions.c.followed.is_(followed), literal(int(bad)) == _IS_BAD
    )
    rows = tx.execute(chosen.order_by(decisions.c.id.desc()).limit(_MAX_EXAMPLES))
    return [
        {
            "request_id": row.request_id,
            "case_id": case_id(row.request_id),
            "domain": row.domain,
            "action": row.action,
            "tool": row.action,
            "status": row.outcome,
            "verdict_was": row.recommendation,
            "risk_score_was": row.risk,
            "reported_at": format_timestamp(row.outcome_at),
            "recommendation_followed": row.followed,
        }
        for row in rows
    ]


def _ratio(part: float, total: float) -> float:
    return round(part / total, 4) if total else 0.0


# -- the event stream ------------------------------------------------------------------------------

_EVENT_TYPES = {
    Recommendation.PROCEED.value: "allowed",
    Recommendation.CAUTION.value: "allowed",
    Recommendation.REVIEW.value: "approval_required",
    Recommendation.STOP.value: "blocked",
}
_SEVERITIES = {"allowed": "info", "approval_required": "warning", "blocked": "critical"}
_COPIED_FIELDS = (
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


def list_events(
    engine: Engine,
    *,
    event_type: QueryText | None = None,
    severity: QueryText | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> dict[str, Any]:
    """Return decisions as events, newest first."""
    recommendations = [
        recommendation
        for recommendation, kind in _EVENT_TYPES.items()
        if event_type in (None, kind) and severity in (None, _SEVERITIES[kind])
    ]
    where = decisions.c.recommendation.in_(recommendations)
    query = select(decisions).where(where).order_by(decisions.c.id.desc())
    with engine.store.transaction() as tx:
        total = tx.execute(select(func.count()).select_from(decisions).where(where)).scalar_one()
        rows = tx.execute(query.limit(limit).offset(offset)).all()
    return {
        "events": [_event_view(row) for row in rows],
        "total": total,
        "limit": limit,
        "offset": offset,
    }


def count_events(engine: Engine) -> dict[str, Any]:
    """Return how many decisions there are of each type."""
    query = select(decisions.c.recommendation, func.count()).group_by(decisions.c.recommendation)
    with engine.store.transaction() as tx:
        counts: dict[str, int] = {row[0]: row[1] for row in tx.execute(query)}
    by_type = dict.fromkeys(_SEVERITIES, 0)
    for recommendation, count in counts.items():
        by_type[_EVENT_TYPES[recommendation]] += count
    return {"total": sum(counts.values()), "by_type": by_type, "by_recommendation": counts}


def _event_view(row: Row[Any]) -> dict[str, Any]:
    response = load_response(row)
    event_type = _EVENT_TYPES[row.recommendation]
    return {
        **{name: response[name] for name in _COPIED_FIELDS},
        "event_id": f"evt_{row.id}",
        "event_type": event_type,
        "severity": _SEVERITIES[event_type],
        "domain": row.domain,
        "validation_id": row.request_id,
        "action": row.action,
        "actor": row.actor,
        "value": row.value,
        "risk_score": row.risk,
        "recommendation": row.recommendation,
        "recommendation_followed": row.followed,
        "outcome_status": row.outcome,
        "outcome_reported_at": format_timestamp(row.outcome_at),
        "created_at": format_timestamp(row.at),
    }
