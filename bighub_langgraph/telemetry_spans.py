"""Spans of OpenTelemetry: current ones, those of requests, and contexts that cross processes.

The API is imported only where the application has imported it.
"""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from bighub_langgraph import __version__

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

log = logging.getLogger("bighub_langgraph")
P = ParamSpec("P")
T = TypeVar("T")

SCOPE = "bighub_langgraph"


def never_raise(function: Callable[P, T]) -> Callable[P, T | None]:
    """Return a function that logs what it would raise: no call fails because of its trace."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return function(*args, **kwargs)
        except Exception:
            log.exception("telemetry raised; the call goes on without it")
            return None

    return run


def trace_headers() -> dict[str, str]:
    """Return the headers that pass the current span on to another service."""
    return (_trace_headers() or {}) if "opentelemetry.trace" in sys.modules else {}


@never_raise
def _trace_headers() -> dict[str, str]:
    from opentelemetry import trace

    return to_carrier(trace.get_current_span())


@contextmanager
def server_span(
    headers: Iterable[tuple[bytes, bytes]],
) -> Iterator[Callable[[str, str, int], object]]:
    """Trace a request with these headers; yields what takes its method, route and status.

    Where another instrumentation traces it, there is no second span.
    """
    span = _start_server_span(headers) if "opentelemetry.trace" in sys.modules else None
    with use_span(span):
        yield partial(_add_response, span)


@never_raise
def _start_server_span(headers: Iterable[tuple[bytes, bytes]]) -> "Span | None":
    from opentelemetry import trace

    if not has_provider() or trace.get_current_span().get_span_context().is_valid:
        return None
    tracer = trace.get_tracer(SCOPE, __version__)
    kind = trace.SpanKind.SERVER
    carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    return tracer.start_span("HTTP", context=to_context(carrier), kind=kind)


@never_raise
def _add_response(span: "Span | None", method: str, route: str, status: int) -> None:
    if span is None:
        return
    span.update_name(f"{method} {route}")
    span.set_attributes(
        {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
        }
    )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        set_error(span, str(status))


@contextmanager
def use_span(span: "Span | None", *, ends: bool = True) -> Iterator[None]:
    """Make a span the current one within a block, and end it with the block."""
    token = None if span is None else _attach(span)
    try:
        yield
    except BaseException as error:
        if span is not None:
            set_error(span, type(error).__qualname__)
        raise
    finally:
        if span is not None:
            _leave(span, token, ends=ends)


@never_raise
def _attach(span: "Span") -> Any:
    from opentelemetry import context, trace

    return context.attach(trace.set_span_in_context(span))


@never_raise
def _leave(span: "Span", token: Any, *, ends: bool) -> None:
    from opentelemetry import context

    if token is not None:
        context.detach(token)
    if ends:
        span.end()


@never_raise
def set_error(span: "Span", kind: str) -> None:
    """Mark a span as failed."""
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


@never_raise
def has_provider() -> bool:
    """Whether the application has set a provider; those of the API itself do nothing."""
    from opentelemetry import metrics, trace

    own_modules = ("opentelemetry.trace", "opentelemetry.metrics")
    is_unset = type(trace.get_tracer_provider()).__module__.startswith(own_modules)
    return not (is_unset and type(metrics.get_meter_provider()).__module__.startswith(own_modules))


def to_carrier(span: "Span") -> dict[str, str]:
    """Return the W3C trace context of a span, to be stored or sent."""
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    # Not the application's propagators: baggage may hold secrets, and the carrier is stored.
    TraceContextTextMapPropagator().inject(carrier, trace.set_span_in_context(span))
    return carrier


def to_context(carrier: Mapping[str, str]) -> "Context":
    """Return the context that `to_carrier` stored, or that a request brought."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(carrier, Context())
