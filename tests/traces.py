"""Spans of a test: an OpenTelemetry SDK that keeps them in memory."""

from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bighub_langgraph import Telemetry


class Spans:
    """Keeps what is traced, in one process."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("application")

    def telemetry(self, **options: Any) -> Telemetry:
        """What a guard is given."""
        return Telemetry(tracer_provider=self.provider, **options)

    @property
    def ended(self) -> Sequence[ReadableSpan]:
        """The spans, in the order in which they ended."""
        return self.exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        """The spans with this name."""
        return [span for span in self.ended if span.name == name]

    def single(self, name: str) -> ReadableSpan:
        """The only span with this name."""
        [span] = self.named(name)
        return span

    def text(self) -> str:
        """Everything that the spans show."""
        return "\n".join(str(span.to_json()) for span in self.ended)


class Metrics:
    """Measures one guard of one process."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider([self._reader], shutdown_on_exit=False)

    def telemetry(self) -> Telemetry:
        """What a guard is given."""
        return Telemetry(meter_provider=self._provider)

    def read(self) -> dict[str, list[tuple[dict[str, Any], Any]]]:
        """Each metric's points with their attributes."""
        data = self._reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: [
                (dict(point.attributes or {}), point) for point in metric.data.data_points
            ]
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """The attributes of a span."""
    return dict(span.attributes or {})


def trace_id(span: ReadableSpan) -> int:
    """The id of a span's trace."""
    context = span.get_span_context()
    assert context is not None
    return int(context.trace_id)


def is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    """Whether a span is a child of another."""
    context = parent.get_span_context()
    assert context is not None
    return (
        span.parent is not None
        and span.parent.span_id == context.span_id
        and span.parent.trace_id == context.trace_id
    )


def is_linked(span: ReadableSpan, other: ReadableSpan) -> bool:
    """Whether a span links to another."""
    context = other.get_span_context()
    assert context is not None
    return any(link.context.span_id == context.span_id for link in span.links)
