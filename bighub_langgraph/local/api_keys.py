"""API keys of the server and what they permit. Only their digests are stored."""

import secrets
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, or_, select, update

from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.engine_store import Prepared
from bighub_langgraph.local.errors import not_found
from bighub_langgraph.local.schemas.wire_format import format_timestamp
from bighub_langgraph.local.tables import keys

READ, DECIDE, CONTROL = SCOPES = ("read", "decide", "control")
_DAY = 86_400.0


class Caller(NamedTuple):
    """The key that a request was sent with, and what it permits."""

    key_id: str
    scopes: frozenset[str]


ANONYMOUS = Caller("anybody", frozenset(SCOPES))


def create_key(
    engine: Engine, *, label: str, scopes: tuple[str, ...] = SCOPES, days: float | None = None
) -> dict[str, Any]:
    """Create a key. Only this response contains the secret."""
    if not scopes or not set(scopes) <= set(SCOPES):
        raise ValueError(
            f"scopes are some of {', '.join(SCOPES)}, not {', '.join(scopes) or 'none'}"
        )
    secret, at = f"bh_{secrets.token_urlsafe(32)}", engine.clock()
    row = {
        "key_id": f"key_{engine.new_id()[:12]}",
        "digest": digest_secret(secret),
        "label": label,
        "scopes": " ".join(scope for scope in SCOPES if scope in scopes),
        "created_at": at,
        "expires_at": None if days is None else at + days * _DAY,
    }
    with engine.store.transaction() as tx:
        tx.execute(keys.insert(), row)
        return {**_key_view(tx.execute(_select_key(str(row["key_id"]))).one()), "key": secret}


def list_keys(engine: Engine) -> list[dict[str, Any]]:
    """Return every key that was ever created, without its secret."""
    with engine.store.transaction() as tx:
        return [_key_view(row) for row in tx.execute(select(keys).order_by(keys.c.id))]


def revoke_key(engine: Engine, key_id: str) -> dict[str, Any]:
    """Revoke a key at once."""
    with engine.store.transaction() as tx:
        valid = update(keys).where(keys.c.key_id == key_id, keys.c.revoked_at.is_(None))
        tx.execute(valid.values(revoked_at=engine.clock()))
        row = tx.execute(_select_key(key_id)).one_or_none()
    if row is None:
        raise not_found("key", key_id)
    return _key_view(row)


def has_keys(tx: Connection) -> bool:
    """Return whether a key was ever created; from then on every request needs one."""
    return bool(_ANY_KEY.rows(tx))


def find_caller(tx: Connection, digest: str, at: float) -> Caller | None:
    """Return the caller whose key has this digest, if the key is valid."""
    rows = _BY_DIGEST.rows(tx, digest=digest, at=at)
    return Caller(rows[0][0], frozenset(rows[0][1].split())) if rows else None


def digest_secret(secret: str) -> str:
    """Return the digest under which a key is stored."""
    # A key is 256 random bits: its plain digest cannot be reversed, and an index finds it.
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


_ANY_KEY = Prepared(select(keys.c.key_id).limit(1))
_BY_DIGEST = Prepared(
    select(keys.c.key_id, keys.c.scopes).where(
        keys.c.digest == bindparam("digest"),
        keys.c.revoked_at.is_(None),
        or_(keys.c.expires_at.is_(None), keys.c.expires_at > bindparam("at")),
    )
)


def _select_key(key_id: str) -> Any:
    return select(keys).where(keys.c.key_id == key_id)


def _key_view(row: Row[Any]) -> dict[str, Any]:
    return {
        "key_id": row.key_id,
        "label": row.label,
        "scopes": row.scopes.split(),
        "created_at": format_timestamp(row.created_at),
        "expires_at": format_timestamp(row.expires_at),
        "revoked_at": format_timestamp(row.revoked_at),
    }
