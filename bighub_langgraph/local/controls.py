"""Limits that hold whatever the evidence says: constraints and the kill switch."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from bighub_langgraph.local.scoring.action import Action
from bighub_langgraph.local.tables import decisions, rules, switches
from bighub_langgraph.local.words import Recommendation

_HOUR = 3_600.0
_DAY = 24 * _HOUR
_RUNS = (Recommendation.PROCEED, Recommendation.CAUTION)


class Ruling(NamedTuple):
    """What a control demands of an action, at least."""

    recommendation: Recommendation
    reason: str
    blocked_by: str


@dataclass(frozen=True, slots=True)
class Controls:
    """The active constraints and switches, as they stood at one revision."""

    revision: int = -1
    rules: tuple[Mapping[str, Any], ...] = ()
    switches: tuple[Mapping[str, Any], ...] = ()

    def rulings(self, tx: Connection, action: Action, at: float) -> list[Ruling]:
        """Everything that speaks against an action, whatever the evidence says."""
        found = [_switched_off(switch) for switch in self.switches if _covers(switch, action)]
        for rule in self.rules:
            if _covers(rule, action):
                found += [ruling for check in _CHECKS if (ruling := check(tx, rule, action, at))]
        return found


def load_controls(tx: Connection, revision: int) -> Controls:
    """Read the active constraints and switches."""
    active = select(rules.c.rule_id, rules.c.rule).where(rules.c.status == "active")
    on = select(switches.c.switch_id, switches.c.domain, switches.c.reason)
    return Controls(
        revision,
        tuple({**json.loads(row.rule), "rule_id": row.rule_id} for row in tx.execute(active)),
        tuple(dict(row) for row in tx.execute(on.where(switches.c.active)).mappings()),
    )


def _covers(control: Mapping[str, Any], action: Action) -> bool:
    domain, actor = control.get("domain"), (control.get("metadata") or {}).get("actor")
    return domain in (None, "*", action.domain) and actor in (None, action.actor)


def _switched_off(switch: Mapping[str, Any]) -> Ruling:
    reason = f"the kill switch is on: {switch['reason'] or 'no reason given'}"
    return Ruling(Recommendation.STOP, reason, f"kill_switch:{switch['switch_id']}")


Rule = Mapping[str, Any]


def _stop(rule: Rule, reason: str) -> Ruling:
    return Ruling(Recommendation.STOP, f"{rule['name']}: {reason}", f"rule:{rule['rule_id']}")


def _value(_tx: Connection, rule: Rule, action: Action, _at: float) -> Ruling | None:
    value, most, least = action.value, rule.get("max_value"), rule.get("min_value")
    if value is None:
        return None
    if most is not None and value > most:
        return _stop(rule, f"{value:g} is above the maximum of {most:g}")
    if least is not None and value < least:
        return _stop(rule, f"{value:g} is below the minimum of {least:g}")
    return None


def _approval(_tx: Connection, rule: Rule, action: Action, _at: float) -> Ruling | None:
    above = rule.get("require_approval_above")
    if above is None or action.value is None or action.value <= above:
        return None
    reason = f"{rule['name']}: {action.value:g} is above {above:g} and needs a person"
    return Ruling(Recommendation.REVIEW, reason, f"rule:{rule['rule_id']}")


def _hours(_tx: Connection, rule: Rule, _action: Action, at: float) -> Ruling | None:
    start, end = rule.get("allowed_hours_start"), rule.get("allowed_hours_end")
    if start is None or end is None:
        return None
    hour = datetime.fromtimestamp(at, UTC).hour
    inside = start <= hour < end if start < end else hour >= start or hour < end
    return None if inside else _stop(rule, f"{hour}:00 UTC lies outside {start}:00 to {end}:00")


def _per_hour(tx: Connection, rule: Rule, action: Action, at: float) -> Ruling | None:
    return _at_most(tx, rule, action, at, ("max_per_hour", _HOUR, "hour"))


def _per_day(tx: Connection, rule: Rule, action: Action, at: float) -> Ruling | None:
    return _at_most(tx, rule, action, at, ("max_per_day", _DAY, "day"))


def _at_most(
    tx: Connection, rule: Rule, action: Action, at: float, limit: tuple[str, float, str]
) -> Ruling | None:
    name, window, word = limit
    most = rule.get(name)
    if most is None or _ran(tx, rule, action, at - window) < most:
        return None
    return _stop(rule, f"{most} have run within the last {word}")


def _cooldown(tx: Connection, rule: Rule, action: Action, at: float) -> Ruling | None:
    seconds = rule.get("cooldown_seconds")
    if not seconds or not _ran(tx, rule, action, at - seconds):
        return None
    return _stop(rule, f"the last one ran less than {seconds} seconds ago")


def _ran(tx: Connection, rule: Rule, action: Action, since: float) -> int:
    """How many calls under a constraint may have run since a moment."""
    allowed = decisions.c.recommendation.in_([word.value for word in _RUNS])
    counted = (
        select(func.count())
        .select_from(decisions)
        .where(
            decisions.c.at > since,
            allowed | (decisions.c.approval == "approved") | (decisions.c.outcome == "SUCCESS"),
        )
    )
    if rule.get("domain") not in (None, "*"):
        counted = counted.where(decisions.c.domain == action.domain)
    if (rule.get("metadata") or {}).get("actor"):
        counted = counted.where(decisions.c.actor == action.actor)
    return int(tx.execute(counted).scalar_one())


_CHECKS: tuple[Callable[[Connection, Rule, Action, float], Ruling | None], ...] = (
    _value,
    _approval,
    _hours,
    _per_hour,
    _per_day,
    _cooldown,
)
