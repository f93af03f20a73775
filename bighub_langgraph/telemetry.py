"""OpenTelemetry: a span per tool call with its decision and its reports, and metrics.

The API is imported only where the application has imported it, which it does to set a provider.
Names follow OpenTelemetry's semantic conventions for generative AI; BIGHUB's own start with
`bighub.`.
"""

import atexit
import json
import sys
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from bighub_langgraph import __version__
from bighub_langgraph.circuit_breaker import CircuitBreaker
from bighub_langgraph.core.models import CallRecord, Decision, State, ToolFailed, ToolOutcome
from bighub_langgraph.core.ports import JournalPort
from bighub_langgraph.core.redaction import redact_text
from bighub_langgraph.telemetry_attributes import (
    Attributes,
    approval_attributes,
    decision_attributes,
    ended_status,
    error_type,
    verdict_attributes,
)
from bighub_langgraph.telemetry_metrics import GuardMetrics, WatchedGuard, find_metrics
from bighub_langgraph.telemetry_spans import (
    SCOPE,
    has_provider,
    never_raise,
    set_error,
    to_carrier,
    to_context,
    use_span,
)

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

# The span of a call whose tool has not started is ended after so many seconds: the tool may start
# much later, after the approval of another call, or in another process.
LONGEST_OPEN = 60.0
MAX_OPEN = 1_000
# How instrumentations mark the span of a tool.
TOOL_MARKS = {
    "gen_ai.operation.name": "execute_tool",
    "openinference.span.kind": "TOOL",
    "traceloop.span.kind": "tool",
}


class Telemetry:
    """Traces and counts the calls of a guard with OpenTelemetry.

    Without a provider, or without the package, it does nothing.

    Args:
        capture_arguments: Whether spans show the arguments of calls, redacted.
        tracer_provider: Makes the spans; by default the application's provider.
        meter_provider: Makes the metrics; by default the application's provider.
    """

    def __init__(
        self,
        *,
        capture_arguments: bool = False,
        tracer_provider: Any = None,
        meter_provider: Any = None,
    ) -> None:
        self.capture_arguments = capture_arguments
        self._tracer_provider, self._meter_provider = tracer_provider, meter_provider
        self._is_on = False
        self._metrics: GuardMetrics | None = None
        self._watched_guards: list[WatchedGuard] = []
        self._lock = threading.Lock()
        # The spans of calls whose tools have not started, by key, and since when they are open.
        self._open: OrderedDict[str, tuple[float, Span]] = OrderedDict()

    @property
    def is_on(self) -> bool:
        """Whether there is a provider."""
        return self.if_on() is not None

    def if_on(self) -> Self | None:
        """Return itself while there is a provider; None otherwise."""
        if not self._is_on and "opentelemetry.trace" in sys.modules:
            own = self._tracer_provider is not None or self._meter_provider is not None
            self._is_on = own or bool(has_provider())
            if self._is_on:
                self._start_metrics()
        return self if self._is_on else None

    @never_raise
    def watch(self, agent: str, journal: JournalPort, breaker: CircuitBreaker) -> None:
        """Measure the journal and the circuit breaker of a guard while it exists."""
        self._watched_guards.append(WatchedGuard(agent, weakref.ref(journal), weakref.ref(breaker)))
        if self.is_on:
            self._watch_all()

    @never_raise
    def _start_metrics(self) -> None:
        self._metrics = find_metrics(self._meter_provider)
        self._watch_all()

    def _watch_all(self) -> None:
        while self._watched_guards and self._metrics is not None:
            self._metrics.watch(self._watched_guards.pop())

    # -- what happens to a call --------------------------------------------------------------------

    def start_call(self, record: CallRecord, origin: Mapping[str, str] | None = None) -> CallRecord:
        """Start the span of a call, and return the record with its trace context.

        `origin` is the trace context of the call whose arguments a person edited to these.
        """
        return self._start_call(record, origin) or record

    @contextmanager
    def evaluation(
        self, calls: Sequence[tuple[str, str]]
    ) -> Iterator[Callable[[Sequence[Decision]], object]]:
        """Trace the evaluation of calls, given by key and tool; yields what takes the decisions."""
        spans = [self._start_evaluation(*call) for call in calls]
        with ExitStack() as stack:
            for span in reversed(spans):  # the first one is the current one
                stack.enter_context(use_span(span))
            yield partial(_add_decisions, spans)

    @never_raise
    def end_evaluation(self, record: CallRecord) -> None:
        """Add the decision to the span of a call, and end it unless the tool starts next."""
        if self._metrics is not None:
            self._metrics.add_decision(record)
        span = _find_foreign_span(record) or self._find_open(record.key)
        if span is None:
            return
        span.set_attributes({**decision_attributes(record.decision), **verdict_attributes(record)})
        if record.state is not State.ALLOWED:
            self._end(record.key)

    @contextmanager
    def execution(self, record: CallRecord) -> Iterator[Callable[[ToolOutcome | None], object]]:
        """Trace the run of a tool; yields what takes its outcome, None where it paused."""
        foreign = _find_foreign_span(record)
        span, start = self._start_execution(record, foreign), time.perf_counter()
        errors: list[str] = []

        def add_outcome(outcome: ToolOutcome | None) -> None:
            _add_outcome(span, outcome)
            if isinstance(outcome, ToolFailed):
                errors.append(error_type(outcome))

        try:
            with use_span(span, ends=foreign is None):
                yield add_outcome
        except BaseException as error:
            errors.append(type(error).__qualname__)
            raise
        finally:
            if self._metrics is not None:
                seconds = time.perf_counter() - start
                self._metrics.add_duration(record.tool, seconds, errors[0] if errors else None)

    @contextmanager
    def report(self, kind: str, records: Sequence[CallRecord]) -> Iterator[None]:
        """Trace the delivery of a report of each of these calls."""
        with ExitStack() as stack:
            for record in records:
                stack.enter_context(use_span(self._start_report(kind, record)))
            yield

    @never_raise
    def add_answer(self, record: CallRecord) -> None:
        """Trace how long a call has waited for the person who answered, in the call's own trace."""
        if (approval := record.approval) is not None:
            self._add_wait("bighub.approval", record, approval_attributes(record), approval.at)

    @never_raise
    def add_ending(self, before: CallRecord, record: CallRecord) -> None:
        """Trace how long a call has waited that expired or was cancelled, in its own trace."""
        if (status := ended_status(record)) is None:
            return
        attributes: Attributes = {"bighub.status": status}
        if (span := self._find_open(record.key)) is not None:
            span.set_attributes(attributes)
            self._end(record.key)
        name = "bighub.wait"  # for its start
        if before.state is State.AWAITING and record.approval is None:
            name, attributes["bighub.approval.state"] = "bighub.approval", status
        self._add_wait(name, record, attributes, time.time())

    def _add_wait(
        self, name: str, record: CallRecord, attributes: Attributes, until: float
    ) -> None:
        from opentelemetry import trace

        current, origin = trace.get_current_span().get_span_context(), record.trace_context
        span = self._get_tracer().start_span(
            name,
            context=to_context(origin) if origin else None,
            links=[trace.Link(current)] if current.is_valid and origin else None,
            start_time=_nanoseconds(record.created_at),
            attributes={**self._call_attributes(record), **attributes},
        )
        span.end(_nanoseconds(max(until, record.created_at)))

    def close(self) -> None:
        """End the spans of calls whose tools have not started."""
        atexit.unregister(self.close)
        for key in list(self._open):
            self._end(key)

    # -- spans -------------------------------------------------------------------------------------

    def _get_tracer(self) -> "Tracer":
        from opentelemetry import trace

        return trace.get_tracer(SCOPE, __version__, self._tracer_provider)

    @never_raise
    def _start_call(self, record: CallRecord, origin: Mapping[str, str] | None) -> CallRecord:
        span = _find_foreign_span(record)
        if span is None:
            span = self._start_span(record, origin)
            self._keep_open(record.key, span)
        else:
            span.set_attributes(self._call_attributes(record))
        return record._replace(trace_context=to_carrier(span))

    @never_raise
    def _start_evaluation(self, key: str, tool: str) -> "Span":
        from opentelemetry import trace

        call = self._find_open(key)
        attributes = {"gen_ai.tool.name": tool, "bighub.call.key": key}
        return self._get_tracer().start_span(
            "bighub.evaluate",
            context=None if call is None else trace.set_span_in_context(call),
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
        )

    @never_raise
    def _start_execution(self, record: CallRecord, foreign: "Span | None") -> "Span":
        """Return the span in which a tool runs, with what is known when it starts."""
        own = self._take(record.key)
        span = foreign or own or self._start_span(record, record.trace_context)
        if own is not None and own is not span:  # only one span of a call is that of its tool
            own.update_name(f"bighub.call {record.tool}")
            own.set_attribute("gen_ai.operation.name", "bighub.call")
            own.end()
        span.set_attributes(
            {
                **self._call_attributes(record),
                **decision_attributes(record.decision),
                **verdict_attributes(record),
                **approval_attributes(record),
            }
        )
        return span

    @never_raise
    def _start_report(self, kind: str, record: CallRecord) -> "Span":
        from opentelemetry import trace

        attributes = {
            "gen_ai.tool.name": record.tool,
            "bighub.call.key": record.key,
            "bighub.report.kind": kind,
        }
        if record.request_id:
            attributes["bighub.request_id"] = record.request_id
        origin = record.trace_context
        return self._get_tracer().start_span(
            "bighub.report",
            context=to_context(origin) if origin else None,
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
        )

    def _start_span(self, record: CallRecord, origin: Mapping[str, str] | None) -> "Span":
        """Start the span of a call under the current span, linked to its origin, or under that."""
        from opentelemetry import trace

        origin_context = to_context(origin) if origin else None
        has_parent = trace.get_current_span().get_span_context().is_valid
        links = None
        if origin_context is not None and has_parent:
            links = [trace.Link(trace.get_current_span(origin_context).get_span_context())]
        return self._get_tracer().start_span(
            f"execute_tool {record.tool}",
            context=None if has_parent else origin_context,
            links=links,
            attributes=self._call_attributes(record),
        )

    def _call_attributes(self, record: CallRecord) -> dict[str, Any]:
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": record.tool,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": record.call_id,
            "bighub.call.key": record.key,
        }
        if record.thread:
            attributes["gen_ai.conversation.id"] = redact_text(record.thread)
        if self.capture_arguments:
            arguments = record.request.context.get("arguments", {})  # redacted
            attributes["gen_ai.tool.call.arguments"] = json.dumps(arguments, default=str)
        return attributes

    # -- open spans --------------------------------------------------------------------------------

    def _keep_open(self, key: str, span: "Span") -> None:
        now = time.monotonic()
        with self._lock:
            if not self._open:
                atexit.register(self.close)
            surplus = len(self._open) - MAX_OPEN
            ended_keys = [
                other
                for number, (other, (since, _)) in enumerate(self._open.items())
                if now - since > LONGEST_OPEN or number <= surplus
            ]
            self._open[key] = now, span
        for other in ended_keys:
            self._end(other)

    def _find_open(self, key: str) -> "Span | None":
        with self._lock:
            return self._open[key][1] if key in self._open else None

    def _take(self, key: str) -> "Span | None":
        with self._lock:
            span = self._open.pop(key)[1] if key in self._open else None
            if not self._open:
                atexit.unregister(self.close)
            return span

    @never_raise
    def _end(self, key: str) -> None:
        if (span := self._take(key)) is not None:
            span.end()


@never_raise
def _add_decisions(spans: Sequence["Span | None"], decisions: Sequence[Decision]) -> None:
    for span, decision in zip(spans, decisions, strict=True):
        if span is None:
            continue
        span.set_attributes(decision_attributes(decision))
        if decision.fault:
            set_error(span, decision.fault)


@never_raise
def _add_outcome(span: "Span | None", outcome: ToolOutcome | None) -> None:
    if span is None:
        return
    status = "paused" if outcome is None else "executed"
    if isinstance(outcome, ToolFailed):
        status = "tool_error"
        set_error(span, error_type(outcome))
    span.set_attribute("bighub.status", status)


@never_raise
def _find_foreign_span(record: CallRecord) -> "Span | None":
    """Return the current span, if another instrumentation made it for this very call."""
    from opentelemetry import trace

    span = trace.get_current_span()
    attributes = getattr(span, "attributes", None)  # spans of the SDK show them
    if not attributes or not any(
        attributes.get(name) == is_tool for name, is_tool in TOOL_MARKS.items()
    ):
        return None
    about = {attributes.get("bighub.call.key"), attributes.get("gen_ai.tool.name")}
    return span if about <= {None, record.key, record.tool} else None


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
