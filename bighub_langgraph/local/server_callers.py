"""Who asks the server: callers by their keys."""

from fastapi import Request
from sqlalchemy import Connection

from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.faults import Refused
from bighub_langgraph.local.keys import ANYBODY, Caller, any_key_in, caller_of, digest_of

_MOST_KNOWN = 10_000


class Callers:
    """The callers whose key was good a moment ago, and those whose key is good now.

    Only a request of the first kind is read; whether it is of the second kind is looked up in the
    transaction that answers it, so that a key ends when it is revoked.
    """

    def __init__(self, engine: Engine, *, keys_required: bool | None) -> None:
        self._engine = engine
        self._keys_required = keys_required
        self._known: dict[str | None, Caller] = {}

    def known(self, secret: str | None) -> Caller | None:
        """Whose key it was when it was last looked up."""
        return self._known.get(None if secret is None else digest_of(secret))

    def good(self, tx: Connection, secret: str | None) -> Caller:
        """Whose key it is; without keys in the store, anybody's."""
        digest = None if secret is None else digest_of(secret)
        try:
            caller = self._anybody(tx) if digest is None else self._holder(tx, digest)
        except Refused:
            self._known.pop(digest, None)
            raise
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[digest] = caller
        return caller

    def _anybody(self, tx: Connection) -> Caller:
        if any_key_in(tx) if self._keys_required is None else self._keys_required:
            raise Refused(401, "send an API key as X-API-Key or as a bearer token")
        return ANYBODY

    def _holder(self, tx: Connection, digest: str) -> Caller:
        caller = caller_of(tx, digest, self._engine.clock())
        if caller is None:
            raise Refused(401, "this API key is unknown, revoked or expired")
        return caller


def secret_of(request: Request) -> str | None:
    """The key that a request was sent with."""
    given = request.headers.get("x-api-key")
    if given:
        return given
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None
