"""Retry requests to BIGHUB, and classify what a client raises."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from math import inf
from time import monotonic
from typing import Any

from bighub_langgraph.core.errors import (
    EngineAuthError,
    EngineError,
    EngineRequestError,
    EngineUnavailable,
)
from bighub_langgraph.core.redaction import redact_exception

_FIRST_DELAY = 0.25  # seconds; doubles with each retry
_TIMER_TOLERANCE = 0.001  # seconds that a timer may end early


async def retry(
    request: Callable[[float | None], Awaitable[Any]],
    retries: int,
    sleep: Callable[[float], Awaitable[None]] | None,
    seconds: float | None = None,
) -> Any:
    """Send a request, such as an evaluation; retry it after faults that may pass.

    For a client that retries by itself, as those of the SDK do, `retries` is zero.

    Args:
        request: Sends it once, within the seconds that it is called with.
        retries: How often it is sent again.
        sleep: Waits between the tries.
        seconds: The time for all tries together.

    Raises:
        EngineError: The last try failed, or the fault is one that does not pass.
    """
    deadline = inf if seconds is None else monotonic() + seconds
    for attempt in range(retries + 1):
        try:
            return await request(None if seconds is None else deadline - monotonic())
        except Exception as error:
            if isinstance(error, TimeoutError) and monotonic() + _TIMER_TOLERANCE >= deadline:
                raise EngineUnavailable(f"BIGHUB gave no answer in {seconds:g} seconds") from error
            engine_error, delay = classify_error(error), _FIRST_DELAY * 2**attempt
            may_pass = isinstance(engine_error, EngineUnavailable)
            is_last = attempt == retries or monotonic() + delay >= deadline
            if is_last or sleep is None or not may_pass:
                raise engine_error from error
            await sleep(delay)
    raise AssertionError("unreachable: the last try returns or raises")


def classify_error(error: Exception) -> EngineError:
    """Return the `EngineError` for an exception of a client.

    Exceptions of the SDK are classified by their class and status. Of other clients any exception
    means that BIGHUB is unreachable, except `TypeError` and the like: the client does not fit.
    """
    if isinstance(error, EngineError):
        return error
    message = redact_exception(error)
    status = getattr(error, "status_code", None)
    # By name: looking the class up would import the SDK where a user passed another client.
    is_auth_error = any(kind.__name__ == "BighubAuthError" for kind in type(error).__mro__)
    if status in _AUTH_STATUSES or (is_auth_error and not isinstance(status, int)):
        return EngineAuthError(f"{message}; check BIGHUB_API_KEY and its rights")
    if isinstance(status, int):
        is_unavailable = status in _UNAVAILABLE or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    else:
        is_unavailable = not isinstance(
            error, TypeError | AttributeError | ValueError | LookupError
        )
    return EngineUnavailable(message) if is_unavailable else EngineRequestError(message)


_AUTH_STATUSES = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_UNAVAILABLE = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
)
