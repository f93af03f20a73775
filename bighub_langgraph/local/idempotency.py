"""What a request under an Idempotency-Key was answered, so that it may safely come again."""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from sqlalchemy import bindparam, delete, select, update

from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.faults import Refused, invalid
from bighub_langgraph.local.tables import answers

_LONGEST_KEY = 255


def once(engine: Engine, key: str, asked: object, change: Callable[[], Any]) -> Any:
    """Make a change and keep its answer, in one transaction; under a known key only the answer.

    `asked` is what the key stands for: another request under the same key is refused. A change
    that is refused leaves nothing behind, so its key is free for the mended request.
    """
    check_key(key)
    digest = _digest(asked)
    with engine.store.transaction() as tx:
        # Claim the key first: a request at the same time waits here and then gets this answer.
        row = {"idempotency_key": key, "digest": digest, "at": engine.clock()}
        claim = engine.store.insert(answers).on_conflict_do_nothing()
        if tx.execute(claim, row).rowcount:
            answer = change()
            tx.execute(_KEEP, {"key": key, "answer": json.dumps(answer)})
            return answer
        known = tx.execute(_KNOWN, {"key": key}).one()
    if known.digest != digest:
        raise mismatch()
    return json.loads(known.answer)


def purge(engine: Engine, *, only_expired: bool, older_than: float, limit: int) -> dict[str, Any]:
    """Forget answers, the oldest first; `older_than` is in seconds."""
    oldest = select(answers.c.idempotency_key).order_by(answers.c.at).limit(limit)
    if only_expired:
        oldest = oldest.where(answers.c.at < engine.clock() - older_than)
    with engine.store.transaction() as tx:
        gone = tx.execute(delete(answers).where(answers.c.idempotency_key.in_(oldest)))
    return {"purged": gone.rowcount}


def check_key(key: str) -> None:
    """Refuse a key that nobody can read."""
    if not (0 < len(key) <= _LONGEST_KEY and key.isprintable()):
        raise invalid("header.Idempotency-Key", "1 to 255 printable characters")


def mismatch() -> Refused:
    """The refusal of a key that stands for another request."""
    return Refused(
        422,
        [
            {
                "loc": ["header", "Idempotency-Key"],
                "msg": "this key was used before with another body",
                "type": "idempotency_mismatch",
            }
        ],
    )


def _digest(asked: object) -> str:
    try:
        text = json.dumps(asked, sort_keys=True, default=repr)
    except (TypeError, ValueError, RecursionError) as error:
        raise invalid("body", "JSON that is not too deep") from error
    return sha256(text.encode(errors="surrogatepass")).hexdigest()


_KNOWN = select(answers.c.digest, answers.c.answer).where(
    answers.c.idempotency_key == bindparam("key")
)
_KEEP = (
    update(answers)
    .where(answers.c.idempotency_key == bindparam("key"))
    .values(answer=bindparam("answer"))
)
