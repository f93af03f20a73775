"""Bring what waits in the outbox to BIGHUB: at least once, in order per call."""

import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from bighub_langgraph.core.decision import parse_decision
from bighub_langgraph.core.errors import EngineError, EngineUnavailable
from bighub_langgraph.core.outcome import Kind
from bighub_langgraph.core.ports import Ports, Queued

log = logging.getLogger("bighub_langgraph")

BATCH = 100
FIRST_WAIT = 1.0
LONGEST_WAIT = 300.0
MOST_TRIES = 8


async def deliver(ports: Ports, turn: str | None = None, *, early: bool = False) -> int:
    """Deliver what is due, of one tool round or of all; returns how many entries arrived.

    Stops at the first sign that BIGHUB is away. What it refuses is tried 8 times, then set aside
    and listed; nothing is dropped. With `early` nothing waits for its next try.
    """
    arrived = 0
    due = ports.journal.due
    while batch := await ports.call(due, ports.clock(), BATCH, turn, early=early):
        sent = await _deliver_batch(batch, ports)
        arrived += sent
        if sent < len(batch):
            break
    return arrived


def wait_before(tries: int, chance: Callable[[], float] = random.random) -> float:
    """How long to wait before the next try, in seconds: doubling from 1 to 300, with jitter."""
    return float(min(FIRST_WAIT * 2**tries, LONGEST_WAIT) * (1 + 0.25 * chance()))


async def _deliver_batch(batch: Sequence[Queued], ports: Ports) -> int:
    """Send the units of a batch in turn; what could not be sent is due again later."""
    units = deque(_units(batch, batched=ports.engine.report_batch is not None))
    late: dict[str, float] = {}
    arrived = 0
    while units:
        # What follows a late entry of the same call waits for it.
        unit = [one for one in units.popleft() if not await _behind(one, late, ports)]
        if not unit:
            continue
        try:
            await _SENDERS[unit[0].entry.kind](unit, ports)
        except EngineUnavailable as error:
            await _postpone([*unit, *(one for rest in units for one in rest)], error, ports)
            return arrived
        except EngineError as error:
            if len(unit) > 1:
                units.extendleft([one] for one in reversed(unit))
            else:
                late[unit[0].entry.key] = await _refused(unit[0], error, ports)
        else:
            await ports.call(ports.journal.delivered, [one.id for one in unit])
            arrived += len(unit)
    return arrived


def _units(batch: Iterable[Queued], *, batched: bool) -> list[list[Queued]]:
    """What is sent in one request each: resolutions first, then outcomes, then memory by round."""
    ordered = sorted(batch, key=lambda one: (_RANK[one.entry.kind], one.id))
    units: list[list[Queued]] = []
    for kind, group in groupby(ordered, key=lambda one: one.entry.kind):
        members = list(group)
        if kind is Kind.MEMORY:
            rounds: dict[str, list[Queued]] = {}
            for one in members:
                rounds.setdefault(one.entry.turn, []).append(one)
            units.extend(rounds.values())
        elif kind is Kind.OUTCOME and batched:
            units.append(members)
        else:
            units.extend([one] for one in members)
    return units


_RANK = {kind: rank for rank, kind in enumerate(Kind)}


async def _behind(one: Queued, late: Mapping[str, float], ports: Ports) -> bool:
    until = late.get(one.entry.key)
    if until is None:
        return False
    await ports.call(ports.journal.postpone, [one.id], until, "waits for an earlier entry")
    return True


async def _postpone(entries: Sequence[Queued], error: EngineError, ports: Ports) -> None:
    """BIGHUB is away: outages are nobody's fault, so they do not lead to being set aside."""
    log.warning("BIGHUB is away; %d entries wait in the outbox: %s", len(entries), error)
    tries = max(one.tries for one in entries)
    until = ports.clock() + wait_before(tries)
    await ports.call(ports.journal.postpone, [one.id for one in entries], until, str(error))


async def _refused(one: Queued, error: EngineError, ports: Ports) -> float:
    aside = one.tries + 1 >= MOST_TRIES
    until = ports.clock() + wait_before(one.tries)
    verdict = "set aside" if aside else "will be tried again"
    log.error("BIGHUB refused the %s of call %s (%s): %s", *_named(one), verdict, error)
    await ports.call(ports.journal.postpone, [one.id], until, str(error), aside=aside)
    return until


def _named(one: Queued) -> tuple[str, str]:
    return one.entry.kind.value, one.entry.key[:12]


async def _send_resolutions(unit: Sequence[Queued], ports: Ports) -> None:
    for one in unit:
        await ports.engine.resolve(one.entry.body)


async def _send_outcomes(unit: Sequence[Queued], ports: Ports) -> None:
    bodies = [await _asked_late(one, ports) for one in unit]
    if len(bodies) > 1 and ports.engine.report_batch is not None:
        await ports.engine.report_batch(bodies)
        return
    for body in bodies:
        await ports.engine.report(body)


async def _send_memory(unit: Sequence[Queued], ports: Ports) -> None:
    events = [{**one.entry.body["event"], "seq": seq} for seq, one in enumerate(unit)]
    await ports.engine.ingest(events, unit[0].entry.body["about"])


_SENDERS = {
    Kind.APPROVAL: _send_resolutions,
    Kind.OUTCOME: _send_outcomes,
    Kind.MEMORY: _send_memory,
}


async def _asked_late(one: Queued, ports: Ports) -> Mapping[str, Any]:
    """The outcome's body; a call that ran unasked is evaluated now, so that it can be reported."""
    if one.entry.body.get("request_id"):
        return one.entry.body
    record = (await ports.find([one.entry.key]))[one.entry.key]
    context = {**record.proposal.context, "unasked": True}
    proposal = replace(record.proposal, context=context)
    decision = parse_decision(await ports.engine.ask(proposal, f"{record.key}-late"))
    return {**one.entry.body, "request_id": decision.request_id}
