"""Who may send requests to the server, and how often: API keys, scopes and rate limits."""

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from fastapi import Request
from fastapi.security import APIKeyHeader, HTTPBearer
from sqlalchemy import Connection

from bighub_langgraph.core.urls import split_url
from bighub_langgraph.local.api_keys import ANONYMOUS, Caller, digest_secret, find_caller, has_keys
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.errors import ApiError
from bighub_langgraph.local.server.group_commit import GroupCommit

log = logging.getLogger("bighub_langgraph")

API_KEY = APIKeyHeader(name="X-API-Key", auto_error=False)
BEARER_TOKEN = HTTPBearer(auto_error=False)
_MAX_CALLERS = 10_000  # in the cache of keys, and in the rate limiter


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """The server's limits for each caller or address."""

    body_bytes: int = 2_000_000
    requests_per_minute: int = 6_000
    wrong_keys_per_minute: int = 60  # for each address; then keys are not looked up any more
    request_seconds: float = 15.0  # to send a whole request
    connections_per_address: int = 256


class Authenticator:
    """Admits callers by their key, scope and rate.

    A caller whose key was valid a moment ago is admitted from a cache, so that its request can be
    read. `authenticate` then checks the key in the transaction that answers the request, so that a
    revoked key ends at once.
    """

    def __init__(self, engine: Engine, group_commit: GroupCommit, limits: ServerLimits) -> None:
        self._engine = engine
        self._group_commit = group_commit
        self._rate = RateLimiter(limits.requests_per_minute)
        self._wrong_keys = RateLimiter(limits.wrong_keys_per_minute)
        self._cache: dict[str | None, Caller] = {}

    async def admit(self, request: Request, scope: str) -> str | None:
        """Return the request's key. Refuse the request before its body is read.

        Raises:
            ApiError: 401 without a valid key, 403 for another scope and for a request of a web
                page on another site, 429 above a rate limit.
        """
        _refuse_other_sites(request)
        bearer = await BEARER_TOKEN(request)
        secret = await API_KEY(request) or (bearer.credentials if bearer else None)
        address = request.client.host if request.client else "unknown"
        caller = self._cache.get(secret and digest_secret(secret))
        if caller is None:
            _refuse_for(self._wrong_keys.take(address, 0))
            try:
                caller = await self._group_commit.run(lambda tx: self.authenticate(tx, secret))
            except ApiError:
                self._wrong_keys.take(address)
                raise
        request.state.key_id = caller.key_id
        _refuse_for(self._rate.take(address if caller is ANONYMOUS else caller.key_id))
        if not caller.may_send(scope):
            raise ApiError(403, f"this key may not {scope}; it may {', '.join(caller.scopes)}")
        return secret

    def authenticate(self, tx: Connection, secret: str | None) -> Caller:
        """Return the caller with this key, or an anonymous one without keys; else raise a 401."""
        digest = None if secret is None else digest_secret(secret)
        if digest is not None:
            caller = find_caller(tx, digest, self._engine.clock())
            problem = "this API key is unknown, revoked or expired"
        else:
            caller = None if has_keys(tx) else ANONYMOUS
            problem = "this server has keys: send one as X-API-Key or as a bearer token"
        if caller is None:
            if self._cache.pop(digest, None) is ANONYMOUS:
                log.warning(
                    "an API key was created: requests without a key are refused from now on"
                )
            raise ApiError(401, problem, headers={"WWW-Authenticate": "Bearer"})
        if len(self._cache) >= _MAX_CALLERS:
            self._cache.clear()
        self._cache[digest] = caller
        return caller


def _refuse_other_sites(request: Request) -> None:
    """Refuse what a web page of another site has a browser send, whatever its body."""
    if request.method in {"GET", "HEAD"}:  # they change nothing, and the page cannot read them
        return
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "none")
    is_own = origin is None or split_url(origin).netloc == request.headers.get("host")
    if not is_own or site not in {"none", "same-origin"}:
        raise ApiError(403, "requests of web pages on other sites are refused")


def _refuse_for(seconds: float) -> None:
    if seconds:
        raise ApiError(
            429,
            f"too many requests; try again in {seconds:.1f} seconds",
            headers={"Retry-After": str(math.ceil(seconds))},
        )


class RateLimiter:
    """A token bucket for each caller; it refills evenly."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = monotonic) -> None:
        self._capacity = float(per_minute)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # caller: tokens, time
        self._lock = threading.Lock()

    def take(self, caller: str, count: int = 1) -> float:
        """Take tokens, and return 0; return the seconds to wait if the bucket is empty."""
        now = self._clock()
        with self._lock:
            tokens, at = self._buckets.pop(caller, (self._capacity, now))
            tokens = min(self._capacity, tokens + max(0.0, now - at) * self._capacity / 60)
            wait = 0.0 if tokens >= 1 else (1 - tokens) * 60 / self._capacity
            self._buckets[caller] = (tokens if wait else tokens - count, now)
            if len(self._buckets) > _MAX_CALLERS:
                del self._buckets[next(iter(self._buckets))]
        return wait
