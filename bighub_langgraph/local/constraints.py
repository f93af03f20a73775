"""Limits that hold whatever the evidence says: the constraints people set, and the kill switch."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, Insert, Row, Update, delete, func, select, update

from bighub_langgraph.core.models import Recommendation
from bighub_langgraph.local.errors import invalid_field, not_found_error
from bighub_langgraph.local.repository import RUN_RECOMMENDATIONS
from bighub_langgraph.local.schemas.requests import (
    Constraint,
    ConstraintChange,
    ConstraintCheck,
    KillSwitchActivation,
)
from bighub_langgraph.local.schemas.responses import ConstraintResponse, KillSwitchResponse
from bighub_langgraph.local.schemas.wire_format import (
    Limit,
    Offset,
    PositiveLimit,
    QueryText,
    format_timestamp,
    validate,
)
from bighub_langgraph.local.scoring.features import Action
from bighub_langgraph.local.settings import DAY, HOUR
from bighub_langgraph.local.tables import decisions, rule_versions, rules, switches

if TYPE_CHECKING:  # the engine holds the active constraints
    from bighub_langgraph.local.engine import Engine

_SEQUENCE = "controls"
Limits = Mapping[str, Any]  # the stored JSON of a constraint, with its `rule_id`


# -- what a decision asks --------------------------------------------------------------------------


class Ruling(NamedTuple):
    """The least strict recommendation that a limit allows for an action."""

    recommendation: Recommendation
    reason: str
    blocked_by: str


@dataclass(frozen=True, slots=True)
class ActiveConstraints:
    """The active constraints and kill switches at one revision."""

    revision: int = -1
    constraints: tuple[Limits, ...] = ()
    switches: tuple[Mapping[str, Any], ...] = ()

    def find_rulings(self, tx: Connection, action: Action, at: float) -> list[Ruling]:
        """Return everything that limits an action."""
        rulings = []
        for switch in self.switches:
            if _covers(switch, action):
                reason = f"the kill switch is on: {switch['reason'] or 'no reason given'}"
                blocked_by = f"kill_switch:{switch['switch_id']}"
                rulings.append(Ruling(Recommendation.STOP, reason, blocked_by))
        for limits in self.constraints:
            if _covers(limits, action):
                problems = [*_check_value(limits, action), *_check_time(tx, limits, action, at)]
                rulings += [
                    Ruling(least, f"{limits['name']}: {problem}", f"rule:{limits['rule_id']}")
                    for least, problem in problems
                ]
        return rulings


def load_constraints(tx: Connection, revision: int) -> ActiveConstraints:
    """Read the active constraints and kill switches."""
    active = select(rules.c.rule_id, rules.c.rule).where(rules.c.status == "active")
    on = select(switches.c.switch_id, switches.c.domain, switches.c.reason)
    return ActiveConstraints(
        revision,
        tuple({**json.loads(row.rule), "rule_id": row.rule_id} for row in tx.execute(active)),
        tuple(dict(row) for row in tx.execute(on.where(switches.c.active)).mappings()),
    )


def _covers(limits: Mapping[str, Any], action: Action) -> bool:
    domain, actor = limits.get("domain"), (limits.get("metadata") or {}).get("actor")
    return domain in (None, "*", action.domain) and actor in (None, action.actor)


Problem = tuple[Recommendation, str]


def _check_value(limits: Limits, action: Action) -> Iterator[Problem]:
    value, most, least = action.value, limits.get("max_value"), limits.get("min_value")
    if value is None:
        return
    if most is not None and value > most:
        yield Recommendation.STOP, f"{value:g} is above the maximum of {most:g}"
    elif least is not None and value < least:
        yield Recommendation.STOP, f"{value:g} is below the minimum of {least:g}"
    above = limits.get("require_approval_above")
    if above is not None and value > above:
        yield Recommendation.REVIEW, f"{value:g} is above {above:g} and needs a person"


def _check_time(tx: Connection, limits: Limits, action: Action, at: float) -> Iterator[Problem]:
    start, end = limits.get("allowed_hours_start"), limits.get("allowed_hours_end")
    if start is not None and end is not None:
        hour = datetime.fromtimestamp(at, UTC).hour
        if not (start <= hour < end if start < end else hour >= start or hour < end):
            yield Recommendation.STOP, f"{hour}:00 UTC is outside {start}:00 to {end}:00"
    for name, window, unit in (("max_per_hour", HOUR, "hour"), ("max_per_day", DAY, "day")):
        most = limits.get(name)
        if most is not None and _count_runs(tx, limits, action, at - window) >= most:
            yield Recommendation.STOP, f"{most} have run within the last {unit}"
    cooldown = limits.get("cooldown_seconds")
    if cooldown and _count_runs(tx, limits, action, at - cooldown):
        yield Recommendation.STOP, f"the last one ran less than {cooldown} seconds ago"


def _count_runs(tx: Connection, limits: Limits, action: Action, since: float) -> int:
    """Count the calls under a constraint that may have run since a moment."""
    may_have_run = (
        decisions.c.recommendation.in_(RUN_RECOMMENDATIONS)
        | (decisions.c.approval == "approved")
        | (decisions.c.outcome == "SUCCESS")
    )
    query = select(func.count()).select_from(decisions).where(decisions.c.at > since, may_have_run)
    if limits.get("domain") not in (None, "*"):
        query = query.where(decisions.c.domain == action.domain)
    if (limits.get("metadata") or {}).get("actor"):
        query = query.where(decisions.c.actor == action.actor)
    return int(tx.execute(query).scalar_one())


# -- constraints over the API ----------------------------------------------------------------------


def create(engine: "Engine", body: Constraint) -> dict[str, Any]:
    """Create a constraint."""
    limits, at = _check_limits(body), engine.clock()
    row = {
        "rule_id": f"rule_{engine.new_id()}",
        "domain": limits["domain"],
        "status": "active",
        "version": 1,
        "created_at": at,
        "updated_at": at,
        "rule": json.dumps(limits),
    }
    with engine.store.transaction() as tx:
        return _store_version(engine, tx, rules.insert().values(row))


def preview(_engine: "Engine", body: Constraint) -> dict[str, Any]:
    """Validate a constraint without creating it."""
    return {"valid": True, "dry_run": True, "rule": _check_limits(body)}


def list_constraints(
    engine: "Engine",
    *,
    status: QueryText | None = None,
    domain: QueryText | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> list[dict[str, Any]]:
    """Return constraints, oldest first."""
    query = select(rules).order_by(rules.c.id).limit(limit).offset(offset)
    if status is not None:
        query = query.where(rules.c.status == status)
    if domain is not None:
        query = query.where(rules.c.domain == domain)
    with engine.store.transaction() as tx:
        return [_constraint_view(row) for row in tx.execute(query)]


def get(engine: "Engine", rule_id: str) -> dict[str, Any]:
    """Return one constraint."""
    with engine.store.transaction() as tx:
        return _constraint_view(_find_constraint(tx, rule_id))


def change(engine: "Engine", rule_id: str, body: ConstraintChange) -> dict[str, Any]:
    """Change fields of a constraint; earlier versions stay readable."""
    return _update(engine, rule_id, **body.model_dump(exclude_unset=True))


def pause(engine: "Engine", rule_id: str) -> dict[str, Any]:
    """Suspend a constraint."""
    return _update(engine, rule_id, status="paused")


def resume(engine: "Engine", rule_id: str) -> dict[str, Any]:
    """Enforce a paused constraint again."""
    return _update(engine, rule_id, status="active")


def delete_constraint(engine: "Engine", rule_id: str) -> dict[str, Any]:
    """Delete a constraint."""
    with engine.store.transaction() as tx:
        if not tx.execute(delete(rules).where(rules.c.rule_id == rule_id)).rowcount:
            raise not_found_error("constraint", rule_id)
        engine.sequences.next_value(tx, _SEQUENCE)
    return {"deleted": True, "rule_id": rule_id}


def list_versions(
    engine: "Engine", rule_id: str, *, limit: PositiveLimit = 50
) -> list[dict[str, Any]]:
    """Return the versions of a constraint, newest first."""
    query = select(rule_versions).where(rule_versions.c.rule_id == rule_id)
    with engine.store.transaction() as tx:
        _find_constraint(tx, rule_id)
        rows = tx.execute(query.order_by(rule_versions.c.version.desc()).limit(limit)).all()
    return [
        {**json.loads(row.rule), "version": row.version, "updated_at": format_timestamp(row.at)}
        for row in rows
    ]


def check_action(engine: "Engine", body: ConstraintCheck) -> dict[str, Any]:
    """Return what the active constraints alone say about an action."""
    rule_id = body.rule_id
    with engine.store.transaction() as tx:
        active = engine.current_state(tx).constraints.constraints
        matches = tuple(limits for limits in active if rule_id in (None, limits["rule_id"]))
        if rule_id is not None and not matches:
            raise not_found_error("active constraint", rule_id)
        domain = body.domain or (matches[0]["domain"] if rule_id else "general")
        action = Action(domain, body.action, body.actor, value=body.value)
        constraints = ActiveConstraints(constraints=matches)
        rulings = constraints.find_rulings(tx, action, engine.clock())
    stop = next((each for each in rulings if each.recommendation is Recommendation.STOP), None)
    if stop:
        result = "blocked"
    elif rulings:
        result = "requires_approval"
    else:
        result = "allowed"
    return {
        "allowed": not rulings,
        "result": result,
        "requires_approval": result == "requires_approval",
        "reason": "; ".join(ruling.reason for ruling in rulings) or "no constraint applies",
        "blocked_by": stop and stop.blocked_by,
        "dry_run": True,
    }


def list_domains(engine: "Engine") -> list[dict[str, Any]]:
    """Return the domains that have decisions, constraints or settings."""
    with engine.store.transaction() as tx:
        query = select(decisions.c.domain).union(select(rules.c.domain))
        names = sorted({*tx.execute(query).scalars(), *engine.settings.domains})
    return [{"id": name, "name": name, "unit": ""} for name in names]


def _check_limits(constraint: Constraint) -> dict[str, Any]:
    limits: dict[str, Any] = constraint.model_dump(exclude_none=True)
    if limits.get("min_value", 0.0) > limits.get("max_value", float("inf")):
        raise invalid_field("body.min_value", "min_value is above max_value")
    if ("allowed_hours_start" in limits) != ("allowed_hours_end" in limits):
        raise invalid_field("body.allowed_hours_start", "allowed hours need a start and an end")
    return limits


def _update(
    engine: "Engine", rule_id: str, *, status: str | None = None, **changes: Any
) -> dict[str, Any]:
    with engine.store.transaction() as tx:
        row = _find_constraint(tx, rule_id)
        limits = _check_limits(validate(Constraint, {**json.loads(row.rule), **changes}))
        statement = update(rules).values(
            domain=limits["domain"],
            status=status or row.status,
            version=row.version + 1,
            updated_at=engine.clock(),
            rule=json.dumps(limits),
        )
        return _store_version(engine, tx, statement.where(rules.c.rule_id == rule_id))


def _store_version(engine: "Engine", tx: Connection, statement: Insert | Update) -> dict[str, Any]:
    """Execute a change of one constraint, store its new version, and return it."""
    row = tx.execute(statement.returning(rules)).one()
    version = {"rule_id": row.rule_id, "version": row.version, "rule": row.rule}
    tx.execute(rule_versions.insert(), {**version, "at": row.updated_at})
    engine.sequences.next_value(tx, _SEQUENCE)
    return _constraint_view(row)


def _find_constraint(tx: Connection, rule_id: str) -> Row[Any]:
    row = tx.execute(select(rules).where(rules.c.rule_id == rule_id)).one_or_none()
    if row is None:
        raise not_found_error("constraint", rule_id)
    return row


def _constraint_view(row: Row[Any]) -> dict[str, Any]:
    limits = json.loads(row.rule)
    return {**limits, **ConstraintResponse.from_row(row, name=limits["name"])}


# -- the kill switch over the API ------------------------------------------------------------------


def get_kill_switches(engine: "Engine") -> dict[str, Any]:
    """Return the kill switches that are on."""
    query = select(switches).where(switches.c.active).order_by(switches.c.id)
    with engine.store.transaction() as tx:
        active = [KillSwitchResponse.from_row(row) for row in tx.execute(query)]
    return {"active": bool(active), "switches": active}


def activate_kill_switch(engine: "Engine", body: KillSwitchActivation) -> dict[str, Any]:
    """Block every action, or those of one domain."""
    switch_id, at = f"ks_{engine.new_id()}", engine.clock()
    row = {"switch_id": switch_id, "active": True, "at": at, **body.model_dump()}
    return _change_switch(engine, switch_id, switches.insert().values(row))


def deactivate_kill_switch(engine: "Engine", switch_id: str) -> dict[str, Any]:
    """Allow again what a kill switch blocked."""
    ended_at = func.coalesce(switches.c.ended_at, engine.clock())
    statement = update(switches).where(switches.c.switch_id == switch_id)
    return _change_switch(engine, switch_id, statement.values(active=False, ended_at=ended_at))


def _change_switch(engine: "Engine", switch_id: str, statement: Insert | Update) -> dict[str, Any]:
    with engine.store.transaction() as tx:
        row = tx.execute(statement.returning(switches)).one_or_none()
        if row is None:
            raise not_found_error("kill switch", switch_id)
        engine.sequences.next_value(tx, _SEQUENCE)
    return KillSwitchResponse.from_row(row)
