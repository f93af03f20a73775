"""Frozen dataclasses without slots, made and changed at the price of a dict.

A frozen dataclass sets each field by a call, and `dataclasses.replace` asks each field whether it
takes part. A tool call moves through so many records that both are felt.
"""

from typing import Any, TypeVar

T = TypeVar("T")


def made(kind: type[T], **fields: Any) -> T:
    """A new one; a field that is left out has its default, which stands on the class."""
    record = object.__new__(kind)
    vars(record).update(fields)
    return record


def changed(record: T, **fields: Any) -> T:
    """A copy with some fields changed."""
    copy = object.__new__(type(record))
    members = vars(copy)
    members.update(vars(record))
    members.update(fields)
    return copy
