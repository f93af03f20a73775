"""Errors of the engine's API: an HTTP status, and what is wrong with the request."""

import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)


class ApiError(Exception):
    """The engine refuses a request.

    `status` is an HTTP status; `detail` is a sentence or a list of invalid fields.
    """

    def __init__(
        self,
        status: int,
        detail: str | list[dict[str, Any]],
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.headers = headers
        super().__init__(f"{status}: {detail}")


def not_found_error(kind: str, name: str) -> ApiError:
    """Return the error for an id that does not exist."""
    return ApiError(404, f"there is no {kind} {name!r}")


def invalid_field(path: str, message: str, *, kind: str = "value_error") -> ApiError:
    """Return the error for one invalid field; `path` is dotted, as in `query.limit`."""
    return ApiError(422, [{"loc": path.split("."), "msg": message, "type": kind}])


def store_unavailable(operation: str, error: BaseException) -> ApiError:
    """Log that the store failed, and return the error that the caller gets."""
    # The driver's message may quote arguments of a tool call, so it is not logged.
    log.error("%s: the store failed: %s", operation, type(error).__name__)
    return ApiError(503, "the engine's store cannot be used at the moment")
