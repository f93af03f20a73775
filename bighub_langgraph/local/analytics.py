"""Analytics: outcomes by domain, whether following the advice helped, and the event stream."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, case, func, select

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
from bighub_langgraph.local.scoring.features import Label
from bighub_langgraph.local.settings import DAY
from bighub_langgraph.local.tables import decisions

_WEEK = 7 * DAY
_MAX_EXAMPLES = 5
_HAS_OUTCOME = decisions.c.outcome.is_not(None)
_IS_BAD = case((decisions.c.label == int(Label.BAD), 1), else_=0)
_QUADRANTS = {
    "followed_positive": decisions.c.followed & (_IS_BAD == 0),
    "followed_negative": decisions.c.followed & (_IS_BAD == 1),
    "ignored_positive": ~decisions.c.followed & (_IS_BAD == 0),
    "ignored_negative": ~decisions.c.followed & (_IS_BAD == 1),
}
_EXAMPLE = (
    decisions.c.request_id,
    decisions.c.domain,
    decisions.c.action,
    decisions.c.action.label("tool"),
    decisions.c.outcome.label("status"),
    decisions.c.recommendation.label("verdict_was"),
    decisions.c.risk.label("risk_score_was"),
    decisions.c.outcome_at.label("reported_at"),
    decisions.c.followed.label("recommendation_followed"),
)
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
    statuses = select(decisions.c.outcome, func.count()).where(*where, _HAS_OUTCOME)
    by_domain = select(decisions.c.domain, func.count(), func.sum(_IS_BAD)).where(
        *where, _HAS_OUTCOME
    )
    with engine.store.transaction() as tx:
        counts = {row[0]: row[1] for row in tx.execute(statuses.group_by(decisions.c.outcome))}
        domains = tx.execute(by_domain.group_by(decisions.c.domain)).all()
        decision_count = tx.execute(
            select(func.count()).select_from(decisions).where(*where)
        ).scalar_one()
    total, bad = sum(counts.values()), sum(row[2] for row in domains)
    return {
        "total_decisions": decision_count,
        "total_outcomes": total,
        "by_status": counts,
        "negative_rate": _ratio(bad, total),
        "by_domain": [
            {"domain": name, "total": count, "negative_rate": _ratio(bad_count, count)}
            for name, count, bad_count in domains
        ],
    }


def compare_advice(
    engine: Engine,
    *,
    domain: QueryText | None = None,
    since: Timestamp | None = None,
    until: Timestamp | None = None,
) -> dict[str, Any]:
    """Return whether following the advice did better than ignoring it."""
    filters = _build_filters(domain, since, until)
    where = (*filters, _HAS_OUTCOME, decisions.c.followed.is_not(None))
    with engine.store.transaction() as tx:
        domains = _count_quadrants(tx, where, domain=decisions.c.domain)
        actors = _count_quadrants(tx, where, actor_type=decisions.c.actor)
        weeks = _count_quadrants(tx, where, week=func.floor(decisions.c.at / _WEEK))
        examples = {
            "helped": _find_examples(tx, *where, decisions.c.followed, _IS_BAD == 0),
            "missed": _find_examples(tx, *where, ~decisions.c.followed, _IS_BAD == 1),
        }
    quadrants = {name: sum(row[name] for row in domains) for name in _QUADRANTS}
    total, positive = sum(quadrants.values()), quadrants["followed_positive"]
    follow_count = positive + quadrants["followed_negative"]
    return {
        "total_with_outcome": total,
        "follow_rate": _ratio(follow_count, total) if total else None,
        "positive_after_following": _ratio(positive, follow_count) if follow_count else None,
        "quadrants": quadrants,
        "by_domain": domains,
        "by_actor": actors,
        "trend": [{**week, "week": format_timestamp(week["week"] * _WEEK)} for week in weeks],
        "examples": examples,
    }


def get_partner_view(engine: Engine, domain: str) -> dict[str, Any]:
    """Return one domain's figures in one response."""
    return {
        "domain": domain,
        "outcomes": summarize(engine, domain=domain),
        "quality": compare_advice(engine, domain=domain),
    }


def _build_filters(domain: str | None, since: float | None, until: float | None) -> Filters:
    filters = (
        (domain, decisions.c.domain == domain),
        (since, decisions.c.at >= (since or 0.0)),
        (until, decisions.c.at <= (until or 0.0)),
    )
    return tuple(condition for value, condition in filters if value is not None)


def _count_quadrants(
    tx: Connection, where: Filters, **group: ColumnElement[Any]
) -> list[dict[str, Any]]:
    """Return the quadrants of each group, and what they add up to; `group` is named by its key."""
    counts = [func.sum(case((is_in, 1), else_=0)).label(name) for name, is_in in _QUADRANTS.items()]
    keys = [column.label(name) for name, column in group.items()]
    query = select(*keys, *counts).where(*where).group_by(*group.values()).order_by(*group.values())
    groups = []
    for row in tx.execute(query).mappings():
        follow_count = row["followed_positive"] + row["followed_negative"]
        ignore_count = row["ignored_positive"] + row["ignored_negative"]
        total = follow_count + ignore_count
        sums = {"total": total, "followed": follow_count, "ignored": ignore_count}
        groups.append({**row, **sums, "follow_rate": _ratio(follow_count, total)})
    return groups


def _find_examples(tx: Connection, *where: ColumnElement[bool]) -> list[dict[str, Any]]:
    query = select(*_EXAMPLE).where(*where).order_by(decisions.c.id.desc()).limit(_MAX_EXAMPLES)
    return [
        {
            **row,
            "case_id": case_id(row["request_id"]),
            "reported_at": format_timestamp(row["reported_at"]),
        }
        for row in tx.execute(query).mappings()
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
_RESPONSE_FIELDS = (
    *("allowed", "reason", "blocked_by", "human_review", "gate_version", "mode", "warnings"),
    *("recommendation_confidence", "enforcement_mode", "enforced_verdict", "decision_intelligence"),
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
    events = [_event_view(row) for row in rows]
    return {"events": events, "total": total, "limit": limit, "offset": offset}


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
        **{name: response[name] for name in _RESPONSE_FIELDS},
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
