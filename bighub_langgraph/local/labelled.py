"""Labels in the store, with the decisions that they are about."""

import json
from collections.abc import Generator
from contextlib import closing
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from bighub_langgraph.local.scoring.action import Action, Past
from bighub_langgraph.local.scoring.evidence import Label
from bighub_langgraph.local.store import Prepared
from bighub_langgraph.local.tables import decisions, evidence

_AT_ONCE, _A_FEW = 500, 50


class Labelled(NamedTuple):
    """A label in the store, with the decision that it is about."""

    seq: int
    request_id: str
    domain: str
    at: float
    label: int
    replaces: int | None
    replaced_at: float | None
    replaced_seq: int | None
    decided_at: float
    risk: float
    parts: str
    seen: str
    action: str
    actor: str
    target: str | None
    value: float | None
    approval: str
    resolved_at: float | None
    label_seq: int | None


def newer(tx: Connection, *, after: int, newest: int) -> list[Labelled]:
    """The first labels after one."""
    return [Labelled._make(row) for row in _NEWER.rows(tx, after=after, newest=newest)]


def good(
    tx: Connection, domain: str, *, after: int, newest: int
) -> Generator[Labelled, None, None]:
    """The good outcomes of a domain after one, in their order, read as they are asked for."""
    found = True
    while found:
        found = False
        with closing(_GOOD.each(tx, domain=domain, after=after, newest=newest)) as rows:
            for row in map(Labelled._make, rows):
                yield row
                after, found = row.seq, True


def stored_action(row: Labelled) -> Action:
    """What was decided on."""
    seen = json.loads(row.seen)
    if isinstance(seen, dict):  # stored whole, as earlier versions did
        return Action.from_json(seen)
    facts, past = seen
    return Action(row.domain, row.action, row.actor, row.target, row.value, facts, Past(*past))


_LABEL = ("seq", "request_id", "domain", "at", "label", "replaces", "replaced_at", "replaced_seq")
_DECISION = (
    *("at", "risk", "parts", "seen", "action", "actor", "target", "value"),
    *("approval", "resolved_at", "label_seq"),
)
_ROWS = select(
    *(evidence.c[name] for name in _LABEL), *(decisions.c[name] for name in _DECISION)
).join(decisions, decisions.c.request_id == evidence.c.request_id)
_NEWER = Prepared(
    _ROWS.where(evidence.c.seq > bindparam("after"), evidence.c.seq <= bindparam("newest"))
    .order_by(evidence.c.seq)
    .limit(_AT_ONCE)
)
_GOOD = Prepared(
    _ROWS.where(
        evidence.c.domain == bindparam("domain"),
        evidence.c.seq > bindparam("after"),
        evidence.c.seq <= bindparam("newest"),
        evidence.c.label == int(Label.GOOD),
    )
    .order_by(evidence.c.seq)
    .limit(_A_FEW)
)
ADDED = Prepared(evidence.insert(), columns=_LABEL)
