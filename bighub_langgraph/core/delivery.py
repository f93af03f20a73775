"""Deliver reports from the outbox to BIGHUB: at least once, and in order per call.

This is one delivery: lease, send, then acknowledge or retry. `delivery_schedule` decides when one
is due, and `delivery_worker` runs it in the background.
"""

import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, NamedTuple

from bighub_langgraph.core.decision import parse_decision
from bighub_langgraph.core.errors import (
    BighubGuardError,
    DeliveryUnconfirmed,
    EngineAuthError,
    EngineError,
    EngineUnavailable,
)
from bighub_langgraph.core.ports import DELIVERY_LEASE, Ports, QueuedReport
from bighub_langgraph.core.reporting import ReportKind

log = logging.getLogger("bighub_langgraph")

BATCH_SIZE = 100
FIRST_DELAY = 1.0
LONGEST_DELAY = 300.0
MAX_REFUSALS = 8
# Replies that confirm nothing: about an hour.
MAX_UNCONFIRMED = 20


class Delivery(NamedTuple):
    """How many reports were delivered, and the error that stopped the delivery."""

    delivered_count: int
    error: EngineError | None = None


async def deliver_reports(
    ports: Ports, turn: str | None = None, *, early: bool = False
) -> Delivery:
    """Deliver what is due, of one turn or of all.

    Delivery stops when BIGHUB is unreachable or refuses the key. A report that BIGHUB refuses is
    tried 8 times, one whose delivery it does not confirm 20 times, then it becomes a dead letter,
    and one that cannot be read does at once; nothing is dropped. With `early`, reports are tried
    before their retry time.
    """
    count = 0
    while True:
        batch = _Batch(ports)
        await batch.deliver(turn, early=early)
        count += batch.delivered_count
        if batch.error or batch.is_last:
            return Delivery(count, batch.error)


# A generator of our own: seeding `random` gives the same numbers with and without this package.
_RANDOM = random.SystemRandom().random


def retry_delay(tries: int, random: Callable[[], float] = _RANDOM) -> float:
    """Return the delay before the next try in seconds: doubling from 1 to 300, with jitter."""
    delay = FIRST_DELAY * 2 ** min(tries, _MAX_DOUBLINGS)
    return float(min(delay, LONGEST_DELAY) * (1 + 0.25 * random()))


# Beyond these the delay is the longest anyway; after days of outage 2**tries is no float.
_MAX_DOUBLINGS = 10


class _Batch:
    """One batch of leased reports."""

    def __init__(self, ports: Ports) -> None:
        self.delivered_count = 0
        self.error: EngineError | None = None
        self._ports = ports
        self._telemetry = ports.active_telemetry()
        self._leased_reports: Sequence[QueuedReport] = ()
        self._requests: deque[Sequence[QueuedReport]] = deque()
        self._acked_ids: list[int] = []  # delivered, and still to be removed from the outbox
        self._finished_ids: set[int] = set()  # delivered or to be retried later
        self._refused_keys: set[str] = set()
        self._forbidden_reports: list[tuple[QueuedReport, Exception]] = []

    @property
    def is_last(self) -> bool:
        """Whether the outbox held no more; reports queued meanwhile get a delivery of their own."""
        leased_count = len(self._leased_reports)
        return leased_count < BATCH_SIZE and len(self._finished_ids) == leased_count

    async def deliver(self, turn: str | None, *, early: bool) -> None:
        """Send what is due; release what there was no time for."""
        ports, journal = self._ports, self._ports.journal
        try:
            self._leased_reports = await ports.call(
                journal.lease_batch, ports.clock(), BATCH_SIZE, turn, early=early
            )
            self._requests = _group_by_request(
                self._leased_reports, in_batch=ports.engine.report_outcomes is not None
            )
            until = ports.monotonic() + DELIVERY_LEASE / 2
            while self._requests and not self.error and ports.monotonic() < until:
                await self._send(self._requests.popleft())
            await self._ack()
            for report, error in self._forbidden_reports:
                await self._retry_refused(report, error, is_final=bool(self.delivered_count))
            if unsent := self._find_unsent_ids():
                await ports.call(journal.release, unsent)
        except BaseException:
            # Cancelled, or the journal failed. Inline, since a cancelled coroutine cannot wait.
            with contextlib.suppress(BighubGuardError):
                if self._acked_ids:
                    journal.ack(self._acked_ids)
                if unsent := self._find_unsent_ids():
                    journal.release(unsent)
            raise

    def _find_unsent_ids(self) -> list[int]:
        return [report.id for report in self._leased_reports if report.id not in self._finished_ids]

    async def _send(self, reports: Sequence[QueuedReport]) -> None:
        if self._refused_keys:  # later reports of a call wait for a refused one
            reports = [report for report in reports if report.key not in self._refused_keys]
        if not reports:
            return
        try:
            kind = ReportKind(reports[0].kind)
            send = _SENDERS[kind]
            if self._telemetry is None:
                await send(reports, self._ports)
            else:
                records = await self._ports.find([report.key for report in reports])
                with self._telemetry.report(kind.value, list(records.values())):
                    await send(reports, self._ports)
        except Exception as error:
            if isinstance(error, BighubGuardError) and not isinstance(error, EngineError):
                raise  # the journal's
            await self._handle_failure(reports, error)
        else:
            ids = [report.id for report in reports]
            self._acked_ids.extend(ids)
            self._finished_ids.update(ids)
            self.delivered_count += len(ids)

    async def _handle_failure(self, reports: Sequence[QueuedReport], error: Exception) -> None:
        """Stop, send several reports one by one, or retry a single one later."""
        await self._ack()
        if _may_concern_resolution(error) and _is_resolution(reports):
            # The other reports show whether the key is refused, or may only not resolve.
            self._forbidden_reports.append((reports[0], error))
            self._requests = deque(sorted(self._requests, key=_is_resolution))
        elif isinstance(error, EngineUnavailable | EngineAuthError):
            await self._stop(reports, error)
        elif len(reports) > 1:
            self._requests.extendleft([report] for report in reversed(reports))
        else:
            await self._retry_refused(reports[0], error)

    async def _ack(self) -> None:
        """Remove what was delivered so far, in one transaction."""
        if self._acked_ids:
            await self._ports.call(self._ports.journal.ack, self._acked_ids)
            self._acked_ids = []

    async def _stop(self, reports: Sequence[QueuedReport], error: EngineError) -> None:
        """Stop: BIGHUB is unreachable or refuses the key, which is no fault of the reports."""
        unsent = [*reports, *(report for later in self._requests for report in later)]
        unsent += [report for report, _ in self._forbidden_reports]
        self._forbidden_reports = []
        until = self._ports.clock()
        if not isinstance(error, EngineAuthError):  # another worker may have the right key
            until += retry_delay(max(report.tries for report in unsent))
        await self._nack(unsent, until, error)
        self.error = error

    async def _retry_refused(
        self, report: QueuedReport, error: Exception, *, is_final: bool = True
    ) -> None:
        match error:
            case DeliveryUnconfirmed():
                problem, limit = f"BIGHUB did not confirm it: {error}", MAX_UNCONFIRMED
            case EngineError():
                problem, limit = f"BIGHUB refused it: {error}", MAX_REFUSALS
            case _:
                problem, limit = f"it cannot be read: {error!r:.200}", 1
        dead_letter = is_final and report.refusals + 1 >= limit
        consequence = "now a dead letter" if dead_letter else "it will be tried again"
        log.error(
            "the %s of call %s (%s): %s",
            report.kind,
            report.key[:12],
            consequence,
            problem,
            extra={"bighub_call_key": report.key},
        )
        until = self._ports.clock() + retry_delay(report.refusals)
        await self._nack([report], until, problem, refused=True, dead_letter=dead_letter)
        # What comes after a resolution does not depend on it.
        if not dead_letter and not _is_resolution([report]):
            self._refused_keys.add(report.key)

    async def _nack(
        self, reports: Sequence[QueuedReport], until: float, error: object, **flags: bool
    ) -> None:
        ids = [report.id for report in reports]
        await self._ports.call(self._ports.journal.nack, ids, until, str(error), **flags)
        self._finished_ids.update(ids)


def _may_concern_resolution(error: Exception) -> bool:
    # The SDK's exception does not say whether the status was 401 or 403.
    status = getattr(error.__cause__, "status_code", None)
    return isinstance(error, EngineAuthError) and status != HTTPStatus.UNAUTHORIZED


def _is_resolution(reports: Sequence[QueuedReport]) -> bool:
    return reports[0].kind == ReportKind.APPROVAL


def _group_by_request(
    reports: Iterable[QueuedReport], *, in_batch: bool
) -> deque[Sequence[QueuedReport]]:
    """Group reports by request: approvals first, then outcomes, then memory events by turn."""
    approvals: list[Sequence[QueuedReport]] = []
    outcomes: list[QueuedReport] = []
    turns: dict[str, list[QueuedReport]] = {}
    for report in reports:
        match report.kind:
            case ReportKind.OUTCOME:
                outcomes.append(report)
            case ReportKind.MEMORY:
                turns.setdefault(report.turn, []).append(report)
            case _:
                approvals.append([report])
    outcome_groups = [outcomes] if in_batch and outcomes else [[report] for report in outcomes]
    return deque([*approvals, *outcome_groups, *turns.values()])


async def _send_approvals(reports: Sequence[QueuedReport], ports: Ports) -> None:
    for report in reports:
        await ports.engine.resolve_approval(report.body)


async def _send_outcomes(reports: Sequence[QueuedReport], ports: Ports) -> None:
    bodies = [report.body for report in reports]
    for number, report in enumerate(reports):
        if not bodies[number].get("request_id"):
            bodies[number] = await _evaluate_late(report.key, bodies[number], ports)
    if len(bodies) > 1 and ports.engine.report_outcomes is not None:
        await ports.engine.report_outcomes(bodies)
        return
    for body in bodies:
        await ports.engine.report_outcome(body)


async def _send_memory(reports: Sequence[QueuedReport], ports: Ports) -> None:
    bodies = [report.body for report in reports]
    events = [{**body["event"], "seq": seq} for seq, body in enumerate(bodies)]
    await ports.engine.ingest_memory(events, bodies[0]["about"])


_SENDERS = {
    ReportKind.APPROVAL: _send_approvals,
    ReportKind.OUTCOME: _send_outcomes,
    ReportKind.MEMORY: _send_memory,
}


async def _evaluate_late(key: str, body: Mapping[str, Any], ports: Ports) -> Mapping[str, Any]:
    """Evaluate a call that was executed without an evaluation; return its outcome's body."""
    record = (await ports.find([key]))[key]
    context = {**record.request.context, "auto_executed": True}
    request = replace(record.request, context=context)
    decision = parse_decision(await ports.engine.evaluate(request, f"{record.key}-late"))
    return {**body, "request_id": decision.request_id}
