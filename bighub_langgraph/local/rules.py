"""Constraints: the limits people set, with their versions."""

import json
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from bighub_langgraph.local.checking import Body, check
from bighub_langgraph.local.controls import Controls
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.faults import invalid, not_found
from bighub_langgraph.local.requests import Rule, RuleChange, RuleTrial
from bighub_langgraph.local.scoring.action import Action
from bighub_langgraph.local.tables import decisions, rule_versions, rules
from bighub_langgraph.local.times import iso
from bighub_langgraph.local.words import Recommendation


def create(engine: Engine, body: object) -> dict[str, Any]:
    """Set a new limit."""
    rule = _checked(check(Rule, body))
    at = engine.clock()
    row = {
        "rule_id": f"rule_{engine.new_id()}",
        "domain": rule["domain"],
        "status": "active",
        "version": 1,
        "created_at": at,
        "updated_at": at,
        "rule": json.dumps(rule),
    }
    with engine.store.transaction() as tx:
        tx.execute(rules.insert(), row)
        _keep_version(engine, tx, row)
        return _view(_find(tx, str(row["rule_id"])))


def trial(body: object) -> dict[str, Any]:
    """Check a limit without setting it."""
    return {"valid": True, "dry_run": True, "rule": _checked(check(Rule, body))}


def list_rules(
    engine: Engine, *, status: str | None, domain: str | None, limit: int, offset: int
) -> list[dict[str, Any]]:
    """The limits that are set, oldest first."""
    query = select(rules).order_by(rules.c.id).limit(limit).offset(offset)
    for column, wanted in ((rules.c.status, status), (rules.c.domain, domain)):
        query = query if wanted is None else query.where(column == wanted)
    with engine.store.transaction() as tx:
        return [_view(row) for row in tx.execute(query)]


def get(engine: Engine, rule_id: str) -> dict[str, Any]:
    """One limit."""
    with engine.store.transaction() as tx:
        return _view(_find(tx, rule_id))


def change(engine: Engine, rule_id: str, body: object) -> dict[str, Any]:
    """Change some fields of a limit; the earlier version stays readable."""
    wanted = check(RuleChange, body).model_dump(exclude_unset=True)
    status = wanted.pop("status", None)
    with engine.store.transaction() as tx:
        row = _find(tx, rule_id)
        rule = _checked(check(Rule, {**json.loads(row.rule), **wanted}))
        return _replace(engine, tx, row, rule=rule, status=status or row.status)


def pause(engine: Engine, rule_id: str) -> dict[str, Any]:
    """Let a limit rest."""
    return _switch(engine, rule_id, "paused")


def resume(engine: Engine, rule_id: str) -> dict[str, Any]:
    """Let a limit hold again."""
    return _switch(engine, rule_id, "active")


def remove(engine: Engine, rule_id: str) -> dict[str, Any]:
    """Take a limit away."""
    with engine.store.transaction() as tx:
        _find(tx, rule_id)
        tx.execute(delete(rules).where(rules.c.rule_id == rule_id))
        engine.numbers.draw(tx, "controls")
    return {"deleted": True, "rule_id": rule_id}


def versions(engine: Engine, rule_id: str, *, limit: int) -> list[dict[str, Any]]:
    """What a limit was before, newest first."""
    query = select(rule_versions).where(rule_versions.c.rule_id == rule_id)
    with engine.store.transaction() as tx:
        _find(tx, rule_id)
        found = tx.execute(query.order_by(rule_versions.c.version.desc()).limit(limit)).all()
    return [
        {**json.loads(row.rule), "version": row.version, "updated_at": iso(row.at)} for row in found
    ]


def validate(engine: Engine, body: object) -> dict[str, Any]:
    """Say what the limits alone would say to an action."""
    wanted = check(RuleTrial, body)
    with engine.store.transaction() as tx:
        held = engine.present(tx).controls.rules
        chosen = [each for each in held if wanted.rule_id in (None, each["rule_id"])]
        if wanted.rule_id is not None and not chosen:
            raise not_found("active constraint", wanted.rule_id)
        domain = wanted.domain or (chosen[0]["domain"] if wanted.rule_id else "general")
        action = Action(domain, wanted.action, wanted.actor, value=wanted.value)
        rulings = Controls(rules=tuple(chosen)).rulings(tx, action, engine.clock())
    stopped = [each for each in rulings if each.recommendation is Recommendation.STOP]
    result = "blocked" if stopped else "requires_approval" if rulings else "allowed"
    return {
        "allowed": result == "allowed",
        "result": result,
        "requires_approval": result == "requires_approval",
        "reason": "; ".join(each.reason for each in rulings) or "no constraint speaks against it",
        "blocked_by": stopped[0].blocked_by if stopped else None,
        "dry_run": True,
    }


def domains(engine: Engine) -> list[dict[str, Any]]:
    """The domains that have decisions or limits."""
    with engine.store.transaction() as tx:
        names = {*tx.execute(select(decisions.c.domain).distinct()).scalars()}
        names |= {*tx.execute(select(rules.c.domain).distinct()).scalars()}
    names |= set(engine.settings.domains)
    return [{"id": name, "name": name, "unit": ""} for name in sorted(names)]


def _switch(engine: Engine, rule_id: str, status: str) -> dict[str, Any]:
    with engine.store.transaction() as tx:
        row = _find(tx, rule_id)
        return _replace(engine, tx, row, rule=json.loads(row.rule), status=status)


def _checked(rule: Body) -> dict[str, Any]:
    fields: dict[str, Any] = rule.model_dump(exclude_none=True)
    if fields.get("min_value", 0.0) > fields.get("max_value", float("inf")):
        raise invalid("body.min_value", "min_value lies above max_value")
    if ("allowed_hours_start" in fields) != ("allowed_hours_end" in fields):
        raise invalid("body.allowed_hours_start", "allowed hours need a start and an end")
    return fields


def _replace(
    engine: Engine, tx: Connection, row: Row[Any], *, rule: dict[str, Any], status: str
) -> dict[str, Any]:
    changed = {
        "domain": rule["domain"],
        "status": status,
        "version": row.version + 1,
        "updated_at": engine.clock(),
        "rule": json.dumps(rule),
    }
    tx.execute(update(rules).where(rules.c.rule_id == row.rule_id).values(**changed))
    _keep_version(engine, tx, {"rule_id": row.rule_id, **changed})
    return _view(_find(tx, row.rule_id))


def _keep_version(engine: Engine, tx: Connection, row: dict[str, Any]) -> None:
    kept = {name: row[name] for name in ("rule_id", "version", "rule")}
    tx.execute(rule_versions.insert(), {**kept, "at": row["updated_at"]})
    engine.numbers.draw(tx, "controls")


def _find(tx: Connection, rule_id: str) -> Row[Any]:
    row = tx.execute(select(rules).where(rules.c.rule_id == rule_id)).one_or_none()
    if row is None:
        raise not_found("constraint", rule_id)
    return row


def _view(row: Row[Any]) -> dict[str, Any]:
    return {
        **json.loads(row.rule),
        "rule_id": row.rule_id,
        "status": row.status,
        "version": row.version,
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at),
    }
