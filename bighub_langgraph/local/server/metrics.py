"""Metrics for Prometheus and the request log: routes, statuses and durations, never contents."""

import logging
from http import HTTPMethod
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bighub_langgraph.telemetry_spans import server_span

log = logging.getLogger("bighub_langgraph.server")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "bighub_requests", "Requests answered", ["method", "route", "status"], registry=registry
        )
        self.recommendations = Counter(
            "bighub_recommendations",
            "Recommendations given",
            ["recommendation"],
            registry=registry,
        )
        self.seconds = Histogram(
            "bighub_request_seconds", "Duration of requests", buckets=_BUCKETS, registry=registry
        )

    def expose(self) -> Response:
        """Return the metrics in the format that Prometheus reads."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)


class RequestLogMiddleware:
    """Counts and logs every request."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and record its status and duration."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = perf_counter(), 500

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with server_span(scope["headers"]) as add_response:
            try:
                await self._app(scope, receive, send_and_note_status)
            finally:
                seconds = perf_counter() - start
                method, route = scope["method"], str(getattr(scope.get("route"), "path", "none"))
                if method not in list(HTTPMethod):  # a client may invent any number of them
                    method = "other"
                add_response(method, route, status)
                self._record(scope, method, route, status, seconds)

    def _record(self, scope: Scope, method: str, route: str, status: int, seconds: float) -> None:
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.observe(seconds)
        client = scope.get("client")
        fields = {
            "client": client and client[0],
            "method": method,
            "route": route,
            "status": status,
            "ms": round(seconds * 1e3, 2),
            "key_id": scope.get("state", {}).get("key_id"),
        }
        log.info("%s %s %d", method, route, status, extra=fields)
