"""Deciding: from a proposed action to a stored reply."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, bindparam, select

from bighub_langgraph.local.checking import canonical, check, written
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.faults import Refused
from bighub_langgraph.local.idempotency import check_key, mismatch
from bighub_langgraph.local.reply import Judgement, reply
from bighub_langgraph.local.requests import Evaluate, EvaluateBatch
from bighub_langgraph.local.scoring.action import Action, Fact, Past, facts_of, words_of
from bighub_langgraph.local.scoring.policy import advise
from bighub_langgraph.local.scoring.session import Call, health_of
from bighub_langgraph.local.sessions import read_session, save_session
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
        session, call = read_session(tx, session_id), _call(proposed, context, facts, at)
        past = session.before(call)
    judgement = _judge(engine, tx, _action(proposed, facts, past), at)
    unasked = context.get("unasked") is True
    answer = reply(
        judgement, request_id=f"req_{engine.new_id()}", context=context, dry_run=proposed.dry_run
    )
    if proposed.dry_run:
        return (key and _earlier(tx, key, digest)) or answer
    row = _row(judgement, answer, key=key, digest=digest, session_id=session_id, unasked=unasked)
    # A key that comes again is seldom: it is noticed here, and not looked up before each decision.
    if not engine.store.prepared(decisions).write(tx, **row):
        return _earlier(tx, str(key), digest) or _lost(key)
    if session_id:
        save_session(engine.store, tx, session_id, session.proposed(call), at)
    engine.decided(tx)
    return answer


def _judge(engine: Engine, tx: Connection, action: Action, at: float) -> Judgement:
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
    return Judgement(action, at, seen, advice, health, settings, blocked_by)


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


def _row(
    judgement: Judgement,
    answer: Mapping[str, Any],
    *,
    key: str | None,
    digest: str,
    session_id: str | None,
    unasked: bool,
) -> dict[str, Any]:
    action = judgement.action
    return {
        **_UNSETTLED,
        "request_id": answer["request_id"],
        "idempotency_key": key,
        "digest": digest,
        "at": judgement.at,
        "domain": action.domain,
        "action": action.name,
        "actor": action.actor,
        "target": action.target,
        "value": action.value,
        "session_id": session_id,
        "risk": judgement.seen.risk,
        "recommendation": judgement.advice.recommendation.value,
        "unasked": unasked,
        "parts": written(judgement.seen.parts),
        "seen": written(action.to_json()),
        "reply": written(answer),
        "approval": "pending" if answer["requires_approval"] and not unasked else "",
    }


_UNSETTLED = {
    "comment": None,
    "resolved_at": None,
    "outcome": None,
    "severity": 0.0,
    "outcome_at": None,
    "followed": None,
    "label": None,
    "label_at": None,
    "label_seq": None,
}


def _earlier(tx: Connection, key: str, digest: str) -> dict[str, Any] | None:
    found = _BY_KEY.rows(tx, key=key)
    if not found:
        return None
    known, text = found[0]
    if known != digest:
        raise mismatch()
    stored: dict[str, Any] = json.loads(text)
    return stored


def _lost(key: str | None) -> dict[str, Any]:
    raise Refused(409, f"the decision under {key!r} is being made by another request; ask again")


_BY_KEY = Prepared(
    select(decisions.c.digest, decisions.c.reply).where(
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
