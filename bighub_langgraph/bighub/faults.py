"""What went wrong between us and BIGHUB, in our words."""

from http import HTTPStatus

from bighub_langgraph.core.errors import (
    EngineError,
    EngineRefused,
    EngineUnavailable,
    NotAuthorized,
)
from bighub_langgraph.core.redaction import redacted_error


def fault(error: Exception) -> EngineError:
    """Say whether BIGHUB is away, or refused what we asked.

    The SDK's exceptions tell by their class and status. Of clients that are not the SDK's, any
    exception means that they are away, but for `TypeError` and the like, which mean that we and
    they do not fit together.
    """
    if isinstance(error, EngineError):
        return error
    said = redacted_error(error)
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        if status in _KEY:
            return NotAuthorized(f"{said}; {_CHECK}")
        return EngineUnavailable(said) if _away(status) else EngineRefused(said)
    if _is_named(error, "BighubAuthError"):
        return NotAuthorized(f"{said}; {_CHECK}")
    if isinstance(error, TypeError | AttributeError | ValueError | LookupError):
        return EngineRefused(said)
    return EngineUnavailable(said)


_KEY = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_CHECK = "check BIGHUB_API_KEY and its rights"
_AWAY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


def _away(status: int) -> bool:
    return status in _AWAY or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def _is_named(error: Exception, name: str) -> bool:
    # By name: looking the class up would import the SDK where a user brought a client of their own.
    return any(kind.__name__ == name for kind in type(error).__mro__)
