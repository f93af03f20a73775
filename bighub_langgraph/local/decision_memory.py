"""Decision memory: the tool calls that adapters report, and what they add up to."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select

from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.errors import invalid_field
from bighub_langgraph.local.schemas.requests import (
    MemoryBatch,
    MemoryEvent,
    MemoryRecommendationsRequest,
)
from bighub_langgraph.local.schemas.wire_format import (
    Limit,
    QueryText,
    WindowInHours,
    canonical_json,
    format_timestamp,
    parse_timestamp,
    validate,
)
from bighub_langgraph.local.tables import memory

_FILTERS = ("tool", "domain", "actor", "source")
_RATES = {
    "blocked": "blocked_rate",
    "approval_required": "approval_rate",
    "tool_error": "tool_error_rate",
}


def ingest(engine: Engine, body: MemoryBatch) -> dict[str, Any]:
    """Store the events of a round of tool calls. A known event counts once."""
    events = [validate(MemoryEvent, event) for event in body.events]
    with engine.store.transaction() as tx:
        insert = engine.store.prepared(memory)
        rows = (_event_row(engine, body, *pair) for pair in zip(events, body.events, strict=True))
        stored = sum(insert.write(tx, **row) for row in rows)
    return {"accepted": len(events), "total_stored": stored, "source": body.source}


def summarize(
    engine: Engine,
    *,
    window_hours: WindowInHours = 24,
    limit_recent: Limit = 25,
    tool: QueryText | None = None,
    domain: QueryText | None = None,
    actor: QueryText | None = None,
    source: QueryText | None = None,
) -> dict[str, Any]:
    """Return rates, tools, reasons and the newest events of the last hours."""
    filters = zip(_FILTERS, (tool, domain, actor, source), strict=True)
    chosen = {name: value for name, value in filters if value is not None}
    where = _within(engine, window_hours, chosen)
    recent = select(memory.c.event).where(*where).order_by(memory.c.id.desc()).limit(limit_recent)
    with engine.store.transaction() as tx:
        tools = [dict(row) for row in tx.execute(_by_tool(where)).mappings()]
        events = [json.loads(text) for text in tx.execute(recent).scalars()]
    total = sum(tool["events"] for tool in tools)
    return {
        "org_id": 0,
        "window_hours": window_hours,
        "filters": chosen,
        "total_events": total,
        **{
            rate: round(sum(tool[status] for tool in tools) / total, 4) if total else 0.0
            for status, rate in _RATES.items()
        },
        "avg_risk_score": _mean_risk(events),
        "top_tools": [{"tool": tool["tool"], "events": tool["events"]} for tool in tools[:10]],
        "top_block_reasons": _count_block_reasons(events),
        "recent_events": events,
    }


def recommend(engine: Engine, body: MemoryRecommendationsRequest) -> dict[str, Any]:
    """Return which tools deserve a tighter or looser rule, by what they did lately."""
    scope = {**body.scope, **{name: getattr(body, name) for name in _FILTERS}}
    chosen = {name: str(scope[name]) for name in _FILTERS if scope.get(name) is not None}
    with engine.store.transaction() as tx:
        rows = tx.execute(_by_tool(_within(engine, body.window_hours, chosen))).mappings()
        tools = [dict(row) for row in rows]
    advice = [entry for tool in tools for entry in _recommend_for_tool(tool, body)]
    return {
        "org_id": 0,
        "plan": "embedded",
        "window_hours": body.window_hours,
        "generated_at": format_timestamp(engine.clock()),
        "filters": chosen,
        "summary": {"total_events": sum(tool["events"] for tool in tools), "tools": len(tools)},
        "recommendations": advice[: body.limit_recommendations],
    }


def refresh(_engine: Engine) -> dict[str, Any]:
    """Do nothing: aggregates are computed for each request."""
    return {"refreshed": True, "mode": "always fresh"}


def _event_row(
    engine: Engine, batch: MemoryBatch, event: MemoryEvent, raw: Mapping[str, Any]
) -> dict[str, Any]:
    try:
        at = parse_timestamp(event.timestamp) if event.timestamp else engine.clock()
    except ValueError as error:
        raise invalid_field("body.events.timestamp", str(error)) from error
    return {
        "event_id": event.event_id or engine.new_id(),
        "at": at,
        "source": batch.source,
        "tool": event.tool,
        "status": event.status,
        "actor": batch.actor,
        "domain": batch.domain,
        "event": canonical_json({**raw, "model": batch.model, "trace_id": batch.trace_id}),
    }


def _within(engine: Engine, hours: int, filters: Mapping[str, str]) -> list[ColumnElement[bool]]:
    since = engine.clock() - hours * 3_600.0
    return [memory.c.at >= since, *(memory.c[name] == value for name, value in filters.items())]


def _by_tool(where: list[ColumnElement[bool]]) -> Select[Any]:
    events = func.count().label("events")
    counts = [
        func.sum(case((memory.c.status == status, 1), else_=0)).label(status) for status in _RATES
    ]
    grouped = select(memory.c.tool, events, *counts).where(*where).group_by(memory.c.tool)
    return grouped.order_by(events.desc(), memory.c.tool)


def _decision(event: Mapping[str, Any]) -> Mapping[str, Any]:
    decision = event.get("decision")
    return decision if isinstance(decision, dict) else {}


def _mean_risk(events: list[dict[str, Any]]) -> float:
    scores = [_decision(event).get("risk_score") for event in events]
    risks = [score for score in scores if isinstance(score, (int, float))]
    return round(sum(risks) / len(risks), 4) if risks else 0.0


def _count_block_reasons(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    counts = Counter(
        str(_decision(event).get("reason") or event.get("error") or "unknown")
        for event in events
        if event.get("status") == "blocked"
    )
    return [{"reason": reason, "count": count} for reason, count in counts.most_common(10)]


def _recommend_for_tool(
    tool: Mapping[str, Any], thresholds: MemoryRecommendationsRequest
) -> list[dict[str, Any]]:
    if tool["events"] < thresholds.min_events:
        return []
    rules = (
        ("blocked", thresholds.min_blocked_rate, "is blocked often: tell the agent its limits"),
        ("approval_required", thresholds.min_approval_rate, "asks people often: report outcomes"),
        ("tool_error", thresholds.min_tool_error_rate, "fails often: check its arguments first"),
    )
    return [
        {
            "tool": tool["tool"],
            "type": status,
            "rate": round(tool[status] / tool["events"], 4),
            "events": tool["events"],
            "recommendation": f"{tool['tool']} {advice}",
        }
        for status, threshold, advice in rules
        if tool[status] / tool["events"] >= threshold
    ]
