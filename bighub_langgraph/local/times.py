"""Moments as the wire writes them."""

from datetime import UTC, datetime
from functools import lru_cache

from bighub_langgraph.local.faults import invalid


@lru_cache(maxsize=4_096)  # decision after decision shows the same precedents
def iso(at: float | None) -> str | None:
    """A moment in ISO 8601, in UTC."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()


def moment(text: str, where: str) -> float:
    """The moment an ISO 8601 text names; without a zone it is UTC."""
    try:
        read = datetime.fromisoformat(text)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise invalid(where, f"{text!r} is no ISO 8601 time") from error
