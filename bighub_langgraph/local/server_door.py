"""The way in: what the engine offers is answered at the door, the rest is FastAPI's."""

from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from bighub_langgraph.local.answering import Route
from bighub_langgraph.local.faults import Refused
from bighub_langgraph.local.routes import ROUTER


class Door:
    """Answers requests for the engine's routes.

    They have no dependencies that FastAPI could resolve, and looking for some takes longer than to
    answer. Documentation, methods that are not allowed and paths that lead nowhere are left to it.
    """

    def __init__(
        self, app: ASGIApp, *, answer: Callable[[Route, Request], Awaitable[Response]]
    ) -> None:
        self._app = app
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it in."""
        found = _found(scope) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        route, scope["path_params"] = found
        scope["route"] = route
        response = await self._answer(route, Request(scope, receive))
        await response(scope, receive, send)


def _found(scope: Scope) -> tuple[Route, dict[str, str]] | None:
    try:
        return ROUTER.find(scope["method"], scope["path"])
    except Refused:
        return None
