"""The FastAPI application, and the process that serves it."""

import gc
import inspect
import ipaddress
import json
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Annotated, Any

from fastapi import Body, FastAPI, Query, Request, Response, Security
from fastapi.routing import APIRoute
from pydantic_core import to_json
from sqlalchemy import Connection
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from bighub_langgraph.json_logs import LogFormat, configure_server_logs
from bighub_langgraph.local.api_keys import READ, has_keys
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.errors import ApiError, invalid_field
from bighub_langgraph.local.routes import ROUTES, Route, call_route, not_offered_error
from bighub_langgraph.local.schemas.responses import ErrorResponse
from bighub_langgraph.local.server.auth_and_rate_limits import (
    API_KEY,
    BEARER_TOKEN,
    Authenticator,
    ServerLimits,
)
from bighub_langgraph.local.server.connections import run_until_stopped
from bighub_langgraph.local.server.group_commit import GroupCommit
from bighub_langgraph.local.server.metrics import Metrics, RequestLogMiddleware
from bighub_langgraph.local.settings import Settings

log = logging.getLogger("bighub_langgraph")

_WITHOUT_KEYS = (
    "there are no API keys: every program on this machine may send every request; as soon as "
    "`bighub-langgraph keys create` has made the first one, every request needs a key"
)
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")
_ERRORS = {
    400: "The request cannot be read",
    401: "The API key is missing or not valid",
    403: "The API key lacks the scope",
    404: "The id does not exist",
    408: "The request was not sent completely",
    409: "The request contradicts an earlier one",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "Some fields are invalid; `detail` lists them",
    429: "Too many requests; `Retry-After` says how many seconds to wait",
    501: "The embedded engine does not offer this",
    503: "The store cannot be used at the moment",
}
# For the document only: the authenticator reads the key itself, before the body.
_SECURITY = [Security(API_KEY), Security(BEARER_TOKEN)]


class PublicWithoutKeys(ValueError):
    """The server would accept requests from other machines without an API key."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"{host} can be reached from other machines and no API key exists; make one with "
            "`bighub-langgraph keys create`, or listen on 127.0.0.1"
        )


def create_app(
    engine: Engine,
    *,
    limits: ServerLimits | None = None,
    hosts: tuple[str, ...] = (),
) -> FastAPI:
    """Return the application. Every request needs a key once one exists."""
    server = _Server(engine, limits or ServerLimits())
    app = FastAPI(title="BIGHUB, embedded", version="1", docs_url=None, redoc_url=None)
    app.add_api_route("/healthz", server.check_health)
    app.add_api_route(
        "/metrics", server.expose_metrics, response_class=Response, dependencies=_SECURITY
    )
    app.router.route_class = _EngineRoute
    errors: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorResponse, "description": description}
        for status, description in _ERRORS.items()
    }
    for route in ROUTES:
        app.add_api_route(
            route.path,
            _Endpoint(server, route),
            methods=[route.method],
            response_model=route.response,
            dependencies=_SECURITY,
            responses=errors,
            name=route.handler.__name__,
            summary=f"{route.method} {route.path} (scope {route.scope})",
            description=inspect.getdoc(route.handler),
        )
    app.add_exception_handler(ApiError, _to_response)
    app.add_exception_handler(404, _to_response)
    app.add_middleware(RequestLogMiddleware, metrics=server.metrics)
    if hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    return app


def serve(
    url: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8787,
    settings: Settings | None = None,
    log_level: str = "info",
    log_format: LogFormat = "text",
) -> None:
    """Serve the API until the process is stopped; requests in progress are completed first."""
    with Engine(url, settings=settings) as engine:
        with engine.store.transaction() as tx:
            is_protected = has_keys(tx)
        if not is_protected and not is_loopback(host):
            raise PublicWithoutKeys(host)
        configure_server_logs(log_level, log_format)
        log.info("every request needs an API key" if is_protected else _WITHOUT_KEYS)
        # Without keys, refuse other host names: a web page could send requests (DNS rebinding).
        app = create_app(engine, hosts=() if is_protected else _LOOPBACK)
        # Exempt what is loaded by now from garbage collection, which delays requests.
        gc.collect()
        gc.freeze()
        run_until_stopped(app, host=host, port=port, closing_seconds=10)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host."""
    with suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return host == "localhost"


class _Server:
    """What the endpoints of one application share."""

    def __init__(self, engine: Engine, limits: ServerLimits) -> None:
        commits = GroupCommit(engine)
        self.engine = engine
        self.limits = limits
        self.metrics = Metrics()
        self.group_commit = commits
        self.authenticator = Authenticator(engine, commits, limits)

    async def check_health(self) -> dict[str, str]:
        """Return 200 if the server can use its store."""
        await self.group_commit.run(lambda _tx: None)
        return {"status": "ok"}

    async def expose_metrics(self, request: Request) -> Response:
        """Return the metrics to a key that may read."""
        await self.authenticator.admit(request, READ)
        return self.metrics.expose()

    async def answer(self, route: Route, request: Request) -> Response:
        """Return the response to a request, whose caller is checked before its body is read."""
        secret = await self.authenticator.admit(request, route.scope)
        body = await _read_json(request, self.limits.body_bytes)

        def authenticate_and_call(tx: Connection) -> Any:
            request.state.key_id = None  # until the key is found valid again
            caller = self.authenticator.authenticate(tx, secret)
            request.state.key_id = caller.key_id
            return call_route(
                self.engine,
                route,
                request.path_params.values(),
                params=request.query_params,
                body=body,
                caller=caller,
                idempotency_key=request.headers.get("idempotency-key") or None,
            )

        content = await self.group_commit.run(authenticate_and_call)
        if route.path == "/actions/evaluate":
            self.metrics.recommendations.labels(content["recommendation"]).inc()
        return Response(to_json(content), media_type="application/json")


class _Endpoint:
    """Answers the requests of a route. Its signature is for the OpenAPI document only."""

    def __init__(self, server: _Server, route: Route) -> None:
        self._answer = partial(server.answer, route)
        annotations: dict[str, Any] = dict.fromkeys(route.path_names, str)
        if route.query is not None:
            annotations["query"] = Annotated[route.query, Query()]
        if route.body is not None:
            annotations["body"] = Annotated[route.body, Body()]
        kind = inspect.Parameter.KEYWORD_ONLY
        self.__signature__ = inspect.Signature(
            [inspect.Parameter(name, kind, annotation=each) for name, each in annotations.items()]
        )

    async def __call__(self, request: Request) -> Response:
        return await self._answer(request)


class _EngineRoute(APIRoute):
    """A route whose endpoint reads and validates the request itself, as in process."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


async def _read_json(request: Request, limit: int) -> Any:
    """Return the parsed body, or None if it is empty.

    Raises:
        ApiError: 408 if its end never comes, 413 above `limit` bytes, 415 for other content, 422
            if it is not JSON.
    """
    content = bytearray()
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > limit:
                raise ApiError(413, f"a body may have {limit} bytes")
    except ClientDisconnect as error:
        raise ApiError(408, "the client sent only a part of the request") from error
    content_type = request.headers.get("content-type")
    is_json = (content_type or "").split(";")[0].strip().lower() == "application/json"
    if not is_json and (content or content_type is not None):
        raise ApiError(415, "send application/json")
    if not content:
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise invalid_field("body", "not readable as JSON") from error


async def _to_response(request: Request, error: Exception) -> Response:
    """Return the response to a refused request, or to one without a route."""
    if not isinstance(error, ApiError):
        error = not_offered_error(request.method, request.scope["path"])
    content = to_json({"detail": error.detail})
    return Response(content, error.status, error.headers, media_type="application/json")
