"""Calibration: whether a risk of 20 % goes wrong one time in five, and whether that still holds."""

from typing import Any

from sqlalchemy import Connection, case, func, select

from bighub_langgraph.local.checking import check
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.faults import invalid
from bighub_langgraph.local.requests import Observation
from bighub_langgraph.local.scoring.evidence import Label
from bighub_langgraph.local.tables import decisions
from bighub_langgraph.local.times import iso
from bighub_langgraph.local.words import TAXONOMY

_BANDS = 10
_DAY = 86_400.0
_GROUPS = {"domain": decisions.c.domain, "tool": decisions.c.action, "actor": decisions.c.actor}
_RISK_BANDS = {"low": (0.0, 0.2), "medium": (0.2, 0.5), "high": (0.5, 1.01)}


def report(
    engine: Engine, *, domain: str | None, tool: str | None, risk_band: str | None
) -> dict[str, Any]:
    """Expected against real bad rates, with the calibration error and the Brier score."""
    where = _chosen(domain, tool)
    if risk_band is not None:
        if risk_band not in _RISK_BANDS:
            raise invalid("query.risk_band", f"one of {', '.join(_RISK_BANDS)}")
        low, high = _RISK_BANDS[risk_band]
        where += [decisions.c.risk >= low, decisions.c.risk < high]
    with engine.store.transaction() as tx:
        bands = _bands(tx, where)
    return {"domain": domain, "tool": tool, **_figures(bands)}


def reliability(engine: Engine, *, domain: str | None, tool: str | None) -> dict[str, Any]:
    """The reliability curve: for each tenth of the risk scale, what was expected and what came."""
    with engine.store.transaction() as tx:
        return {"bins": _bands(tx, _chosen(domain, tool))}


def drift(engine: Engine, *, domain: str | None, window_days: int) -> dict[str, Any]:
    """Which domains have lately gone wrong more often than expected."""
    since = engine.clock() - window_days * _DAY
    with engine.knowledge() as model:
        domains = [
            {
                "domain": name,
                "drifting": each.present,
                "suspicion": round(each.suspicion, 4),
                "alarms": [iso(at) for at in each.alarms if at >= since],
                "correction_delay_s": model.delay(name),
            }
            for name, each in sorted(model.drifts.items())
            if domain in (None, name)
        ]
    alarmed = any(each["drifting"] or each["alarms"] for each in domains)
    return {"drift_detected": alarmed, "window_days": window_days, "domains": domains}


def breakdown(engine: Engine, *, by: str) -> dict[str, Any]:
    """The calibration figures of every domain, tool or actor."""
    if by not in _GROUPS:
        raise invalid("query.by", f"one of {', '.join(_GROUPS)}")
    column = _GROUPS[by]
    with engine.store.transaction() as tx:
        names = tx.execute(select(column).where(_KNOWN).distinct().order_by(column)).scalars()
        groups = [{by: name, **_figures(_bands(tx, [column == name]))} for name in names.all()]
    return {"by": by, "groups": groups}


def feedback(engine: Engine, *, domain: str | None) -> dict[str, Any]:
    """In one sentence, whether the risks are too high or too low."""
    found = report(engine, domain=domain, tool=None, risk_band=None)
    gap = found["mean_predicted"] - found["mean_observed"]
    side = "about right" if abs(gap) < found["tolerance"] else "too high" if gap > 0 else "too low"
    return {
        "domain": domain,
        "bias": round(gap, 6),
        "message": f"over {found['total']} outcomes the risks were {side} ({gap:+.3f} on average)",
    }


def observe(engine: Engine, body: object) -> dict[str, Any]:
    """Compare a prediction of somebody else's with what happened; nothing is learned from it."""
    seen = check(Observation, body)
    meaning = TAXONOMY[seen.outcome_status]
    error = None if meaning.bad is None else round(abs(float(meaning.bad) - seen.predicted_risk), 6)
    return {
        "case_id": seen.case_id,
        "predicted_risk": seen.predicted_risk,
        "outcome_status": seen.outcome_status,
        "error": error,
        "prediction_correct": None if error is None else error < _HALF,
        "observed_at": iso(engine.clock()),
    }


def quality_history(engine: Engine, *, domain: str | None, days: int) -> list[dict[str, Any]]:
    """Day by day, how many outcomes were good and how far the risks were off."""
    day = func.floor(decisions.c.at / _DAY)
    since = engine.clock() - days * _DAY
    where = [*_chosen(domain, None), decisions.c.at >= since]
    query = (
        select(day.label("day"), func.count(), func.avg(1 - _BAD), func.avg(_SQUARED))
        .where(*where, _KNOWN)
        .group_by(day)
        .order_by(day)
    )
    with engine.store.transaction() as tx:
        rows = tx.execute(query).all()
    return [
        {
            "date": str(iso(number * _DAY))[:10],
            "total": total,
            "positive_rate": round(float(good), 4),
            "quality_score": round(1 - float(squared), 4),
        }
        for number, total, good, squared in rows
    ]


_HALF = 0.5
_KNOWN = decisions.c.label.in_((int(Label.GOOD), int(Label.BAD)))
_BAD = case((decisions.c.label == int(Label.BAD), 1.0), else_=0.0)
_SQUARED = (decisions.c.risk - _BAD) * (decisions.c.risk - _BAD)


def _chosen(domain: str | None, tool: str | None) -> list[Any]:
    pairs = ((decisions.c.domain, domain), (decisions.c.action, tool))
    return [column == name for column, name in pairs if name is not None]


def _bands(tx: Connection, where: list[Any]) -> list[dict[str, Any]]:
    band = func.floor(decisions.c.risk * (_BANDS - 1e-9))
    query = select(
        band, func.count(), func.avg(decisions.c.risk), func.avg(_BAD), func.avg(_SQUARED)
    )
    rows = tx.execute(query.where(*where, _KNOWN).group_by(band).order_by(band)).all()
    return [
        {
            "from": round(float(number) / _BANDS, 2),
            "to": round((float(number) + 1) / _BANDS, 2),
            "count": count,
            "predicted": round(float(expected), 6),
            "observed": round(float(observed), 6),
            "brier": round(float(squared), 6),
        }
        for number, count, expected, observed, squared in rows
    ]


def _figures(bands: list[dict[str, Any]]) -> dict[str, Any]:
    total = sum(band["count"] for band in bands)

    def mean(what: str) -> float:
        return sum(band["count"] * band[what] for band in bands) / total if total else 0.0

    gaps = (band["count"] * abs(band["predicted"] - band["observed"]) for band in bands)
    return {
        "total": total,
        "mean_predicted": round(mean("predicted"), 6),
        "mean_observed": round(mean("observed"), 6),
        "expected_calibration_error": round(sum(gaps) / total, 6) if total else 0.0,
        "brier_score": round(mean("brier"), 6),
        "tolerance": round(total**-_HALF, 6) if total else 1.0,
        "bins": bands,
    }
