"""API keys of the server and what they permit. Only their digests are stored."""

import secrets
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, or_, select, update

from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.errors import not_found_error
from bighub_langgraph.local.schemas.responses import ApiKey
from bighub_langgraph.local.settings import DAY
from bighub_langgraph.local.tables import keys

READ, DECIDE, APPROVE, CONTROL = SCOPES = ("read", "decide", "approve", "control")
_MOST_DAYS = 36_500


class Caller(NamedTuple):
    """The key that a request was sent with, and what it permits."""

    key_id: str
    scopes: frozenset[str]

    def may_send(self, scope: str) -> bool:
        """Whether it may send requests of a scope.

        Who may only decide may send answers to its own requests for approval, as reports.
        """
        return scope in self.scopes or (scope == APPROVE and DECIDE in self.scopes)


IN_PROCESS = Caller("in process", frozenset(SCOPES))
ANONYMOUS = Caller("anybody", frozenset(SCOPES))


def create_key(
    engine: Engine, *, label: str, scopes: tuple[str, ...] = SCOPES, days: float | None = None
) -> dict[str, Any]:
    """Create a key. Only this response contains the secret; `is_first` says if it was the first."""
    if not scopes or not set(scopes) <= set(SCOPES):
        raise ValueError(
            f"scopes are some of {', '.join(SCOPES)}, not {', '.join(scopes) or 'none'}"
        )
    if days is not None and not 0 <= days <= _MOST_DAYS:
        raise ValueError(f"a key expires in up to {_MOST_DAYS:,} days, not in {days:g}")
    secret, at = f"bh_{secrets.token_urlsafe(32)}", engine.clock()
    insert = keys.insert().values(
        key_id=f"key_{engine.new_id()[:12]}",
        digest=digest_secret(secret),
        label=label,
        scopes=" ".join(scope for scope in SCOPES if scope in scopes),
        created_at=at,
        expires_at=None if days is None else at + days * DAY,
    )
    with engine.store.transaction() as tx:
        is_first = not has_keys(tx)
        row = tx.execute(insert.returning(keys)).one()
        return {**ApiKey.from_row(row), "key": secret, "is_first": is_first}


def list_keys(engine: Engine) -> list[dict[str, Any]]:
    """Return every key that was ever created, without its secret."""
    with engine.store.transaction() as tx:
        return [ApiKey.from_row(row) for row in tx.execute(select(keys).order_by(keys.c.id))]


def revoke_key(engine: Engine, key_id: str) -> dict[str, Any]:
    """Revoke a key at once."""
    revoked_at = func.coalesce(keys.c.revoked_at, engine.clock())
    statement = update(keys).where(keys.c.key_id == key_id).values(revoked_at=revoked_at)
    with engine.store.transaction() as tx:
        row = tx.execute(statement.returning(keys)).one_or_none()
    if row is None:
        raise not_found_error("key", key_id)
    return ApiKey.from_row(row)


def has_keys(tx: Connection) -> bool:
    """Return whether a key was ever created; from then on every request needs one."""
    return tx.execute(select(keys.c.key_id).limit(1)).first() is not None


def find_caller(tx: Connection, digest: str, at: float) -> Caller | None:
    """Return the caller whose key has this digest, if the key is valid."""
    query = select(keys.c.key_id, keys.c.scopes).where(
        keys.c.digest == digest,
        keys.c.revoked_at.is_(None),
        or_(keys.c.expires_at.is_(None), keys.c.expires_at > at),
    )
    row = tx.execute(query).one_or_none()
    return Caller(row.key_id, frozenset(row.scopes.split())) if row else None


def digest_secret(secret: str) -> str:
    """Return the digest under which a key is stored."""
    # A key is 256 random bits: its plain digest cannot be reversed, and an index finds it.
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
