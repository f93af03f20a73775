"""Asking again: which errors pass by themselves, and how long to wait."""

import random
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from bighub_langgraph.openai.errors import BrokenStream
from bighub_langgraph.openai.replies import attribute

__all__ = ["Retry", "counts_against_service", "delays", "is_transient", "retried", "retry_after"]

T = TypeVar("T")

_TRANSIENT_STATUSES = frozenset((408, 409, 429))
_SERVER_ERROR = 500
_OUR_WORLD = (ConnectionError, TimeoutError)
_LONGEST_ASKED_WAIT = 60.0
_CHANCE = random.SystemRandom().random  # whoever seeds `random` gets the same numbers without us


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how slowly to ask again a client that does not retry by itself."""

    attempts: int = 3
    first: float = 0.25
    longest: float = 2.0
    jitter: float = 0.1


def delays(retry: Retry, chance: Callable[[], float] = _CHANCE) -> Iterator[float]:
    """The waits between attempts, in seconds."""
    for attempt in range(retry.attempts - 1):
        yield min(retry.first * 2**attempt, retry.longest) + retry.jitter * chance()


async def retried(
    attempt: Callable[[], Awaitable[T]], retry: Retry, sleep: Callable[[float], Awaitable[None]]
) -> T:
    """Try until it works, the error is not transient, or the attempts are used up."""
    waits = None
    while True:
        try:
            return await attempt()
        except Exception as error:
            waits = waits or delays(retry)
            if not is_transient(error) or (wait := next(waits, None)) is None:
                raise
            asked = retry_after(error)
        await sleep(wait if asked is None else asked)


def is_transient(error: BaseException) -> bool:
    """Say whether the same request may work a little later."""
    status = attribute(error, "status_code")
    if isinstance(status, int):
        return status in _TRANSIENT_STATUSES or status >= _SERVER_ERROR
    return _is_transport_fault(error)


def counts_against_service(error: BaseException) -> bool:
    """Say whether an error speaks against the service: 429, 5xx, a broken stream, no answer."""
    if isinstance(error, BrokenStream):
        return True
    status = attribute(error, "status_code")
    if isinstance(status, int):
        return status == HTTPStatus.TOO_MANY_REQUESTS or status >= _SERVER_ERROR
    return _is_transport_fault(error)


def retry_after(error: BaseException) -> float | None:
    """How long the service asks to wait, in seconds; at most a minute."""
    headers = attribute(attribute(error, "response"), "headers") or {}
    asked = headers.get("retry-after-ms")
    try:
        seconds = float(asked) / 1000 if asked else float(headers["retry-after"])
    except KeyError:
        return None
    except (TypeError, ValueError):
        return _until(headers.get("retry-after"))
    return min(max(seconds, 0.0), _LONGEST_ASKED_WAIT)


def _until(date: Any) -> float | None:
    # Loaded by the few replies that name a date.
    from email.utils import parsedate_to_datetime
    from time import time

    try:
        seconds = parsedate_to_datetime(date).timestamp() - time()
    except (TypeError, ValueError):
        return None
    return min(max(seconds, 0.0), _LONGEST_ASKED_WAIT)


def _is_transport_fault(error: BaseException) -> bool:
    # Looked up and not imported: whoever raises one of OpenAI's errors has imported it.
    connection = getattr(sys.modules.get("openai"), "APIConnectionError", None)
    faults = (*_OUR_WORLD, connection) if connection else _OUR_WORLD
    return isinstance(error, faults)
