"""What a server tells about its requests: their route, how they went and how long; never more."""

import json
import logging
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bighub_langgraph.local.server_metrics import Metrics

log = logging.getLogger("bighub_langgraph.server")


class Watch:
    """Counts and logs every request that passes through it."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; note how it was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._note(scope, status, perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        method, route = scope["method"], route_of(scope)
        self._metrics.count(method, route, status, seconds)
        if log.isEnabledFor(logging.INFO):
            line: dict[str, Any] = {
                "method": method,
                "route": route,
                "status": status,
                "ms": round(seconds * 1e3, 2),
                "key_id": scope.get("state", {}).get("key_id"),
            }
            log.info(json.dumps(line))


def route_of(scope: Scope) -> str:
    """The route that answers a request, with its names unfilled."""
    return str(getattr(scope.get("route"), "path", "none"))
