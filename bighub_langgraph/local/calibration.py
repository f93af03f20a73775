"""Calibration: whether the predicted risks match the observed bad rates, and whether they drift."""

from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, case, func, select

from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.repository import RUN_RECOMMENDATIONS
from bighub_langgraph.local.schemas.requests import TAXONOMY, Observation
from bighub_langgraph.local.schemas.wire_format import Days, QueryText, format_timestamp
from bighub_langgraph.local.scoring.features import Label
from bighub_langgraph.local.settings import DAY
from bighub_langgraph.local.tables import decisions

_BINS = 10
_HALF = 0.5
_GROUPS = {"domain": decisions.c.domain, "tool": decisions.c.action, "actor": decisions.c.actor}
_RISK_BANDS = {"low": (0.0, 0.2), "medium": (0.2, 0.5), "high": (0.5, 1.01)}
_HAS_OUTCOME = decisions.c.label.in_((int(Label.GOOD), int(Label.BAD)))
_BAD = case((decisions.c.label == int(Label.BAD), 1.0), else_=0.0)
_SQUARED_ERROR = (decisions.c.risk - _BAD) * (decisions.c.risk - _BAD)


def get_report(
    engine: Engine,
    *,
    domain: QueryText | None = None,
    tool: QueryText | None = None,
    risk_band: Literal["low", "medium", "high"] | None = None,
) -> dict[str, Any]:
    """Return predicted and observed bad rates, with the calibration error and the Brier score."""
    where = _filter_by(domain, tool)
    if risk_band is not None:
        low, high = _RISK_BANDS[risk_band]
        where += [decisions.c.risk >= low, decisions.c.risk < high]
    with engine.store.transaction() as tx:
        return {"domain": domain, "tool": tool, **_summarize(_calculate_bins(tx, where))}


def get_curve(
    engine: Engine, *, domain: QueryText | None = None, tool: QueryText | None = None
) -> dict[str, Any]:
    """Return the predicted and the observed bad rate for each tenth of the risk scale."""
    with engine.store.transaction() as tx:
        return {"bins": _calculate_bins(tx, _filter_by(domain, tool))}


def get_drift(
    engine: Engine, *, domain: QueryText | None = None, window_days: Days = 30
) -> dict[str, Any]:
    """Return which domains have had worse outcomes lately."""
    since = engine.clock() - window_days * DAY
    with engine.store.transaction() as tx, engine.current_model() as model:
        domains = []
        for name, state in sorted(model.domains.items()):
            if domain not in (None, name):
                continue
            delay = model.label_delay(name)
            figures = {
                "domain": name,
                "drifting": state.drift.is_drifting,
                "suspicion": round(state.drift.statistic, 4),
                "alarms": [format_timestamp(at) for at in state.drift.alarms if at >= since],
                "label_delay_s": delay,
                "pending_labels": _count_pending(tx, name, engine.clock() - delay),
                "automatic_good": state.automation.good,
                "automatic_bad": state.automation.bad,
                "paused_until": format_timestamp(max(0.0, state.automation.paused_until) or None),
            }
            domains.append(figures)
    is_detected = any(each["drifting"] or each["alarms"] for each in domains)
    return {"drift_detected": is_detected, "window_days": window_days, "domains": domains}


def get_breakdown(
    engine: Engine, *, by: Literal["domain", "tool", "actor"] = "domain"
) -> dict[str, Any]:
    """Return the calibration of every domain, tool or actor."""
    column = _GROUPS[by]
    query = select(column).where(_HAS_OUTCOME).distinct().order_by(column)
    with engine.store.transaction() as tx:
        names = tx.execute(query).scalars().all()
        groups = [{by: name, **_summarize(_calculate_bins(tx, [column == name]))} for name in names]
    return {"by": by, "groups": groups}


def get_feedback(engine: Engine, *, domain: QueryText | None = None) -> dict[str, Any]:
    """Return in one sentence whether the risks are too high or too low."""
    report = get_report(engine, domain=domain)
    bias, total = report["mean_predicted"] - report["mean_observed"], report["total"]
    side = "too high" if bias > 0 else "too low"
    if abs(bias) < report["tolerance"]:
        side = "about right"
    message = f"over {total} outcomes the risks were {side} ({bias:+.3f} on average)"
    with engine.current_model() as model:
        monitors = [
            state.automation for name, state in model.domains.items() if domain in (None, name)
        ]
    bad = sum(monitor.bad for monitor in monitors)
    if automatic := bad + sum(monitor.good for monitor in monitors):
        message += f"; of {automatic} that ran without approval {bad} went wrong"
    return {"domain": domain, "bias": round(bias, 6), "message": message}


def compare_prediction(engine: Engine, body: Observation) -> dict[str, Any]:
    """Compare an external prediction with what happened; nothing is learned from it."""
    bad = TAXONOMY[body.outcome_status].bad
    error = None if bad is None else round(abs(bad - body.predicted_risk), 6)
    return {
        "case_id": body.case_id,
        "predicted_risk": body.predicted_risk,
        "outcome_status": body.outcome_status,
        "error": error,
        "prediction_correct": None if error is None else error < _HALF,
        "observed_at": format_timestamp(engine.clock()),
    }


def get_history(
    engine: Engine, *, domain: QueryText | None = None, days: Days = 30
) -> list[dict[str, Any]]:
    """Return for each day the share of good outcomes and the accuracy of the risks."""
    day = func.floor(decisions.c.at / DAY)
    where = [*_filter_by(domain, None), decisions.c.at >= engine.clock() - days * DAY]
    query = (
        select(day, func.count(), func.avg(1 - _BAD), func.avg(_SQUARED_ERROR))
        .where(*where, _HAS_OUTCOME)
        .group_by(day)
        .order_by(day)
    )
    with engine.store.transaction() as tx:
        rows = tx.execute(query).all()
    return [
        {
            "date": str(format_timestamp(number * DAY))[:10],
            "total": total,
            "positive_rate": round(float(good), 4),
            "quality_score": round(1 - float(squared_error), 4),
        }
        for number, total, good, squared_error in rows
    ]


def _count_pending(tx: Connection, domain: str, before: float) -> int:
    """Count the calls that may have run so long ago that their outcome should be known."""
    may_have_run = decisions.c.recommendation.in_(RUN_RECOMMENDATIONS) | (
        decisions.c.approval == "approved"
    )
    is_old = (decisions.c.domain == domain, decisions.c.at <= before)
    query = select(func.count()).where(*is_old, may_have_run, decisions.c.outcome.is_(None))
    return tx.execute(query).scalar_one()


def _filter_by(domain: str | None, tool: str | None) -> list[ColumnElement[bool]]:
    filters = ((decisions.c.domain, domain), (decisions.c.action, tool))
    return [column == name for column, name in filters if name is not None]


def _calculate_bins(tx: Connection, where: list[ColumnElement[bool]]) -> list[dict[str, Any]]:
    number = func.floor(decisions.c.risk * (_BINS - 1e-9))
    means = (func.avg(decisions.c.risk), func.avg(_BAD), func.avg(_SQUARED_ERROR))
    query = select(number, func.count(), *means).where(*where, _HAS_OUTCOME)
    return [
        {
            "from": round(float(number) / _BINS, 2),
            "to": round((float(number) + 1) / _BINS, 2),
            "count": count,
            "predicted": round(float(mean_risk), 6),
            "observed": round(float(bad_rate), 6),
            "brier": round(float(squared_error), 6),
        }
        for number, count, mean_risk, bad_rate, squared_error in tx.execute(
            query.group_by(number).order_by(number)
        )
    ]


def _summarize(bins: list[dict[str, Any]]) -> dict[str, Any]:
    total = sum(each["count"] for each in bins)
    shares = [(each["count"] / total, each) for each in bins]
    gaps = (share * abs(each["predicted"] - each["observed"]) for share, each in shares)
    return {
        "total": total,
        "mean_predicted": round(sum(share * each["predicted"] for share, each in shares), 6),
        "mean_observed": round(sum(share * each["observed"] for share, each in shares), 6),
        "expected_calibration_error": round(sum(gaps), 6),
        "brier_score": round(sum(share * each["brier"] for share, each in shares), 6),
        "tolerance": round(total**-_HALF, 6) if total else 1.0,
        "bins": bins,
    }
