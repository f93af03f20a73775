"""Any Python value as plain JSON, by a documented fallback that never raises."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

DEEPEST = 32
MOST_BITS = 14_000


def plain(value: object, depth: int = 0) -> Any:
    """Say a value in plain JSON.

    Dates and times become ISO 8601, `Decimal`, `UUID` and paths text, time spans seconds, enums
    their value, sets and tuples lists, bytes text (or their number), dataclasses, pydantic models
    and other objects with `model_dump` mappings, NaN and infinities text. What nothing here knows
    becomes its `repr`; so does what lies deeper than 32 levels or holds itself.
    """
    if value is None or type(value) is bool:
        return value
    if depth >= DEEPEST:
        return _repr(value)
    try:
        return _said(value, depth)
    except Exception:  # noqa: BLE001 - a user's object may raise anything from its own methods
        return _repr(value)


def cut(text: str, longest: int) -> str:
    """Shorten a text to at most `longest` characters and say how much is missing."""
    if len(text) <= longest:
        return text
    note = f" [... {len(text)} characters in all]"
    return text[: max(0, longest - len(note))] + note


def _said(value: object, depth: int) -> Any:
    if isinstance(value, Mapping):
        return {mended(str(key)): plain(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one, depth + 1) for one in value]
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


def mended(text: str) -> str:
    """A text that UTF-8 can say: half a surrogate, as in odd file names, becomes a `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _float(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _int(value: int) -> int | str:
    # Python refuses to write whole numbers of more than 4,300 digits.
    return (
        int(value)
        if value.bit_length() <= MOST_BITS
        else f"<a number of {value.bit_length()} bits>"
    )


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
    (int, _int),
    (float, _float),
    ((datetime, date, time), lambda value: value.isoformat()),
    (timedelta, lambda value: value.total_seconds()),
    ((Decimal, UUID, PurePath), str),
    ((bytes, bytearray), _text),
)
