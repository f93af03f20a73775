"""Answers that are not a success: a status, and what the caller should know."""

from typing import Any


class Refused(Exception):
    """The engine does not accept a request."""

    def __init__(self, status: int, detail: str | list[dict[str, Any]]) -> None:
        self.status = status
        self.detail = detail
        super().__init__(f"{status}: {detail}")


def not_found(what: str, name: str) -> Refused:
    """Nothing is known under a name."""
    return Refused(404, f"no {what} is known as {name!r}")


def invalid(where: str, message: str) -> Refused:
    """One field of a request is wrong."""
    return Refused(422, [{"loc": where.split("."), "msg": message, "type": "value_error"}])
