"""The embedded engine over HTTP: BIGHUB's API for teams that may not send their decisions out."""

import ipaddress
import json
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from time import perf_counter
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from sqlalchemy import literal, select
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from bighub_langgraph.local import answering
from bighub_langgraph.local.answering import Answer, Route
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.faults import Refused, invalid
from bighub_langgraph.local.keys import ANYBODY, Caller, any_key, caller_of
from bighub_langgraph.local.routes import ROUTER
from bighub_langgraph.local.server_limits import Limits, Rate
from bighub_langgraph.local.server_metrics import Metrics
from bighub_langgraph.local.server_openapi import described
from bighub_langgraph.local.settings import Settings

log = logging.getLogger("bighub_langgraph.server")
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
    server = _Server(engine, limits or Limits(), keys_required)
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
    app.middleware("http")(server.observe)
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
        uvicorn.run(
            app,
            host=host,
            port=port,
            log_level=log_level,
            access_log=False,
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


@dataclass(slots=True)
class _Server:
    engine: Engine
    limits: Limits
    keys_required: bool | None
    metrics: Metrics = field(default_factory=Metrics)
    rate: Rate = field(init=False)

    def __post_init__(self) -> None:
        self.rate = Rate(self.limits)

    def answers(self, route: Route) -> Callable[[Request], Awaitable[Response]]:
        """What FastAPI calls for a route."""

        async def answer(request: Request) -> Response:
            try:
                await run_in_threadpool(self._admit, request, route.scope)
                body = await self._body(request) if request.method in ("POST", "PATCH") else None
                given = await run_in_threadpool(self._answer, route, request, body)
            except Refused as refusal:
                return _refusal(refusal)
            if route.path == "/actions/evaluate" and given.status == HTTPStatus.OK:
                self.metrics.advised(given.body["recommendation"])
            return _response(given)

        return answer

    async def health(self) -> dict[str, str]:
        """Say that the server and its store are there."""
        await run_in_threadpool(self._touch_store)
        return {"status": "ok"}

    async def numbers(self, request: Request) -> Response:
        """Tell the numbers to whoever may read."""
        try:
            await run_in_threadpool(self._admit, request, "read")
        except Refused as refusal:
            return _refusal(refusal)
        return PlainTextResponse(self.metrics.text())

    async def observe(
        self, request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        """Count and log a request: its route, how it went and how long; never what it said."""
        began = perf_counter()
        response = await call_next(request)
        seconds = perf_counter() - began
        route = getattr(request.scope.get("route"), "path", "none")
        self.metrics.count(request.method, route, response.status_code, seconds)
        line = {
            "method": request.method,
            "route": route,
            "status": response.status_code,
            "ms": round(seconds * 1e3, 2),
            "key_id": getattr(request.state, "key_id", None),
        }
        log.info(json.dumps(line))
        return response

    def _answer(self, route: Route, request: Request, body: Any) -> Answer:
        asked = answering.Request(
            request.method,
            request.url.path,
            dict(request.query_params),
            body,
            request.headers.get("idempotency-key") or None,
            {name: str(word) for name, word in request.path_params.items()},
        )
        return answering.answered(self.engine, route, asked)

    def _admit(self, request: Request, scope: str) -> None:
        caller = self._caller(request)
        request.state.key_id = caller.key_id
        client = request.client.host if request.client else "unknown"
        seconds = self.rate.wait(client if caller is ANYBODY else caller.key_id)
        if seconds:
            raise TooMany(seconds)
        if scope not in caller.scopes:
            raise Refused(403, f"this key may not {scope}; it may {', '.join(caller.scopes)}")

    def _caller(self, request: Request) -> Caller:
        secret = _secret(request)
        if secret is None:
            required = any_key(self.engine) if self.keys_required is None else self.keys_required
            if required:
                raise Refused(401, "send an API key as X-API-Key or as a bearer token")
            return ANYBODY
        with self.engine.store.transaction() as tx:
            caller = caller_of(tx, secret, self.engine.clock())
        if caller is None:
            raise Refused(401, "this API key is unknown, revoked or expired")
        return caller

    def _touch_store(self) -> None:
        with self.engine.store.transaction() as tx:
            tx.execute(select(literal(1)))

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


def _secret(request: Request) -> str | None:
    given = request.headers.get("x-api-key")
    if given:
        return given
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise invalid("body", "not readable as JSON") from error


def _refusal(refusal: Refused) -> Response:
    headers = {}
    if isinstance(refusal, TooMany):
        headers["Retry-After"] = str(math.ceil(refusal.seconds))
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"detail": refusal.detail}, refusal.status, headers)


def _response(answer: Answer) -> Response:
    return JSONResponse(answer.body, answer.status)


async def _not_offered(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        detail = f"the embedded engine does not offer {request.method} {request.url.path}"
        return JSONResponse({"detail": detail}, 501)
    raise error
