"""The kill switch: stop a domain, or everything, at once."""

from typing import Any

from sqlalchemy import Row, select, update

from bighub_langgraph.local.checking import check
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.faults import not_found
from bighub_langgraph.local.requests import Switch
from bighub_langgraph.local.tables import switches
from bighub_langgraph.local.times import iso


def status(engine: Engine) -> dict[str, Any]:
    """Whether anything is switched off, and what."""
    query = select(switches).where(switches.c.active).order_by(switches.c.id)
    with engine.store.transaction() as tx:
        active = [_view(row) for row in tx.execute(query)]
    return {"active": bool(active), "switches": active}


def activate(engine: Engine, body: object) -> dict[str, Any]:
    """Stop every action, or those of one domain."""
    wanted = check(Switch, body)
    row = {
        "switch_id": f"ks_{engine.new_id()}",
        "domain": wanted.domain,
        "active": True,
        "reason": wanted.reason,
        "at": engine.clock(),
    }
    with engine.store.transaction() as tx:
        tx.execute(switches.insert(), row)
        engine.numbers.draw(tx, "controls")
        return _view(tx.execute(_find(row["switch_id"])).one())


def deactivate(engine: Engine, switch_id: str) -> dict[str, Any]:
    """Let the actions run again that a switch stopped."""
    with engine.store.transaction() as tx:
        if tx.execute(_find(switch_id)).one_or_none() is None:
            raise not_found("kill switch", switch_id)
        ended = update(switches).where(switches.c.switch_id == switch_id, switches.c.active)
        tx.execute(ended.values(active=False, ended_at=engine.clock()))
        engine.numbers.draw(tx, "controls")
        return _view(tx.execute(_find(switch_id)).one())


def _find(switch_id: object) -> Any:
    return select(switches).where(switches.c.switch_id == switch_id)


def _view(row: Row[Any]) -> dict[str, Any]:
    return {
        "switch_id": row.switch_id,
        "active": row.active,
        "domain": row.domain,
        "reason": row.reason,
        "activated_at": iso(row.at),
        "deactivated_at": iso(row.ended_at),
    }
