"""Frozen dataclasses without slots, made and changed at the price of a dict.

A frozen dataclass sets each field by a call, and `dataclasses.replace` asks each field whether it
takes part. A tool call moves through so many records that both are felt.
"""

from typing import Any, TypeVar

T = TypeVar("T")

# Frozen classes refuse `__dict__ = ...` like any other change.
_set = object.__setattr__


def made(kind: type[T], **fields: Any) -> T:
    """A new one; a field that is left out has its default, which stands on the class."""
    record = object.__new__(kind)
    _set(record, "__dict__", fields)
    return record


def changed(record: T, **fields: Any) -> T:
    """A copy with some fields changed."""
    return changed_by(record, fields)


def changed_by(record: T, fields: dict[str, Any]) -> T:
    """The same, of fields that are at hand as a dict."""
    copy = object.__new__(type(record))
    _set(copy, "__dict__", record.__dict__ | fields)
    return copy
