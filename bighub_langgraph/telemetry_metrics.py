"""Metrics of OpenTelemetry: decisions, durations of tools, and what waits.

The API is imported only where the application has imported it.
"""

import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from bighub_langgraph import __version__
from bighub_langgraph.circuit_breaker import CircuitBreaker
from bighub_langgraph.core.models import CallRecord
from bighub_langgraph.core.ports import JournalPort
from bighub_langgraph.telemetry_attributes import verdict_of
from bighub_langgraph.telemetry_spans import SCOPE, never_raise

if TYPE_CHECKING:
    from opentelemetry.metrics import Observation


class WatchedGuard(NamedTuple):
    """What is measured of a guard now and then; it may be forgotten meanwhile."""

    agent: str
    journal: "weakref.ref[JournalPort]"
    breaker: "weakref.ref[CircuitBreaker]"


class GuardMetrics:
    """The metrics of one provider, of all guards that use it."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry import metrics

        meter = metrics.get_meter(SCOPE, __version__, provider)
        self._guards: list[WatchedGuard] = []
        self._duration = meter.create_histogram(
            "gen_ai.execute_tool.duration", "s", "How long tools have run"
        )
        self._decisions = meter.create_counter(
            "bighub.decisions", "{decision}", "Decisions by recommendation and verdict"
        )
        for name, unit, description, measure in _GAUGES:
            callback = partial(self._observe, measure)
            meter.create_observable_gauge(name, [callback], unit, description)

    def watch(self, guard: WatchedGuard) -> None:
        """Measure a guard's journal and circuit breaker from now on."""
        self._guards = [other for other in self._guards if other.journal() is not None] + [guard]

    @never_raise
    def add_decision(self, record: CallRecord) -> None:
        """Count a decision."""
        if record.decision is not None:
            recommendation = record.decision.recommendation.value
            self._decisions.add(
                1,
                {
                    "gen_ai.tool.name": record.tool,
                    "bighub.recommendation": recommendation,
                    "bighub.verdict": verdict_of(record).value,
                },
            )

    @never_raise
    def add_duration(self, tool: str, seconds: float, error: str | None) -> None:
        """Record how long a tool has run, and the class of its error."""
        attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool}
        self._duration.record(seconds, {**attributes, **({"error.type": error} if error else {})})

    def _observe(
        self, measure: Callable[[JournalPort, CircuitBreaker], float], _: object
    ) -> "list[Observation]":
        return self._measure_all(measure) or []

    @never_raise
    def _measure_all(
        self, measure: Callable[[JournalPort, CircuitBreaker], float]
    ) -> "list[Observation]":
        from opentelemetry.metrics import Observation

        observations = []
        for guard in list(self._guards):
            journal, breaker = guard.journal(), guard.breaker()
            if journal is not None and breaker is not None:
                value = measure(journal, breaker)
                observations.append(Observation(value, {"bighub.agent": guard.agent}))
        return observations


def find_metrics(provider: Any) -> GuardMetrics:
    """Return the metrics of a provider; of the application's for None."""
    if provider not in _metrics:
        _metrics[provider] = GuardMetrics(provider)
    return _metrics[provider]


_metrics: dict[Any, GuardMetrics] = {}


def _count_waiting(journal: JournalPort, _: CircuitBreaker) -> float:
    return journal.count_waiting()[0]


def _measure_oldest_age(journal: JournalPort, _: CircuitBreaker) -> float:
    oldest = journal.count_waiting()[1]
    return 0.0 if oldest is None else max(0.0, time.time() - oldest)


def _count_pending(journal: JournalPort, _: CircuitBreaker) -> float:
    return journal.pending_count(include_dead_letters=True)


def _measure_breaker(_: JournalPort, breaker: CircuitBreaker) -> float:
    return int(breaker.is_open)


_GAUGES = (
    ("bighub.approvals.waiting", "{call}", "Calls that wait for a person", _count_waiting),
    (
        "bighub.approvals.oldest_age",
        "s",
        "How long the oldest of them has waited",
        _measure_oldest_age,
    ),
    ("bighub.outbox.pending", "{report}", "Reports that are not delivered", _count_pending),
    (
        "bighub.breaker.open",
        "1",
        "1 while no evaluation is sent, as BIGHUB is down",
        _measure_breaker,
    ),
)
