"""Any Python value as plain JSON, by a documented fallback that never raises."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import count
from math import isfinite
from pathlib import PurePath
from types import NoneType
from typing import Any
from uuid import UUID

# What a mapping is: a dict is found at once, the class of anything else is looked at.
MAPPING = (dict, Mapping)

DEEPEST = 32
MOST_CONTAINERS = 100_000
MOST_BITS = 14_000


def to_jsonable(value: object) -> Any:
    """Say a value in plain JSON.

    Dates and times become ISO 8601, `Decimal`, `UUID` and paths text, time spans seconds, enums
    their value, sets and tuples lists, bytes text (or their number), dataclasses, pydantic models
    and other objects with `model_dump` mappings, NaN and infinities text. What nothing here knows
    becomes its `repr`. What holds itself ends in `{...}` or `[...]`; so does what lies deeper than
    32 levels, or in more than the first 100,000 containers that hold others.
    """
    return _EXACTLY.get(type(value), _other)(value, None)


def copy_jsonable(value: Any) -> Any:
    """A copy of what is plain JSON already."""
    if type(value) is dict:
        copy = value.copy()  # of its plain words, and there are mostly no others
        for key, one in value.items():
            if type(one) in NESTING:
                copy[key] = copy_jsonable(one)
        return copy
    if type(value) is list:
        return [copy_jsonable(one) if type(one) in NESTING else one for one in value]
    return value


NESTING = frozenset({dict, list})
_WORDS = frozenset({bool, NoneType})
_LARGE = 2**62


def truncate(text: str, longest: int) -> str:
    """Shorten a text to at most `longest` characters and say how much is missing."""
    if len(text) <= longest:
        return text
    note = f" [... {len(text)} characters in all]"
    return text[: max(0, longest - len(note))] + note


# A count of the containers that hold others, and the ids of those that a value lies in.
_Around = list[Any]
_NO_FURTHER: _Around = [None]


def _around(value: object, outer: _Around | None) -> _Around:
    """What lies around the members of a container, where they are looked into at all."""
    if outer is None:
        return [count(), id(value)]
    if len(outer) >= DEEPEST or next(outer[0]) >= MOST_CONTAINERS:
        return _NO_FURTHER
    return [*outer, id(value)]


def _is_shut(value: object, around: _Around | None) -> bool:
    """Whether a container is not looked into: it holds itself, or there would be no end to it."""
    return around is not None and (around is _NO_FURTHER or id(value) in around)


def _other(value: Any, around: _Around | None) -> Any:
    """What is not JSON already."""
    try:
        return _said(value, around)
    except Exception:  # noqa: BLE001 - a user's object may raise anything from its own methods
        return _repr(value)


def _said(value: object, around: _Around | None) -> Any:
    if isinstance(value, MAPPING):
        return _object(value, around)
    if isinstance(value, list | tuple | set | frozenset):
        return _array(value, around)
    for kind, say in _WAYS:
        if isinstance(value, kind):
            return say(value, around)
    return _members(value, around)


def _members(value: Any, around: _Around | None) -> Any:
    fields = dataclasses.is_dataclass(value)
    dump: Any = getattr(value, "model_dump", None)
    if isinstance(value, type) or not (fields or callable(dump)):
        return _repr(value)
    if _is_shut(value, around):
        return _SHUT
    return _any(_fields(value) if fields else dump(), _around(value, around))


def _any(value: object, around: _Around | None) -> Any:
    return _EXACTLY.get(type(value), _other)(value, around)


def _fields(value: Any) -> dict[str, Any]:
    return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}


def _object(value: Mapping[Any, Any], around: _Around | None) -> Any:
    if around is not None and (around is _NO_FURTHER or id(value) in around):  # as `_is_shut`
        return _SHUT
    inner: _Around | None = None  # made where something lies deeper: most mappings hold only words
    try:
        return {
            key if type(key) is str and key.isascii() else replace_surrogates(str(key)): (
                one  # plain already, as most are
                if ((kind := type(one)) is str and one.isascii())
                or kind in _WORDS
                or (kind is float and isfinite(one))
                or (kind is int and -_LARGE < one < _LARGE)
                else _EXACTLY.get(kind, _other)(one, inner or (inner := _around(value, around)))
            )
            for key, one in value.items()
        }
    except Exception:  # noqa: BLE001 - keys may be a user's objects, and other threads may write
        return _repr(value)


def _array(value: Iterable[Any], around: _Around | None) -> Any:
    if around is not None and (around is _NO_FURTHER or id(value) in around):
        return "[...]"
    inner: _Around | None = None
    return [
        one
        if ((kind := type(one)) is str and one.isascii()) or kind in _WORDS
        else _EXACTLY.get(kind, _other)(one, inner or (inner := _around(value, around)))
        for one in value
    ]


_SHUT = "{...}"


def replace_surrogates(text: str) -> str:
    """A text that UTF-8 can say: half a surrogate, as in odd file names, becomes a `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _float(value: float, _: object) -> float | str:
    return value if isfinite(value) else str(value)


def _int(value: int, _: object) -> int | str:
    # Python refuses to write whole numbers of more than 4,300 digits.
    bits = value.bit_length()
    return int(value) if bits <= MOST_BITS else f"<a number of {bits} bits>"


def _text(value: bytes | bytearray, _: object) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"<{len(value)} bytes>"


def exception_text(error: BaseException) -> str:
    """What an exception says. Its text is the code of whoever raised it, too."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a user's object may raise anything from its own methods
        return "its text cannot be read"


def _repr(value: object) -> str:
    try:
        return replace_surrogates(repr(value))
    except Exception:  # noqa: BLE001 - a user's object may raise anything from its own methods
        return f"<{type(value).__name__}>"


Say = Callable[[Any, _Around | None], Any]

_WAYS: tuple[tuple[type | tuple[type, ...], Say], ...] = (
    (Enum, lambda value, around: _any(value.value, around)),
    (str, lambda value, _: replace_surrogates(str(value))),
    (int, _int),
    (float, _float),
    ((datetime, date, time), lambda value, _: value.isoformat()),
    (timedelta, lambda value, _: value.total_seconds()),
    ((Decimal, UUID, PurePath), lambda value, _: str(value)),
    ((bytes, bytearray), _text),
)

# Nearly everything is JSON already. Its types are looked up, and not tried one after the other.
_EXACTLY: dict[type, Say] = {
    NoneType: lambda value, _: value,
    bool: lambda value, _: value,
    str: lambda value, _: value if value.isascii() else replace_surrogates(value),
    int: _int,
    float: _float,
    dict: _object,
    list: _array,
    tuple: _array,
}
