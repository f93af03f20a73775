"""Responses stored under an Idempotency-Key, so that a request can safely be sent again."""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from sqlalchemy import delete, select, update

from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.errors import ApiError, invalid_field
from bighub_langgraph.local.schemas.wire_format import AgeInHours, PositiveLimit
from bighub_langgraph.local.settings import HOUR
from bighub_langgraph.local.tables import answers

_MAX_KEY_LENGTH = 255


def run_once(engine: Engine, key: str, request: object, change: Callable[[], Any]) -> Any:
    """Make a change and store its response in one transaction; for a known key only load it.

    `request` is what the key stands for: another request under the same key is refused. A change
    that fails stores nothing, so its key can be used for the corrected request.
    """
    check_key(key)
    try:
        text = json.dumps(request, sort_keys=True, default=dict)
    except (TypeError, ValueError, RecursionError) as error:
        raise invalid_field("body", "JSON that is not too deep") from error
    digest = sha256(text.encode(errors="surrogatepass")).hexdigest()
    has_key = answers.c.idempotency_key == key
    with engine.store.transaction() as tx:
        # Insert the key first: a simultaneous request waits here and then loads this response.
        row = {"idempotency_key": key, "digest": digest, "at": engine.clock()}
        claim = engine.store.insert(answers).on_conflict_do_nothing()
        if tx.execute(claim, row).rowcount:
            response = change()
            tx.execute(update(answers).where(has_key).values(answer=json.dumps(response)))
            return response
        stored_row = tx.execute(select(answers).where(has_key)).one()
    if stored_row.digest != digest:
        raise key_mismatch()
    return json.loads(stored_row.answer)


def purge(
    engine: Engine,
    *,
    only_expired: bool = True,
    older_than_hours: AgeInHours = 24,
    limit: PositiveLimit = 1_000,
) -> dict[str, Any]:
    """Delete stored responses, the oldest first."""
    oldest = select(answers.c.idempotency_key).order_by(answers.c.at).limit(limit)
    if only_expired:
        oldest = oldest.where(answers.c.at < engine.clock() - older_than_hours * HOUR)
    with engine.store.transaction() as tx:
        result = tx.execute(delete(answers).where(answers.c.idempotency_key.in_(oldest)))
    return {"purged": result.rowcount}


def check_key(key: str) -> None:
    """Refuse a key that is empty, too long or not printable."""
    if not (0 < len(key) <= _MAX_KEY_LENGTH and key.isprintable()):
        raise invalid_field("header.Idempotency-Key", "1 to 255 printable characters")


def key_mismatch() -> ApiError:
    """Return the error for a key that was used for another request."""
    return invalid_field(
        "header.Idempotency-Key",
        "this key was used before with another body",
        kind="idempotency_mismatch",
    )
