"""Retries and the circuit breaker around requests to the model's service."""

import random
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from time import time
from typing import TypeVar

from bighub_langgraph.circuit_breaker import CircuitBreaker
from bighub_langgraph.openai.errors import CircuitOpenError, StreamInterruptedError
from bighub_langgraph.openai.response_parsing import get_field

T = TypeVar("T")

MAX_RETRY_AFTER = 60.0  # seconds

# Not the global generator: a user who seeds `random` gets the same numbers with and without us.
_random = random.SystemRandom().random


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a client that does not retry by itself is retried; times in seconds."""

    attempts: int = 3
    first_delay: float = 0.25
    max_delay: float = 2.0
    jitter: float = 0.1


def delays(policy: RetryPolicy, random_number: Callable[[], float] = _random) -> Iterator[float]:
    """Yield the delays between the attempts, in seconds."""
    for attempt in range(policy.attempts - 1):
        delay = min(policy.first_delay * 2**attempt, policy.max_delay)
        yield delay + policy.jitter * random_number()


async def retry_transient(
    attempt: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    sleep: Callable[[float], Awaitable[None]],
) -> T:
    """Repeat an attempt until it succeeds, its error is not transient, or no attempts are left."""
    remaining_delays = delays(policy)
    while True:
        try:
            return await attempt()
        except Exception as error:
            if not is_transient(error) or (delay := next(remaining_delays, None)) is None:
                raise
            retry_after = parse_retry_after(error)
        await sleep(delay if retry_after is None else retry_after)


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    status = get_field(error, "status_code")
    return status in {408, 409} or counts_against_service(error)


def counts_against_service(error: BaseException) -> bool:
    """Whether an error is the service's and not the caller's: 429, 5xx, no or half a response."""
    status = get_field(error, "status_code")
    if isinstance(status, int):
        return status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    # Looked up, not imported: code that raises one of OpenAI's errors has imported it.
    api_error = getattr(sys.modules.get("openai"), "APIConnectionError", ConnectionError)
    kinds = ConnectionError | TimeoutError | StreamInterruptedError | api_error
    return isinstance(error, kinds)


def parse_retry_after(error: BaseException) -> float | None:
    """Return how long the service wants us to wait, in seconds; at most a minute."""
    from email.utils import parsedate_to_datetime  # slow to import, and seldom needed

    headers = get_field(get_field(error, "response"), "headers") or {}
    try:
        if milliseconds := headers.get("retry-after-ms"):
            seconds = float(milliseconds) / 1000
        elif (text := headers["retry-after"])[:1].isdigit():
            seconds = float(text)
        else:
            seconds = parsedate_to_datetime(text).timestamp() - time()
    except (KeyError, TypeError, ValueError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


class ServiceBreaker(CircuitBreaker):
    """The circuit breaker around the requests to the model's service."""

    def counts(self, error: BaseException) -> bool:
        """Whether the service failed."""
        return counts_against_service(error)

    def make_error(self) -> CircuitOpenError:
        """Return the error for a request that is not sent."""
        return CircuitOpenError(
            f"the model's service failed {self.max_failures} times in a row; "
            f"no request is sent for {self.reset_seconds:g} seconds"
        )
