"""Convert any Python value to JSON-compatible data; a conversion always ends and never raises.

Kept by hand on purpose. `pydantic_core.to_jsonable_python` leaves NaN and infinities, raises for
unknown types and undecodable text, and does not end in reasonable time for containers that share
members (60 nested pairs of one list). A tool's output is converted after its side effect, where a
failure or a hang is not acceptable.
"""

import dataclasses
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from pathlib import PurePath
from types import NoneType
from typing import Any
from uuid import UUID

from bighub_langgraph.core.errors import InvalidCall

# For `isinstance`: the exact class first, which is much faster than the abstract one.
MAPPING = (dict, Mapping)

SEQUENCE = (list, tuple, set, frozenset)

# JSON's own containers.
CONTAINERS = frozenset({dict, list})

MAX_DEPTH = 32
MAX_CONTAINERS = 100_000
MAX_INTEGER_BITS = 14_000  # Python refuses to print integers of more than 4,300 digits


def to_jsonable(value: object) -> Any:
    """Return a JSON-compatible copy of a value.

    Dates and times become ISO 8601, `Decimal`, `UUID` and paths text, time spans seconds, enums
    their value, sets and tuples lists, bytes text (or their length), dataclasses, pydantic models
    and other objects with `model_dump` mappings, NaN and infinities text. Any other object becomes
    its `repr`. A container inside itself becomes `{...}` or `[...]`, and so does one deeper than 32
    levels, or beyond the first 100,000 containers that are nested in others.
    """
    if (kind := type(value)) in _LEAVES:
        return _LEAVES[kind](value)
    return _Conversion().convert(value, ())


def copy_jsonable(value: Any) -> Any:
    """Return a deep copy of JSON-compatible data."""
    if type(value) is dict:
        copy = value.copy()
        for key, member in value.items():
            if type(member) in CONTAINERS:
                copy[key] = copy_jsonable(member)
        return copy
    if type(value) is list:
        return [copy_jsonable(member) if type(member) in CONTAINERS else member for member in value]
    return value


def digest(value: object, *, of: str = "value") -> str:
    """Return the digest of JSON-compatible data, whose members' order does not matter.

    `of` says what it is, for the error message.

    Raises:
        InvalidCall: The value cannot be written as JSON.
    """
    try:
        text = _canonical(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidCall(f"the arguments of {of} are not plain JSON: {error}") from error
    return hashlib.sha256(text.encode()).hexdigest()[:32]


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def truncate(text: str, max_length: int) -> str:
    """Return a text of at most `max_length` characters that says how long the whole one is."""
    if len(text) <= max_length:
        return text
    note = f" [... {len(text)} characters in all]"
    return text[: max(0, max_length - len(note))] + note


def short_repr(value: object) -> str:
    """Return the `repr` of a value, at most one line of a terminal long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - see above


def replace_surrogates(text: str) -> str:
    """Return a text that UTF-8 can encode: lone surrogates, as in odd file names, become `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def replace_all_surrogates(value: Any) -> Any:
    """Return a value whose texts, also within dicts and lists, UTF-8 can encode."""
    if type(value) is str:
        return replace_surrogates(value)
    if type(value) is dict:
        return {
            replace_all_surrogates(key): replace_all_surrogates(member)
            for key, member in value.items()
        }
    return [replace_all_surrogates(member) for member in value] if type(value) is list else value


def find_non_finite(value: object, *path: str) -> Iterator[tuple[str, ...]]:
    """Yield the places of numbers in validated arguments that are infinite or NaN.

    JSON has no such number, but types read a text like "NaN" as one, and no limit holds for it.
    """
    members: Iterable[tuple[object, object]] = ()
    if isinstance(value, float):
        if not isfinite(value):
            yield path
    elif isinstance(value, MAPPING):
        members = value.items()
    elif isinstance(value, (*SEQUENCE, deque)):
        members = enumerate(value)
    elif hasattr(type(value), "model_fields"):  # a model of pydantic
        members = [*vars(value).items(), *(getattr(value, "model_extra", None) or {}).items()]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = _dataclass_fields(value).items()
    for name, member in members:
        if type(member) not in _FINITE and not (type(member) is float and isfinite(member)):
            yield from find_non_finite(member, *path, str(name))


def exception_text(error: BaseException) -> str:
    """Return the text of an exception, whose `__str__` may itself raise."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a user's object may raise anything from its own methods
        return "its text cannot be read"


class _Conversion:
    """One conversion, with its count of nested containers."""

    _containers = 0

    def convert(self, value: Any, path: tuple[int, ...]) -> Any:
        """Convert a value; `path` has the ids of the containers around it."""
        if (kind := type(value)) in _LEAVES:
            return _LEAVES[kind](value)
        try:
            if isinstance(value, MAPPING):
                return self._convert_members(value, value, path)
            if isinstance(value, SEQUENCE):
                inner = self._enter(value, path)
                return "[...]" if inner is None else [self.convert(item, inner) for item in value]
            return self._convert_object(value, path)
        except Exception:  # noqa: BLE001 - a user's object may raise anything from its own methods
            return _safe_repr(value)

    def _convert_object(self, value: Any, path: tuple[int, ...]) -> Any:
        if isinstance(value, Enum):
            return self.convert(value.value, path)
        for kind, convert in _CONVERSIONS:
            if isinstance(value, kind):
                return convert(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._convert_members(value, _dataclass_fields(value), path)
        dump = None if isinstance(value, type) else getattr(value, "model_dump", None)
        return self._convert_members(value, dump(), path) if callable(dump) else _safe_repr(value)

    def _convert_members(self, container: object, members: Any, path: tuple[int, ...]) -> Any:
        if (inner := self._enter(container, path)) is None:
            return "{...}"
        if not isinstance(members, MAPPING):
            return self.convert(members, inner)
        # ASCII text is by far the most common; a call for each is felt in `benchmarks/facade`.
        fields: dict[str, Any] = {}
        for key, member in members.items():
            name = key if type(key) is str and key.isascii() else replace_surrogates(str(key))
            kind = type(member)
            if kind is str and member.isascii():
                fields[name] = member
            elif kind in _LEAVES:
                fields[name] = _LEAVES[kind](member)
            else:
                fields[name] = self.convert(member, inner)
        return fields

    def _enter(self, container: object, path: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return the path of a container's members; None where they are not converted."""
        if not path:
            return (id(container),)
        self._containers += 1
        # A container with only leaves is always converted: many rows are no danger.
        is_over_limit = self._containers > MAX_CONTAINERS and _is_nested(container)
        if id(container) in path or len(path) > MAX_DEPTH or is_over_limit:
            return None
        return (*path, id(container))


def _is_nested(container: object) -> bool:
    members: Iterable[object] = ()
    if isinstance(container, MAPPING):
        members = container.values()
    elif isinstance(container, SEQUENCE):
        members = container
    else:
        return True
    return any(type(member) not in _LEAVES for member in members)


def _dataclass_fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _convert_float(value: float) -> float | str:
    return value if isfinite(value) else str(value)


def _convert_int(value: int) -> int | str:
    bits = value.bit_length()
    return int(value) if bits <= MAX_INTEGER_BITS else f"<a number of {bits} bits>"


def _convert_bytes(value: bytes | bytearray) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"<{len(value)} bytes>"


def _safe_repr(value: object) -> str:
    try:
        return replace_surrogates(repr(value))
    except Exception:  # noqa: BLE001 - a user's object may raise anything from its own methods
        return f"<{type(value).__name__}>"


_LEAVES: dict[type, Callable[[Any], Any]] = {
    NoneType: lambda value: value,
    bool: lambda value: value,
    str: replace_surrogates,
    int: _convert_int,
    float: _convert_float,
}

# What `find_non_finite` need not look at.
_FINITE = frozenset(_LEAVES) - {float}

# Subclasses of the above, and other types. The first that fits is used.
_CONVERSIONS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (str, lambda value: replace_surrogates(str(value))),
    (int, _convert_int),
    (float, _convert_float),
    ((datetime, date, time), lambda value: value.isoformat()),
    (timedelta, lambda value: value.total_seconds()),
    ((Decimal, UUID, PurePath), str),
    ((bytes, bytearray), _convert_bytes),
)
