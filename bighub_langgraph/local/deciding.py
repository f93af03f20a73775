"""Deciding: from a proposed action to a stored reply."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select

from bighub_langgraph.local.checking import canonical, check, written
from bighub_langgraph.local.decided import Decided
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.faults import Refused
from bighub_langgraph.local.idempotency import check_key, mismatch
from bighub_langgraph.local.reply import Told, reply, stored_reply
from bighub_langgraph.local.requests import Evaluate, EvaluateBatch
from bighub_langgraph.local.scoring.action import Action, Fact, Past, facts_of, words_of
from bighub_langgraph.local.scoring.model import Assessment
from bighub_langgraph.local.scoring.policy import advise
from bighub_langgraph.local.scoring.session import Call, health_of
from bighub_langgraph.local.settings import DomainSettings
from bighub_langgraph.local.store import Prepared
from bighub_langgraph.local.tables import decisions

DEFAULT_DOMAIN = "general"
_NO_PAST = Past()


def evaluate(engine: Engine, body: object, idempotency_key: str | None = None) -> dict[str, Any]:
    """Decide about one action. The same key gets the same reply again."""
    proposed = check(Evaluate, body)
    if idempotency_key is not None:
        check_key(idempotency_key)
    digest = _digest(proposed)
    with engine.store.transaction() as tx:
        return _decide(engine, tx, proposed, idempotency_key, digest)


def evaluate_batch(engine: Engine, body: object) -> list[dict[str, Any]]:
    """Decide about several actions in their order; one bad action refuses them all."""
    batch = check(EvaluateBatch, body)
    shared = {"actor": batch.actor, "domain": batch.domain}
    proposals = [check(Evaluate, {**shared, **action}) for action in batch.actions]
    with engine.store.transaction() as tx:
        engine.numbers.take_turn(tx)
        return [_decide(engine, tx, each, None, _digest(each)) for each in proposals]


def session_of(context: Mapping[str, Any]) -> str | None:
    """The session a call belongs to: its trajectory if it names one."""
    for name in ("trajectory_id", "session_id"):
        if isinstance(found := context.get(name), str) and found:
            return found
    return None


def _decide(
    engine: Engine, tx: Connection, proposed: Evaluate, key: str | None, digest: str
) -> dict[str, Any]:
    at = engine.clock()
    context = proposed.circumstances
    session_id = session_of(context)
    facts = facts_of(context)
    past = _NO_PAST
    if session_id:
        session, call = engine.sessions.read(tx, session_id), _call(proposed, context, facts, at)
        past = session.before(call)
    action = _action(proposed, facts, past)
    told, seen = _judge(engine, tx, action, at, context)
    answer = reply(told, dry_run=proposed.dry_run)
    if proposed.dry_run:
        return (key and _earlier(tx, key, digest)) or answer
    about = {"at": at, "idempotency_key": key, "digest": digest, "session_id": session_id}
    unasked = context.get("unasked") is True
    row = _row(told, action, review=answer["requires_approval"], unasked=unasked)
    # A key that comes again is seldom: it is noticed here, and not looked up before each decision.
    if not engine.store.prepared(decisions, only=_COLUMNS).write(tx, **about, **row):
        return _earlier(tx, str(key), digest) or _lost(key)
    engine.decisions.made(_decided(told, action, at, session_id, row["approval"]))
    engine.learned.remember(told.request_id, action, seen)
    engine.decided(tx)
    if session_id:
        engine.sessions.save(tx, session_id, session.proposed(call), at)
    return answer


def _judge(
    engine: Engine, tx: Connection, action: Action, at: float, context: Mapping[str, Any]
) -> tuple[Told, Assessment]:
    """What is to be told about an action, and what that was read from."""
    present = engine.present(tx)
    seen = engine.learned.assess(tx, present.newest_evidence, action, at)
    health = health_of(action.past)
    settings = engine.settings.of(action.domain)
    advice = advise(seen, health, settings)
    blocked_by = None
    for ruling in present.controls.rulings(tx, action, at):
        stricter = advice.at_least(ruling.recommendation, ruling.reason)
        if stricter is not advice:
            advice, blocked_by = stricter, ruling.blocked_by
    told = Told(
        request_id=f"req_{engine.new_id()}",
        action=action.name,
        target=action.target,
        value=action.value,
        risk=seen.risk,
        recommendation=str(advice.recommendation),
        parts=seen.parts,
        confidence=str(advice.confidence),
        reason=advice.reason,
        health=health and str(health),
        blocked_by=blocked_by,
        mode=str(settings.enforcement_mode),
        regret=_regret(seen.risk, settings),
        evidence=seen.evidence,
        bad=seen.bad,
        precedents=seen.precedents,
        novelties=seen.novelties,
        drifting=seen.drifting,
        smaller_value=seen.smaller_value,
        objective=context.get("objective"),
        trajectory_id=context.get("trajectory_id") or context.get("session_id"),
    )
    return told, seen


def _regret(risk: float, settings: DomainSettings) -> float:
    """What running it is expected to cost, on the scale of the domain's worst case."""
    worst = max(settings.bad_cost, settings.review_cost)
    return round(risk * settings.bad_cost / worst, 6)


def _action(proposed: Evaluate, facts: Mapping[str, Fact], past: Past) -> Action:
    return Action(
        domain=proposed.domain or DEFAULT_DOMAIN,
        name=proposed.action,
        actor=proposed.actor,
        target=proposed.target,
        value=proposed.value,
        facts=facts,
        past=past,
    )


def _row(told: Told, action: Action, *, review: bool, unasked: bool) -> dict[str, Any]:
    return {
        "request_id": told.request_id,
        "domain": action.domain,
        "action": action.name,
        "actor": action.actor,
        "target": action.target,
        "value": action.value,
        "risk": told.risk,
        "recommendation": told.recommendation,
        "unasked": unasked,
        "parts": written(told.parts),
        "seen": written([action.facts, tuple(action.past)]),
        "reply": told.to_text(),
        "approval": "pending" if review and not unasked else "",
        "severity": 0.0,
    }


def _decided(
    told: Told, action: Action, at: float, session_id: str | None, approval: str
) -> Decided:
    return Decided(
        told.request_id,
        at,
        action.domain,
        action.name,
        action.actor,
        session_id,
        told.risk,
        told.recommendation,
        approval,
    )


_COLUMNS = (
    *("request_id", "idempotency_key", "digest", "at", "domain", "action", "actor", "target"),
    *("value", "session_id", "risk", "recommendation", "unasked", "parts", "seen", "reply"),
    *("approval", "severity"),
)


def _earlier(tx: Connection, key: str, digest: str) -> dict[str, Any] | None:
    found = _BY_KEY.rows(tx, key=key)
    if not found:
        return None
    row = _Earlier(*found[0])
    if row.digest != digest:
        raise mismatch()
    return stored_reply(row)


def _lost(key: str | None) -> dict[str, Any]:
    raise Refused(409, f"the decision under {key!r} is being made by another request; ask again")


class _Earlier(NamedTuple):
    """A decision that was made before, as far as its reply needs it."""

    digest: str
    request_id: str
    action: str
    target: str | None
    value: float | None
    risk: float
    recommendation: str
    parts: str
    reply: str


_BY_KEY = Prepared(
    select(*(decisions.c[name] for name in _Earlier._fields)).where(
        decisions.c.idempotency_key == bindparam("key")
    )
)


def _digest(proposed: Evaluate) -> str:
    return sha256(canonical(proposed.__dict__).encode()).hexdigest()


def _call(
    proposed: Evaluate, context: Mapping[str, Any], facts: Mapping[str, Fact], at: float
) -> Call:
    same = [proposed.action, proposed.target, proposed.value, context.get("arguments")]
    digest = sha256(canonical(same).encode()).hexdigest()[:16]
    words = tuple(words_of(facts))
    return Call(proposed.action, digest, proposed.value or 0.0, words, at)
