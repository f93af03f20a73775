"""Precedents in the API: the labelled calls most similar to a described one."""

from typing import Any

from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.evaluate import DEFAULT_DOMAIN
from bighub_langgraph.local.response import count_precedents, show_precedent
from bighub_langgraph.local.schemas.requests import CasePrecedentQuery, PrecedentQuery
from bighub_langgraph.local.scoring.features import Action, extract_facts
from bighub_langgraph.local.scoring.precedents import Precedent

_MAX_RESULTS, _MAX_WARNINGS = 100, 5
_LOW, _HIGH = 0.1, 0.3


def query_precedents(engine: Engine, body: PrecedentQuery) -> dict[str, Any]:
    """Return the calls most similar to an action, the most similar first."""
    matches = _find_similar(engine, _to_action(body), body.min_similarity)
    if body.require_outcome:
        matches = [precedent for precedent in matches if precedent.label.outcome]
    return _view(matches, body.max_results)


def get_signals(engine: Engine, body: PrecedentQuery) -> dict[str, Any]:
    """Return a summary of the calls most similar to an action."""
    return _summarize(_find_similar(engine, _to_action(body), body.min_similarity))


def find_for_case(engine: Engine, body: CasePrecedentQuery) -> dict[str, Any]:
    """Return the calls most similar to a proposed case."""
    action = Action(
        domain=body.domain or DEFAULT_DOMAIN,
        name=body.action.action,
        actor="AI_AGENT",
        target=body.action.target,
        value=body.action.value,
        facts=extract_facts({"arguments": body.action.arguments}),
    )
    return _view(_find_similar(engine, action, body.min_similarity), body.limit)


def get_stats(engine: Engine) -> dict[str, Any]:
    """Return how many precedents the model has."""
    with engine.current_model() as model:
        actions = [each for state in model.domains.values() for each in state.actions.values()]
        return {"total_precedents": sum(len(action.precedents.calls) for action in actions)}


def _to_action(request: PrecedentQuery) -> Action:
    facts = extract_facts({"arguments": request.axes})
    return Action(request.domain, request.action, request.actor_type, facts=facts)


def _find_similar(engine: Engine, action: Action, min_similarity: float) -> list[Precedent]:
    with engine.current_model() as model:
        nearest = model.find_precedents(action, engine.clock(), _MAX_RESULTS)
    return [precedent for precedent in nearest if precedent.similarity >= min_similarity]


def _view(precedents: list[Precedent], limit: int) -> dict[str, Any]:
    views = [show_precedent(precedent) for precedent in precedents[:limit]]
    return {"precedents": views, **_summarize(precedents)}


def _summarize(precedents: list[Precedent]) -> dict[str, Any]:
    counts = count_precedents(precedents)
    bad = [precedent.summary for precedent in precedents if precedent.label.bad]
    return {
        **counts,
        "risk_level": _name_risk_level(counts["negative_rate"]),
        "warnings": bad[:_MAX_WARNINGS],
    }


def _name_risk_level(rate: float) -> str:
    if rate < _LOW:
        return "low"
    return "medium" if rate < _HIGH else "high"
