"""How well the advice did: outcomes by domain and status, and what following it brought."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, case, func, literal, select

from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.outcomes import case_id
from bighub_langgraph.local.scoring.evidence import Label
from bighub_langgraph.local.tables import decisions
from bighub_langgraph.local.times import iso, moment

_WEEK = 7 * 86_400.0
_EXAMPLES = 5


def summary(
    engine: Engine, *, domain: str | None, since: str | None, until: str | None
) -> dict[str, Any]:
    """Outcomes in a stretch of time: how many, of which kind, and by domain."""
    where = _stretch(domain, since, until)
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
        "negative_rate": _share(bad, total),
        "by_domain": [
            {"domain": name, "total": number, "negative_rate": _share(wrong, number)}
            for name, number, wrong in domains
        ],
    }


def recommendation_quality(
    engine: Engine, *, domain: str | None, since: str | None, until: str | None
) -> dict[str, Any]:
    """Whether following the advice did better than passing over it."""
    where = (*_stretch(domain, since, until), _REPORTED, decisions.c.followed.is_not(None))
    with engine.store.transaction() as tx:
        domains = _groups(tx, where, decisions.c.domain)
        actors = _groups(tx, where, decisions.c.actor)
        weeks = _groups(tx, where, func.floor(decisions.c.at / _WEEK))
        helped = _examples(tx, where, followed=True, bad=False)
        missed = _examples(tx, where, followed=False, bad=True)
    quadrants = _quadrants(domains)
    followed = quadrants["followed_positive"] + quadrants["followed_negative"]
    total = sum(quadrants.values())
    return {
        "total_with_outcome": total,
        "follow_rate": _share(followed, total) if total else None,
        "positive_after_following": (
            _share(quadrants["followed_positive"], followed) if followed else None
        ),
        "quadrants": quadrants,
        "by_domain": [_group_view(row, "domain", str) for row in domains],
        "by_actor": [_group_view(row, "actor_type", str) for row in actors],
        "trend": [_group_view(row, "week", lambda week: iso(week * _WEEK)) for row in weeks],
        "examples": {"helped": helped, "missed": missed},
    }


def partner_view(engine: Engine, domain: str) -> dict[str, Any]:
    """One domain's figures in one answer."""
    return {
        "domain": domain,
        "outcomes": summary(engine, domain=domain, since=None, until=None),
        "quality": recommendation_quality(engine, domain=domain, since=None, until=None),
    }


_REPORTED = decisions.c.outcome.is_not(None)
_IS_BAD = case((decisions.c.label.in_((int(Label.BAD), int(Label.DENIED))), 1), else_=0)


def _stretch(
    domain: str | None, since: str | None, until: str | None
) -> tuple[ColumnElement[bool], ...]:
    where: list[ColumnElement[bool]] = []
    if domain is not None:
        where.append(decisions.c.domain == domain)
    if since is not None:
        where.append(decisions.c.at >= moment(since, "query.since"))
    if until is not None:
        where.append(decisions.c.at <= moment(until, "query.until"))
    return tuple(where)


def _groups(
    tx: Connection, where: tuple[ColumnElement[bool], ...], by: ColumnElement[Any]
) -> list[Row[Any]]:
    followed = decisions.c.followed
    good = _IS_BAD == 0
    kinds = {
        "followed_positive": followed & good,
        "followed_negative": followed & ~good,
        "ignored_positive": ~followed & good,
        "ignored_negative": ~followed & ~good,
    }
    counts = [func.sum(case((kind, 1), else_=0)).label(name) for name, kind in kinds.items()]
    query = select(by.label("key"), *counts).where(*where).group_by(by).order_by(by)
    return list(tx.execute(query).all())


def _quadrants(rows: list[Row[Any]]) -> dict[str, int]:
    names = ("followed_positive", "followed_negative", "ignored_positive", "ignored_negative")
    return {name: sum(getattr(row, name) for row in rows) for name in names}


def _group_view(row: Row[Any], name: str, shown: Callable[[Any], Any]) -> dict[str, Any]:
    quadrants = _quadrants([row])
    followed = quadrants["followed_positive"] + quadrants["followed_negative"]
    total = sum(quadrants.values())
    return {
        name: shown(row.key),
        "total": total,
        "followed": followed,
        "ignored": total - followed,
        "follow_rate": _share(followed, total),
        **quadrants,
    }


def _examples(
    tx: Connection, where: tuple[ColumnElement[bool], ...], *, followed: bool, bad: bool
) -> list[dict[str, Any]]:
    chosen = select(decisions).where(
        *where, decisions.c.followed.is_(followed), literal(int(bad)) == _IS_BAD
    )
    rows = tx.execute(chosen.order_by(decisions.c.id.desc()).limit(_EXAMPLES))
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
            "reported_at": iso(row.outcome_at),
            "recommendation_followed": row.followed,
        }
        for row in rows
    ]


def _share(part: float, whole: float) -> float:
    return round(part / whole, 4) if whole else 0.0
