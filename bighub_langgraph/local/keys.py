"""API keys of the server: who may do what. Only their digests are stored."""

import secrets
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, or_, select, update

from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.faults import not_found
from bighub_langgraph.local.store import Prepared
from bighub_langgraph.local.tables import keys
from bighub_langgraph.local.times import iso

SCOPES = ("read", "decide", "control")
_DAY = 86_400.0


class Caller(NamedTuple):
    """Whoever sent a request, and what they may do."""

    key_id: str
    scopes: frozenset[str]


ANYBODY = Caller("anybody", frozenset(SCOPES))


def create_key(
    engine: Engine, *, label: str, scopes: tuple[str, ...] = SCOPES, days: float | None = None
) -> dict[str, Any]:
    """Make a key. The answer is the only place where it can be read."""
    if not scopes or not set(scopes) <= set(SCOPES):
        raise ValueError(
            f"scopes are some of {', '.join(SCOPES)}, not {', '.join(scopes) or 'none'}"
        )
    secret, at = f"bh_{secrets.token_urlsafe(32)}", engine.clock()
    row = {
        "key_id": f"key_{engine.new_id()[:12]}",
        "digest": digest_of(secret),
        "label": label,
        "scopes": " ".join(scope for scope in SCOPES if scope in scopes),
        "created_at": at,
        "expires_at": None if days is None else at + days * _DAY,
    }
    with engine.store.transaction() as tx:
        tx.execute(keys.insert(), row)
        return {**_view(tx.execute(_find(str(row["key_id"]))).one()), "key": secret}


def list_keys(engine: Engine) -> list[dict[str, Any]]:
    """Every key ever made, without its secret."""
    with engine.store.transaction() as tx:
        return [_view(row) for row in tx.execute(select(keys).order_by(keys.c.id))]


def revoke_key(engine: Engine, key_id: str) -> dict[str, Any]:
    """End a key at once."""
    with engine.store.transaction() as tx:
        ended = update(keys).where(keys.c.key_id == key_id, keys.c.revoked_at.is_(None))
        tx.execute(ended.values(revoked_at=engine.clock()))
        row = tx.execute(_find(key_id)).one_or_none()
    if row is None:
        raise not_found("key", key_id)
    return _view(row)


def any_key(engine: Engine) -> bool:
    """Whether a key was ever made; from then on every request needs one."""
    with engine.store.transaction() as tx:
        return any_key_in(tx)


def any_key_in(tx: Connection) -> bool:
    """Whether a key was ever made, within a transaction."""
    return bool(_ANY.rows(tx))


def caller_of(tx: Connection, digest: str, at: float) -> Caller | None:
    """Whose key has this digest, while it is good."""
    found = _BY_DIGEST.rows(tx, digest=digest, at=at)
    return Caller(found[0][0], frozenset(found[0][1].split())) if found else None


def digest_of(secret: str) -> str:
    """What of a key is stored."""
    # A key is 256 random bits: a plain digest cannot be guessed back, and is found by an index.
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


_ANY = Prepared(select(keys.c.key_id).limit(1))
_BY_DIGEST = Prepared(
    select(keys.c.key_id, keys.c.scopes).where(
        keys.c.digest == bindparam("digest"),
        keys.c.revoked_at.is_(None),
        or_(keys.c.expires_at.is_(None), keys.c.expires_at > bindparam("at")),
    )
)


def _find(key_id: str) -> Any:
    return select(keys).where(keys.c.key_id == key_id)


def _view(row: Row[Any]) -> dict[str, Any]:
    return {
        "key_id": row.key_id,
        "label": row.label,
        "scopes": row.scopes.split(),
        "created_at": iso(row.created_at),
        "expires_at": iso(row.expires_at),
        "revoked_at": iso(row.revoked_at),
    }
