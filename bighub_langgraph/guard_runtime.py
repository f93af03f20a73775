"""What every host depends on: settings, ports, journal and delivery of one guard."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from typing import Any, Self

from bighub_langgraph.bighub.client_factory import EngineClients
from bighub_langgraph.concurrency import (
    await_inline,
    call_in_thread,
    call_inline,
    gather_in_tasks,
    run_in_background,
)
from bighub_langgraph.core.context import log_fields
from bighub_langgraph.core.models import CallRecord, State
from bighub_langgraph.core.policy import GuardSettings
from bighub_langgraph.core.ports import JournalPort, Ports, schedule_nothing
from bighub_langgraph.core.reporting import ReportingConfig, build_event
from bighub_langgraph.delivery_worker import DeliveryWorker
from bighub_langgraph.telemetry import Telemetry
from bighub_langgraph.thread_pool import gather_in_threads

log = logging.getLogger("bighub_langgraph")

# How long a run waits at its end for its reports to be delivered, in seconds. The rest follows in
# the background.
END_OF_RUN = 0.3

DecisionCallback = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class GuardRuntime:
    """The settings, ports and delivery worker behind a guard.

    Attributes:
        ports: For callers without an event loop.
        async_ports: For coroutines.
        on_decision: The user's callback for decisions.
    """

    settings: GuardSettings
    clients: EngineClients
    ports: Ports
    async_ports: Ports
    delivery: DeliveryWorker
    on_decision: DecisionCallback | None = None

    @classmethod
    def build(
        cls,
        settings: GuardSettings,
        clients: EngineClients,
        journal: JournalPort,
        reporting: ReportingConfig,
        *,
        retries: int,
        clock: Callable[[], float],
        on_decision: DecisionCallback | None = None,
        schedule_notification: Callable[[], None] = schedule_nothing,
        telemetry: Telemetry | None = None,
    ) -> Self:
        """Build the ports over clients and a journal."""
        ports = Ports(
            engine=clients.build_engine(retries),
            journal=journal,
            reporting=reporting,
            call=call_inline,
            gather=gather_in_threads,
            wait_for=partial(call_inline, run_in_background),
            clock=clock,
            monotonic=time.monotonic,
            sleep=partial(call_inline, time.sleep),
            schedule_notification=schedule_notification,
        )
        if telemetry is not None:
            telemetry.watch(settings.name, journal, clients.breaker)
            ports = replace(ports, active_telemetry=telemetry.if_on)
        async_ports = replace(
            ports,
            engine=clients.build_async_engine(retries),
            call=call_in_thread if journal.is_blocking else call_inline,
            gather=gather_in_tasks,
            wait_for=await_inline,
            sleep=asyncio.sleep,
        )
        return cls._with_delivery(settings, clients, ports, async_ports, on_decision)

    @classmethod
    def _with_delivery(
        cls,
        settings: GuardSettings,
        clients: EngineClients,
        ports: Ports,
        async_ports: Ports,
        on_decision: DecisionCallback | None,
    ) -> Self:
        worker = DeliveryWorker(ports, async_ports, on_loop=clients.on_loop)

        async def deliver(turn: str | None) -> None:
            worker.deliver(turn)

        ports = replace(ports, deliver=deliver, schedule_delivery=worker.schedule)
        async_ports = replace(
            async_ports, deliver=worker.deliver_async, schedule_delivery=worker.schedule_async
        )
        return cls(settings, clients, ports, async_ports, worker, on_decision)

    def derive(self, settings: GuardSettings, reporting: ReportingConfig) -> Self:
        """Return a runtime with other settings over the same engine and journal."""
        return self._with_delivery(
            settings,
            self.clients,
            replace(self.ports, reporting=reporting),
            replace(self.async_ports, reporting=reporting),
            self.on_decision,
        )

    def emit_decision(self, record: CallRecord) -> dict[str, Any]:
        """Call the user's `on_decision` with the event of a new decision, and return the event."""
        event = build_event("decision", record)
        if record.state is State.AWAITING:
            self.ports.schedule_notification()
        if self.on_decision is not None:
            try:
                self.on_decision(event)
            except Exception:
                log.exception(
                    "on_decision raised; the call %s goes on",
                    record.key[:12],
                    extra=log_fields(record),
                )
        return event


def open_journal(journal: JournalPort | str | PathLike[str] | None) -> tuple[JournalPort, bool]:
    """Return the journal to use, and whether it is ours to close."""
    if journal is None:
        from bighub_langgraph.journal.memory_journal import MemoryJournal

        return MemoryJournal(), True
    if isinstance(journal, str | PathLike):
        from bighub_langgraph.journal.sql import Journal

        return Journal(journal), True
    return journal, False
