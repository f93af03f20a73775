"""Any Python value as plain JSON, by a documented fallback that never raises."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from pathlib import PurePath
from types import NoneType
from typing import Any
from uuid import UUID

# What a mapping is: a dict is found at once, the class of anything else is looked at.
MAPPING = (dict, Mapping)

DEEPEST = 32
MOST_BITS = 14_000


def plain(value: object, depth: int = 0) -> Any:
    """Say a value in plain JSON.

    Dates and times become ISO 8601, `Decimal`, `UUID` and paths text, time spans seconds, enums
    their value, sets and tuples lists, bytes text (or their number), dataclasses, pydantic models
    and other objects with `model_dump` mappings, NaN and infinities text. What nothing here knows
    becomes its `repr`; so does what lies deeper than 32 levels or holds itself.
    """
    return _EXACTLY.get(type(value), _other)(value, depth)


def copied(value: Any) -> Any:
    """A copy of what is plain JSON already."""
    if type(value) is dict:
        copy = value.copy()  # of its plain words, and there are mostly no others
        for key, one in value.items():
            if type(one) in NESTING:
                copy[key] = copied(one)
        return copy
    if type(value) is list:
        return [copied(one) if type(one) in NESTING else one for one in value]
    return value


NESTING = frozenset({dict, list})
_WORDS = frozenset({bool, NoneType})


def cut(text: str, longest: int) -> str:
    """Shorten a text to at most `longest` characters and say how much is missing."""
    if len(text) <= longest:
        return text
    note = f" [... {len(text)} characters in all]"
    return text[: max(0, longest - len(note))] + note


def _other(value: Any, depth: int) -> Any:
    """What is neither JSON already nor deeper than we look."""
    if depth >= DEEPEST:
        return _repr(value)
    try:
        return _said(value, depth)
    except Exception:  # noqa: BLE001 - a user's object may raise anything from its own methods
        return _repr(value)


def _said(value: object, depth: int) -> Any:
    if isinstance(value, MAPPING):
        return _object(value, depth)
    if isinstance(value, list | tuple | set | frozenset):
        return _array(value, depth)
    for kind, say in _WAYS:
        if isinstance(value, kind):
            return say(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
        return plain(fields, depth + 1)
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return plain(dump(), depth + 1)
    return _repr(value)


def _object(value: Mapping[Any, Any], depth: int) -> Any:
    if depth >= DEEPEST:
        return _repr(value)
    deeper = depth + 1
    try:
        return {
            key if type(key) is str and key.isascii() else mended(str(key)): (
                one  # plain already, as most are
                if ((kind := type(one)) is str and one.isascii())
                or kind in _WORDS
                or (kind is float and isfinite(one))
                else _EXACTLY.get(kind, _other)(one, deeper)
            )
            for key, one in value.items()
        }
    except Exception:  # noqa: BLE001 - keys may be a user's objects, and other threads may write
        return _repr(value)


def _array(value: Iterable[Any], depth: int) -> Any:
    if depth >= DEEPEST:
        return _repr(value)
    deeper = depth + 1
    return [_EXACTLY.get(type(one), _other)(one, deeper) for one in value]


def mended(text: str) -> str:
    """A text that UTF-8 can say: half a surrogate, as in odd file names, becomes a `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _float(value: float, _: int) -> float | str:
    return value if isfinite(value) else str(value)


def _int(value: int, _: int) -> int | str:
    # Python refuses to write whole numbers of more than 4,300 digits.
    bits = value.bit_length()
    return int(value) if bits <= MOST_BITS else f"<a number of {bits} bits>"


def _text(value: bytes | bytearray) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"<{len(value)} bytes>"


def _repr(value: object) -> str:
    try:
        return mended(repr(value))
    except Exception:  # noqa: BLE001 - a user's object may raise anything from its own methods
        return f"<{type(value).__name__}>"


_WAYS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (Enum, lambda value: plain(value.value)),
    (str, lambda value: mended(str(value))),
    (int, lambda value: _int(value, 0)),
    (float, lambda value: _float(value, 0)),
    ((datetime, date, time), lambda value: value.isoformat()),
    (timedelta, lambda value: value.total_seconds()),
    ((Decimal, UUID, PurePath), str),
    ((bytes, bytearray), _text),
)

# Nearly everything is JSON already. Its types are looked up, and not tried one after the other.
_EXACTLY: dict[type, Callable[[Any, int], Any]] = {
    NoneType: lambda value, _: value,
    bool: lambda value, _: value,
    str: lambda value, _: value if value.isascii() else mended(value),
    int: _int,
    float: _float,
    dict: _object,
    list: _array,
    tuple: _array,
}
