"""Authentication of HTTP requests by API key."""

import math

from sqlalchemy import Connection
from starlette.requests import Request

from bighub_langgraph.local.api_keys import (
    ANONYMOUS,
    Caller,
    digest_secret,
    find_caller,
    has_keys,
)
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.errors import ApiError
from bighub_langgraph.local.server.group_commit import GroupCommit
from bighub_langgraph.local.server.rate_limit import RateLimiter, ServerLimits

_MAX_CACHED = 10_000


class Authenticator:
    """Admits callers by their key, scope and rate.

    A caller whose key was valid a moment ago is admitted from a cache, so that its request can be
    read. `authenticate` then checks the key in the transaction that answers the request, so that a
    revoked key ends at once.
    """

    def __init__(
        self,
        engine: Engine,
        group_commit: GroupCommit,
        limits: ServerLimits,
        *,
        keys_required: bool | None,
    ) -> None:
        self._engine = engine
        self._group_commit = group_commit
        self._rate = RateLimiter(limits)
        self._keys_required = keys_required
        self._cache: dict[str | None, Caller] = {}

    async def admit(self, request: Request, scope: str) -> str | None:
        """Return the request's key. Refuse the request before its body is read.

        Raises:
            ApiError: 401 without a valid key, 403 for another scope, 429 above the rate limit.
        """
        secret = _read_secret(request)
        caller = self._cache.get(secret and digest_secret(secret))
        if caller is None:
            caller = await self._group_commit.run(lambda tx: self.authenticate(tx, secret))
        request.state.key_id = caller.key_id
        address = request.client.host if request.client else "unknown"
        if seconds := self._rate.take(address if caller is ANONYMOUS else caller.key_id):
            raise ApiError(
                429,
                f"too many requests; try again in {seconds:.1f} seconds",
                headers={"Retry-After": str(math.ceil(seconds))},
            )
        if scope not in caller.scopes:
            raise ApiError(403, f"this key may not {scope}; it may {', '.join(caller.scopes)}")
        return secret

    def authenticate(self, tx: Connection, secret: str | None) -> Caller:
        """Return the caller with this key; without keys in the store, an anonymous one.

        Raises:
            ApiError: 401 if the key is missing or not valid.
        """
        digest = None if secret is None else digest_secret(secret)
        if digest is not None:
            caller = find_caller(tx, digest, self._engine.clock())
            problem = "this API key is unknown, revoked or expired"
        else:
            required = has_keys(tx) if self._keys_required is None else self._keys_required
            caller = None if required else ANONYMOUS
            problem = "send an API key as X-API-Key or as a bearer token"
        if caller is None:
            self._cache.pop(digest, None)
            raise ApiError(401, problem, headers={"WWW-Authenticate": "Bearer"})
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        self._cache[digest] = caller
        return caller


def _read_secret(request: Request) -> str | None:
    key = request.headers.get("x-api-key")
    if key:
        return key
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None
