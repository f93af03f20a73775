"""Evaluation: from a proposed action to a stored decision and its reply."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection

from bighub_langgraph.core.models import Recommendation
from bighub_langgraph.local.api_keys import IN_PROCESS, Caller
from bighub_langgraph.local.engine import CurrentState, Engine
from bighub_langgraph.local.errors import ApiError
from bighub_langgraph.local.idempotency import check_key, key_mismatch
from bighub_langgraph.local.repository import DecisionRow
from bighub_langgraph.local.response import EvaluationResult, build_response, load_response
from bighub_langgraph.local.schemas.requests import EvaluateBatchRequest, EvaluateRequest
from bighub_langgraph.local.schemas.wire_format import canonical_json, validate
from bighub_langgraph.local.scoring.features import Action, extract_facts
from bighub_langgraph.local.scoring.recommendation_policy import recommend
from bighub_langgraph.local.scoring.session import assess_health
from bighub_langgraph.local.settings import DAY

DEFAULT_DOMAIN = "general"
_OFFERED_ONE_IN = 20
_OFFER = "it would be stopped; one in 20 such calls goes to a person"


def evaluate(
    engine: Engine,
    body: EvaluateRequest,
    idempotency_key: str | None = None,
    caller: Caller = IN_PROCESS,
) -> dict[str, Any]:
    """Decide about one action. The same key gets the same reply again."""
    if idempotency_key is not None:
        check_key(idempotency_key)
    with engine.store.transaction() as tx:
        return _decide(engine, tx, body, idempotency_key, caller)


def evaluate_batch(
    engine: Engine, body: EvaluateBatchRequest, caller: Caller = IN_PROCESS
) -> list[dict[str, Any]]:
    """Decide about several actions in order; one invalid action refuses them all."""
    defaults = {"actor": body.actor, "domain": body.domain}
    proposals = [validate(EvaluateRequest, {**defaults, **action}) for action in body.actions]
    with engine.store.transaction() as tx:
        engine.sequences.lock(tx)
        return [_decide(engine, tx, proposal, None, caller) for proposal in proposals]


def find_session_id(context: Mapping[str, Any]) -> str | None:
    """Return the session of a call: its trajectory if it names one."""
    for name in ("trajectory_id", "session_id"):
        if isinstance(session_id := context.get(name), str) and session_id:
            return session_id
    return None


def _decide(
    engine: Engine, tx: Connection, proposal: EvaluateRequest, key: str | None, caller: Caller
) -> dict[str, Any]:
    at = engine.clock()
    context = proposal.merged_context
    action = Action(
        domain=proposal.domain or DEFAULT_DOMAIN,
        name=proposal.action,
        actor=proposal.actor,
        target=proposal.target,
        value=proposal.value,
        facts=extract_facts(context),
    )
    # What a key stands for: the session, the time and the like may be others in a repeat.
    about = [action.domain, action.name, action.actor, action.target, action.value]
    digest = _digest([*about, context.get("arguments", context)])
    session_id, session = find_session_id(context), None
    state = engine.current_state(tx, session_id)
    if session_id is not None:
        call = _digest([action.name, action.target, action.value, context.get("arguments")])[:8]
        action = action._replace(history=state.session.history_before(action, call, at))
        session = state.session.with_call(action, call, at)
    content = _assess(engine, tx, state, action, at=at, context=context)
    answer = build_response(content, dry_run=proposal.dry_run)
    if proposal.dry_run:
        return (key and _find_reply(engine, tx, key, digest)) or answer
    auto_executed = context.get("auto_executed") is True
    decision = DecisionRow(
        request_id=content.request_id,
        idempotency_key=key,
        digest=digest,
        at=at,
        domain=action.domain,
        action=action.name,
        actor=action.actor,
        target=action.target,
        value=action.value,
        session_id=session_id,
        risk=content.risk,
        recommendation=content.recommendation,
        auto_executed=auto_executed,
        seen=[action.facts, tuple(action.history), *content.novelty_kinds],
        reply=content.to_stored_fields(),
        approval="pending" if answer["requires_approval"] and not auto_executed else "",
        key_id=caller.key_id,
        session=session,
    )
    # A repeated key is rare: it is detected here instead of by a query before each decision.
    if not engine.decisions.insert(tx, decision):
        if earlier := _find_reply(engine, tx, str(key), digest):
            return earlier
        raise ApiError(409, f"the decision for the key {key!r} is being made; repeat the request")
    engine.count_decision(tx)
    return answer


def _assess(
    engine: Engine,
    tx: Connection,
    state: CurrentState,
    action: Action,
    *,
    at: float,
    context: Mapping[str, Any],
) -> EvaluationResult:
    settings = engine.settings.for_domain(action.domain)
    with engine.trainer.current_model(tx, state.newest_evidence, at) as model:
        assessment = model.assess(action, at)
    health = assess_health(action.history)
    advice = recommend(assessment, health, settings, at)
    if advice.recommendation is Recommendation.STOP and _is_offered(action, context, at):
        advice = advice._replace(recommendation=Recommendation.REVIEW, reason=_OFFER)
    for ruling in state.constraints.find_rulings(tx, action, at):
        advice = advice.at_least(*ruling)
    highest_cost = max(settings.bad_cost, settings.review_cost)
    return EvaluationResult(
        request_id=f"req_{engine.new_id()}",
        action=action.name,
        target=action.target,
        value=action.value,
        risk=assessment.risk,
        recommendation=str(advice.recommendation),
        parts=assessment.parts,
        confidence=str(advice.confidence),
        reason=advice.reason,
        health=health and str(health),
        blocked_by=advice.blocked_by,
        mode=str(settings.enforcement_mode),
        regret=round(assessment.risk * settings.bad_cost / highest_cost, 6),
        evidence=assessment.total,
        bad=assessment.bad,
        denials=assessment.denials,
        precedents=assessment.precedents,
        novelties=tuple(novelty.reason for novelty in assessment.novelties),
        needs_label_delay=action.value is not None and assessment.label_delay is None,
        novelty_kinds=tuple({novelty.kind: 0 for novelty in assessment.novelties if novelty.kind}),
        is_drifting=assessment.drifting,
        smaller_value=assessment.smaller_value,
        objective=context.get("objective"),
        trajectory_id=context.get("trajectory_id") or context.get("session_id"),
    )


def _is_offered(action: Action, context: Mapping[str, Any], at: float) -> bool:
    """Whether a call that would be stopped goes to a person, so that a stop can be unlearned.

    A repeat on the same day gets the same answer.
    """
    about = [action.domain, action.name, action.target, action.value, context.get("arguments")]
    return int(_digest([*about, at // DAY]), 16) % _OFFERED_ONE_IN == 0


def _digest(tree: object) -> str:
    return sha256(canonical_json(tree).encode()).hexdigest()


def _find_reply(engine: Engine, tx: Connection, key: str, digest: str) -> dict[str, Any] | None:
    decision = engine.decisions.find_by_key(tx, key)
    if decision is None:
        return None
    if decision.digest != digest:
        raise key_mismatch()
    return load_response(decision)
