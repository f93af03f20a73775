"""Decision memory: the tool calls adapters remember, and what they add up to."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select

from bighub_langgraph.local.checking import canonical, check
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.requests import MemoryAdvice, MemoryBatch, MemoryEvent
from bighub_langgraph.local.tables import memory
from bighub_langgraph.local.times import iso, moment

_FILTERS = ("tool", "domain", "actor", "source")
_RATES = {
    "blocked": "blocked_rate",
    "approval_required": "approval_rate",
    "tool_error": "tool_error_rate",
}


def ingest(engine: Engine, body: object) -> dict[str, Any]:
    """Remember the events of a tool round; an event that is known already counts once."""
    batch = check(MemoryBatch, body)
    events = [check(MemoryEvent, event) for event in batch.events]
    with engine.store.transaction() as tx:
        insert = engine.store.prepared(memory)
        rows = (_row(engine, batch, *each) for each in zip(events, batch.events, strict=True))
        stored = sum(insert.write(tx, **row) for row in rows)
    return {"accepted": len(events), "total_stored": stored, "source": batch.source}


def context(
    engine: Engine, *, window_hours: int, limit_recent: int, filters: Mapping[str, str]
) -> dict[str, Any]:
    """What happened lately: rates, tools, reasons and the newest events."""
    chosen = {name: filters[name] for name in _FILTERS if name in filters}
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
        **{rate: _share(tools, status, total) for status, rate in _RATES.items()},
        "avg_risk_score": _mean_risk(events),
        "top_tools": [{"tool": tool["tool"], "events": tool["events"]} for tool in tools[:10]],
        "top_block_reasons": _reasons(events),
        "recent_events": events,
    }


def recommendations(engine: Engine, body: object) -> dict[str, Any]:
    """Which tools deserve a tighter or looser rule, by what they did lately."""
    wanted = check(MemoryAdvice, body)
    scope = {**wanted.scope, **{name: getattr(wanted, name) for name in _FILTERS}}
    chosen = {name: str(scope[name]) for name in _FILTERS if scope.get(name) is not None}
    with engine.store.transaction() as tx:
        found = tx.execute(_by_tool(_within(engine, wanted.window_hours, chosen))).mappings()
        tools = [dict(row) for row in found]
    advice = [each for tool in tools for each in _advice(tool, wanted)]
    return {
        "org_id": 0,
        "plan": "embedded",
        "window_hours": wanted.window_hours,
        "generated_at": iso(engine.clock()),
        "filters": chosen,
        "summary": {"total_events": sum(tool["events"] for tool in tools), "tools": len(tools)},
        "recommendations": advice[: wanted.limit_recommendations],
    }


def _row(
    engine: Engine, batch: MemoryBatch, event: MemoryEvent, raw: Mapping[str, Any]
) -> dict[str, Any]:
    at = moment(event.timestamp, "body.events.timestamp") if event.timestamp else engine.clock()
    return {
        "event_id": event.event_id or engine.new_id(),
        "at": at,
        "source": batch.source,
        "tool": event.tool,
        "status": event.status,
        "actor": batch.actor,
        "domain": batch.domain,
        "event": canonical({**raw, "model": batch.model, "trace_id": batch.trace_id}),
    }


def _within(engine: Engine, hours: int, filters: Mapping[str, str]) -> list[ColumnElement[bool]]:
    since = engine.clock() - hours * 3_600.0
    return [memory.c.at >= since, *(memory.c[name] == word for name, word in filters.items())]


def _by_tool(where: list[ColumnElement[bool]]) -> Select[Any]:
    events = func.count().label("events")
    counts = [
        func.sum(case((memory.c.status == status, 1), else_=0)).label(status) for status in _RATES
    ]
    grouped = select(memory.c.tool, events, *counts).where(*where).group_by(memory.c.tool)
    return grouped.order_by(events.desc(), memory.c.tool)


def _share(tools: list[dict[str, Any]], status: str, total: int) -> float:
    return round(sum(tool[status] for tool in tools) / total, 4) if total else 0.0


def _decision(event: Mapping[str, Any]) -> Mapping[str, Any]:
    decision = event.get("decision")
    return decision if isinstance(decision, dict) else {}


def _mean_risk(events: list[dict[str, Any]]) -> float:
    risks = [_decision(event).get("risk_score") for event in events]
    known = [risk for risk in risks if isinstance(risk, (int, float))]
    return round(sum(known) / len(known), 4) if known else 0.0


def _reasons(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    counts: dict[str, int] = {}
    for event in events:
        if event.get("status") == "blocked":
            reason = str(_decision(event).get("reason") or event.get("error") or "unknown")
            counts[reason] = counts.get(reason, 0) + 1
    ordered = sorted(counts.items(), key=lambda each: -each[1])
    return [{"reason": reason, "count": count} for reason, count in ordered[:10]]


def _advice(tool: Mapping[str, Any], wanted: MemoryAdvice) -> list[dict[str, Any]]:
    if tool["events"] < wanted.min_events:
        return []
    limits = (
        ("blocked", wanted.min_blocked_rate, "is blocked often: tell the agent what it may not do"),
        ("approval_required", wanted.min_approval_rate, "asks people often: report its outcomes"),
        ("tool_error", wanted.min_tool_error_rate, "fails often: check its arguments first"),
    )
    return [
        {
            "tool": tool["tool"],
            "type": status,
            "rate": round(tool[status] / tool["events"], 4),
            "events": tool["events"],
            "recommendation": f"{tool['tool']} {words}",
        }
        for status, least, words in limits
        if tool[status] / tool["events"] >= least
    ]
