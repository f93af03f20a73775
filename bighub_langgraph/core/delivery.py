"""Bring what waits in the outbox to BIGHUB: at least once, in order per call."""

import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bighub_langgraph.core.decision import parse_decision
from bighub_langgraph.core.errors import (
    BighubGuardError,
    EngineAuthError,
    EngineError,
    EngineUnavailable,
)
from bighub_langgraph.core.ports import DELIVERY_LEASE, LeasedReport, Ports
from bighub_langgraph.core.reporting import ReportKind

log = logging.getLogger("bighub_langgraph")

BATCH = 100
FIRST_WAIT = 1.0
LONGEST_WAIT = 300.0
MOST_REFUSALS = 8


async def deliver_reports(ports: Ports, turn: str | None = None, *, early: bool = False) -> int:
    """Deliver what is due, of one tool round or of all; returns how many entries arrived.

    Stops at the first sign that BIGHUB is away. What it refuses is tried 8 times, then set aside
    and listed; nothing is dropped. With `early` nothing waits for BIGHUB to come back.
    """
    arrived = 0
    while True:
        round_ = _Round(ports)
        await round_.deliver(turn, early=early)
        arrived += round_.arrived
        if round_.away or round_.last:
            return arrived


# Of our own: whoever seeds `random` gets the same numbers with us and without.
_CHANCE = random.SystemRandom().random


def retry_delay(tries: int, chance: Callable[[], float] = _CHANCE) -> float:
    """How long to wait before the next try, in seconds: doubling from 1 to 300, with jitter."""
    doubled = FIRST_WAIT * 2 ** min(tries, _ENOUGH)
    return float(min(doubled, LONGEST_WAIT) * (1 + 0.25 * chance()))


# Doublings after which it is the longest wait anyway; after days of outage 2**tries is no float.
_ENOUGH = 10


class _Round:
    """One batch of leased entries on its way."""

    def __init__(self, ports: Ports) -> None:
        self.arrived = 0
        self.away = False
        self._ports = ports
        self._batch: Sequence[LeasedReport] = ()
        self._units: deque[Sequence[LeasedReport]] = deque()
        self._done: set[int] = set()  # delivered or postponed
        self._refused: set[str] = set()

    @property
    def last(self) -> bool:
        """Whether that was all there was; what is queued meanwhile has a delivery of its own."""
        return len(self._batch) < BATCH and len(self._done) == len(self._batch)

    async def deliver(self, turn: str | None, *, early: bool) -> None:
        """Send what is due; give back what there was no time for, or no reason to try."""
        journal, now = self._ports.journal, self._ports.clock()
        try:
            self._batch = await self._ports.call(journal.due, now, BATCH, turn, early=early)
            self._units = _units(self._batch, batched=self._ports.engine.report_batch is not None)
            until = self._ports.clock() + DELIVERY_LEASE / 2
            while self._units and not self.away and self._ports.clock() < until:
                await self._send(self._units.popleft())
            if left := self._left():
                await self._ports.call(journal.give_back, left)
        except BaseException:
            # Cancelled, or the journal is away; in place, for neither can wait.
            with contextlib.suppress(BighubGuardError):
                if left := self._left():
                    journal.give_back(left)
            raise

    def _left(self) -> list[int]:
        return [one.id for one in self._batch if one.id not in self._done]

    async def _send(self, unit: Sequence[LeasedReport]) -> None:
        if self._refused:  # what follows a refused entry of the same call waits for it
            unit = [one for one in unit if one.key not in self._refused]
        if not unit:
            return
        try:
            await _SENDERS[unit[0].kind](unit, self._ports)
        except EngineError as error:
            if isinstance(error, EngineUnavailable | EngineAuthError):
                await self._stop(unit, error)
            elif len(unit) > 1:
                self._units.extendleft([one] for one in reversed(unit))
            else:
                await self._refuse(unit[0], error)
        else:
            ids = [one.id for one in unit]
            await self._ports.call(self._ports.journal.delivered, ids)
            self._done.update(ids)
            self.arrived += len(ids)

    async def _stop(self, unit: Sequence[LeasedReport], error: EngineError) -> None:
        """BIGHUB is away, or our key is wrong: no entry is set aside for what is not its fault."""
        rest = [*unit, *(one for later in self._units for one in later)]
        log.warning("BIGHUB is away; %d entries wait in the outbox: %s", len(rest), error)
        until = self._ports.clock() + retry_delay(max(one.tries for one in rest))
        await self._postpone(rest, until, str(error))
        self.away = True

    async def _refuse(self, one: LeasedReport, error: EngineError) -> None:
        aside = one.refusals + 1 >= MOST_REFUSALS
        verdict = "set aside" if aside else "will be tried again"
        kind, key = one.kind.value, one.key[:12]
        log.error("BIGHUB refused the %s of call %s (%s): %s", kind, key, verdict, error)
        until = self._ports.clock() + retry_delay(one.refusals)
        await self._postpone([one], until, str(error), refused=True, aside=aside)
        if not aside:
            self._refused.add(one.key)

    async def _postpone(
        self, unit: Sequence[LeasedReport], until: float, why: str, **said: bool
    ) -> None:
        ids = [one.id for one in unit]
        await self._ports.call(self._ports.journal.postpone, ids, until, why, **said)
        self._done.update(ids)


def _units(batch: Iterable[LeasedReport], *, batched: bool) -> deque[Sequence[LeasedReport]]:
    """What is sent in one request each: resolutions first, then outcomes, then memory by round."""
    resolutions: list[Sequence[LeasedReport]] = []
    outcomes: list[LeasedReport] = []
    rounds: dict[str, list[LeasedReport]] = {}
    for one in batch:
        match one.kind:
            case ReportKind.APPROVAL:
                resolutions.append([one])
            case ReportKind.OUTCOME:
                outcomes.append(one)
            case ReportKind.MEMORY:
                rounds.setdefault(one.turn, []).append(one)
    told = [outcomes] if batched and outcomes else [[one] for one in outcomes]
    return deque([*resolutions, *told, *rounds.values()])


async def _send_resolutions(unit: Sequence[LeasedReport], ports: Ports) -> None:
    for one in unit:
        await ports.engine.resolve(one.entry.body)


async def _send_outcomes(unit: Sequence[LeasedReport], ports: Ports) -> None:
    bodies = [await _outcome(one, ports) for one in unit]
    if len(bodies) == 1:
        await ports.engine.report(bodies[0])
    elif bodies and ports.engine.report_batch is not None:
        await ports.engine.report_batch(bodies)
    else:
        for body in bodies:
            await ports.engine.report(body)


async def _send_memory(unit: Sequence[LeasedReport], ports: Ports) -> None:
    bodies = [one.entry.body for one in unit]
    events = [{**body["event"], "seq": seq} for seq, body in enumerate(bodies)]
    await ports.engine.ingest(events, bodies[0]["about"])


_SENDERS = {
    ReportKind.APPROVAL: _send_resolutions,
    ReportKind.OUTCOME: _send_outcomes,
    ReportKind.MEMORY: _send_memory,
}


async def _outcome(one: LeasedReport, ports: Ports) -> Mapping[str, Any]:
    """The outcome of a call; one that ran unasked is evaluated now, so that it can be reported."""
    body = one.entry.body
    if body.get("request_id"):
        return body
    record = (await ports.find([one.key]))[one.key]
    context = {**record.proposal.context, "unasked": True}
    proposal = replace(record.proposal, context=context)
    decision = parse_decision(await ports.engine.ask(proposal, f"{record.key}-late"))
    return {**body, "request_id": decision.request_id}
