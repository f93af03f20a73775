"""Precedents over the API: the calls most like one that is described."""

from typing import Any

from bighub_langgraph.local.checking import check
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.requests import CasePrecedents, PrecedentQuery
from bighub_langgraph.local.scoring.action import Action, facts_of
from bighub_langgraph.local.scoring.precedents import Precedent
from bighub_langgraph.local.times import iso

_MOST = 100
_LOW, _HIGH = 0.1, 0.3


def query(engine: Engine, body: object) -> dict[str, Any]:
    """The calls most like an action, the most alike first."""
    wanted = check(PrecedentQuery, body)
    found = [
        each
        for each in _nearest(engine, _described(wanted))
        if each.similarity >= wanted.min_similarity
        and (each.label.outcome or not wanted.require_outcome)
    ]
    return {"precedents": [view(each) for each in found[: wanted.max_results]], **_signals(found)}


def signals(engine: Engine, body: object) -> dict[str, Any]:
    """What the calls most like an action add up to."""
    wanted = check(PrecedentQuery, body)
    found = _nearest(engine, _described(wanted))
    return _signals([each for each in found if each.similarity >= wanted.min_similarity])


def for_case(engine: Engine, body: object) -> dict[str, Any]:
    """The calls most like a proposed case."""
    wanted = check(CasePrecedents, body)
    proposed = wanted.action
    action = Action(
        wanted.domain or "general",
        proposed.action,
        "AI_AGENT",
        proposed.target,
        proposed.value,
        facts_of({"arguments": proposed.arguments}),
    )
    found = [each for each in _nearest(engine, action) if each.similarity >= wanted.min_similarity]
    return {"precedents": [view(each) for each in found[: wanted.limit]], **_signals(found)}


def stats(engine: Engine) -> dict[str, Any]:
    """How many precedents are held in memory."""
    with engine.knowledge() as model:
        return {"total_precedents": len(model.precedents)}


def view(precedent: Precedent) -> dict[str, Any]:
    """A precedent as the API shows it."""
    return {
        "request_id": precedent.request_id,
        "similarity": precedent.similarity,
        "outcome": precedent.label.name,
        "at": iso(precedent.at),
        "summary": precedent.summary,
    }


def _described(wanted: PrecedentQuery) -> Action:
    facts = facts_of({"arguments": wanted.axes})
    return Action(wanted.domain, wanted.action, wanted.actor_type, facts=facts)


def _nearest(engine: Engine, action: Action) -> list[Precedent]:
    with engine.knowledge() as model:
        return model.precedents.nearest(action, _MOST).shown(_MOST)


def _signals(found: list[Precedent]) -> dict[str, Any]:
    outcomes = [each for each in found if each.label.outcome]
    bad = sum(each.label.bad for each in found)
    rate = bad / len(found) if found else 0.0
    return {
        "total_precedents": len(found),
        "with_outcomes": len(outcomes),
        "success_rate": round(1 - rate, 4) if found else 0.0,
        "negative_rate": round(rate, 4),
        "risk_level": "low" if rate < _LOW else "medium" if rate < _HIGH else "high",
        "warnings": [each.summary for each in found if each.label.bad][:5],
    }
