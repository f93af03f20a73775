"""The embedded engine over HTTP: BIGHUB's API for teams that may not send their decisions out."""

import gc
import ipaddress
import json
import math
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from bighub_langgraph.local import answering
from bighub_langgraph.local.answering import Answer, Route
from bighub_langgraph.local.checking import sent
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.faults import Refused, invalid
from bighub_langgraph.local.keys import ANYBODY, Caller, any_key
from bighub_langgraph.local.routes import ROUTER
from bighub_langgraph.local.server_callers import Callers, secret_of
from bighub_langgraph.local.server_door import Door
from bighub_langgraph.local.server_limits import Limits, Rate
from bighub_langgraph.local.server_metrics import Metrics
from bighub_langgraph.local.server_openapi import described
from bighub_langgraph.local.server_together import Together
from bighub_langgraph.local.server_watch import Watch
from bighub_langgraph.local.settings import Settings

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")


class PublicWithoutKeys(ValueError):
    """The server would listen to everybody and ask nobody for a key."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"{host} can be reached from other machines and no API key exists; make one with "
            "`bighub-langgraph keys create`, or listen on 127.0.0.1"
        )


def create_app(
    engine: Engine,
    *,
    limits: Limits | None = None,
    keys_required: bool | None = None,
    hosts: tuple[str, ...] = (),
) -> FastAPI:
    """Make the application. Without `keys_required`, keys are asked for once one was made."""
    server = _Server(engine, limits or Limits(), keys_required=keys_required)
    app = FastAPI(title="BIGHUB, embedded", version="1", docs_url=None, redoc_url=None)
    for route in ROUTER.routes:
        app.add_api_route(
            route.path,
            server.answers(route),
            methods=[route.method],
            openapi_extra=described(route),
            summary=f"{route.method} {route.path} (scope {route.scope})",
            response_class=JSONResponse,
        )
    app.add_api_route("/healthz", server.health, methods=["GET"])
    app.add_api_route("/metrics", server.numbers, methods=["GET"], response_class=PlainTextResponse)
    app.add_exception_handler(404, _not_offered)
    app.add_middleware(Door, answer=server.answer)
    app.add_middleware(Watch, metrics=server.metrics)
    if hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    return app


def serve(
    url: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8787,
    settings: Settings | None = None,
    limits: Limits | None = None,
    log_level: str = "info",
) -> None:
    """Serve the API until the process is asked to stop; requests that run are finished first."""
    import uvicorn

    with Engine(url, settings=settings) as engine:
        protected = any_key(engine)
        if not protected and not is_loopback(host):
            raise PublicWithoutKeys(host)
        # Without keys only this machine may ask, not a web page that names this machine otherwise.
        hosts = () if protected else _LOOPBACK
        app = create_app(engine, limits=limits, hosts=hosts)
        # What is loaded by now stays. The collector would walk through it while requests wait.
        gc.collect()
        gc.freeze()
        uvicorn.run(
            app,
            host=host,
            port=port,
            log_level=log_level,
            access_log=False,
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=10,
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class _Server:
    def __init__(self, engine: Engine, limits: Limits, *, keys_required: bool | None) -> None:
        self.engine = engine
        self.limits = limits
        self.metrics = Metrics()
        self.rate = Rate(limits)
        self.callers = Callers(engine, keys_required=keys_required)
        self.together = Together(engine)

    async def answer(self, route: Route, request: Request) -> Response:
        """Answer a request of a route."""
        try:
            secret = await self._admit(request, route.scope)
            body = await self._body(request) if request.method in ("POST", "PATCH") else None
            asked = _asked(request, body)
            given = await self.together.run(partial(self._answered, route, asked, secret))
        except Refused as refusal:
            return _refusal(refusal)
        if route.path == "/actions/evaluate" and given.status == HTTPStatus.OK:
            self.metrics.advised(given.body["recommendation"])
        return _json(given.body, given.status)

    def answers(self, route: Route) -> Callable[[Request], Awaitable[Response]]:
        """The same for a route that is known."""

        async def answer(request: Request) -> Response:
            return await self.answer(route, request)

        return answer

    async def health(self) -> Response:
        """Say that the server and its store are there."""
        told = await self.together.run(lambda _tx: Answer(200, {"status": "ok"}))
        return _json(told.body, told.status)

    async def numbers(self, request: Request) -> Response:
        """Tell the numbers to whoever may read."""
        try:
            await self._admit(request, "read")
        except Refused as refusal:
            return _refusal(refusal)
        return PlainTextResponse(self.metrics.text())

    async def _admit(self, request: Request, scope: str) -> str | None:
        """Refuse who may not ask, before what they ask is read; the answer is their key."""
        secret = secret_of(request)
        caller = self.callers.known(secret) or await self._looked_up(secret)
        request.state.key_id = caller.key_id
        client = request.client.host if request.client else "unknown"
        seconds = self.rate.wait(client if caller is ANYBODY else caller.key_id)
        if seconds:
            raise TooMany(seconds)
        if scope not in caller.scopes:
            raise Refused(403, f"this key may not {scope}; it may {', '.join(caller.scopes)}")
        return secret

    async def _looked_up(self, secret: str | None) -> Caller:
        found = await self.together.run(lambda tx: Answer(200, self.callers.good(tx, secret)))
        if found.status != HTTPStatus.OK:
            raise Refused(found.status, found.body["detail"])
        caller: Caller = found.body
        return caller

    def _answered(
        self, route: Route, asked: answering.Request, secret: str | None, tx: Connection
    ) -> Answer:
        self.callers.good(tx, secret)
        return answering.answered(self.engine, route, asked)

    async def _body(self, request: Request) -> Any:
        pieces: list[bytes] = []
        size = 0
        async for piece in request.stream():
            size += len(piece)
            if size > self.limits.body_bytes:
                raise Refused(413, f"a body may have {self.limits.body_bytes} bytes")
            pieces.append(piece)
        if not size:
            return None
        if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
            raise Refused(415, "send application/json")
        return _parsed(b"".join(pieces))


class TooMany(Refused):
    """A caller asks too often."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(429, f"too many requests; try again in {seconds:.1f} seconds")


def _asked(request: Request, body: Any) -> answering.Request:
    return answering.Request(
        request.method,
        request.scope["path"],
        dict(request.query_params) if request.scope["query_string"] else {},
        body,
        request.headers.get("idempotency-key") or None,
        {name: str(word) for name, word in request.path_params.items()},
    )


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise invalid("body", "not readable as JSON") from error


def _refusal(refusal: Refused) -> Response:
    told = _json({"detail": refusal.detail}, refusal.status)
    if isinstance(refusal, TooMany):
        told.headers["Retry-After"] = str(math.ceil(refusal.seconds))
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        told.headers["WWW-Authenticate"] = "Bearer"
    return told


def _json(body: Any, status: int) -> Response:
    return Response(sent(body), status, media_type="application/json")


async def _not_offered(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        detail = f"the embedded engine does not offer {request.method} {request.url.path}"
        return _json({"detail": detail}, 501)
    raise error
