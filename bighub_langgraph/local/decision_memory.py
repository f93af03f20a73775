"""Decision memory: the tool calls that adapters report, and what they add up to."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, select

from bighub_langgraph.local.engine import Engine
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
    validate,
)
from bighub_langgraph.local.settings import HOUR
from bighub_langgraph.local.tables import memory

# status: the name of its rate, and what to do when the rate is high
_RATES = {
    "blocked": ("blocked_rate", "is blocked often: tell the agent its limits"),
    "approval_required": ("approval_rate", "asks people often: report outcomes"),
    "tool_error": ("tool_error_rate", "fails often: check its arguments first"),
}


def ingest(engine: Engine, body: MemoryBatch) -> dict[str, Any]:
    """Store the events of a round of tool calls. A known event counts once."""
    events = [validate(MemoryEvent, event) for event in body.events]
    origin = {"model": body.model, "trace_id": body.trace_id}
    new_count = 0
    with engine.store.transaction() as tx:
        for event, raw in zip(events, body.events, strict=True):
            event_id = event.event_id or engine.new_id()
            row = {
                "event_id": event_id,
                "at": engine.clock() if event.timestamp is None else event.timestamp,
                "source": body.source,
                "tool": event.tool,
                "status": event.status,
                "actor": body.actor,
                "domain": body.domain,
                "event": canonical_json({**raw, **origin}),
            }
            new_count += engine.store.insert_row(tx, memory, event_id, row)
    return {"accepted": len(events), "total_stored": new_count, "source": body.source}


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
    filters = _choose_filters(tool=tool, domain=domain, actor=actor, source=source)
    where = _within(engine, window_hours, filters)
    recent = select(memory.c.event).where(*where).order_by(memory.c.id.desc()).limit(limit_recent)
    with engine.store.transaction() as tx:
        tools = _count_by_tool(tx, where)
        events = [json.loads(text) for text in tx.execute(recent).scalars()]
    total = sum(tool["events"] for tool in tools)
    rates = {
        rate: round(sum(tool[status] for tool in tools) / total, 4) if total else 0.0
        for status, (rate, _) in _RATES.items()
    }
    return {
        "org_id": 0,
        "window_hours": window_hours,
        "filters": filters,
        "total_events": total,
        **rates,
        "avg_risk_score": _mean_risk(events),
        "top_tools": [{"tool": tool["tool"], "events": tool["events"]} for tool in tools[:10]],
        "top_block_reasons": _count_block_reasons(events),
        "recent_events": events,
    }


def recommend(engine: Engine, body: MemoryRecommendationsRequest) -> dict[str, Any]:
    """Return which tools deserve a tighter or looser rule, by what they did lately."""
    names = ("tool", "domain", "actor", "source")
    filters = _choose_filters(
        **{name: getattr(body, name) or body.scope.get(name) for name in names}
    )
    with engine.store.transaction() as tx:
        tools = _count_by_tool(tx, _within(engine, body.window_hours, filters))
    return {
        "org_id": 0,
        "plan": "embedded",
        "window_hours": body.window_hours,
        "generated_at": format_timestamp(engine.clock()),
        "filters": filters,
        "summary": {"total_events": sum(tool["events"] for tool in tools), "tools": len(tools)},
        "recommendations": _list_recommendations(tools, body)[: body.limit_recommendations],
    }


def refresh(_engine: Engine) -> dict[str, Any]:
    """Do nothing: aggregates are computed for each request."""
    return {"refreshed": True, "mode": "always fresh"}


def _choose_filters(**values: object) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}


def _within(engine: Engine, hours: int, filters: Mapping[str, str]) -> list[ColumnElement[bool]]:
    since = engine.clock() - hours * HOUR
    return [memory.c.at >= since, *(memory.c[name] == value for name, value in filters.items())]


def _count_by_tool(tx: Connection, where: list[ColumnElement[bool]]) -> list[Mapping[str, Any]]:
    """Return the events of each tool, in all and by status, the most used tool first."""
    events = func.count().label("events")
    counts = [
        func.sum(case((memory.c.status == status, 1), else_=0)).label(status) for status in _RATES
    ]
    query = select(memory.c.tool, events, *counts).where(*where).group_by(memory.c.tool)
    return [*tx.execute(query.order_by(events.desc(), memory.c.tool)).mappings()]


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


def _list_recommendations(
    tools: list[Mapping[str, Any]], thresholds: MemoryRecommendationsRequest
) -> list[dict[str, Any]]:
    return [
        {
            "tool": tool["tool"],
            "type": status,
            "rate": round(tool[status] / tool["events"], 4),
            "events": tool["events"],
            "recommendation": f"{tool['tool']} {advice}",
        }
        for tool in tools
        if tool["events"] >= thresholds.min_events
        for status, (rate, advice) in _RATES.items()
        if tool[status] / tool["events"] >= getattr(thresholds, f"min_{rate}")
    ]
