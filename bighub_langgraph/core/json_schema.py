"""Check values against a JSON Schema."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from fractions import Fraction
from functools import partial
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it brings no types
from referencing import Registry

from bighub_langgraph.core.jsonable import truncate

LONGEST_ERROR = 200


@dataclass(frozen=True, slots=True)
class SchemaError:
    """One thing that is wrong with a value.

    Attributes:
        path: The place in the value.
        alternatives: Where the value fits none of several schemas, what is wrong with each.
    """

    path: tuple[str | int, ...]
    message: str
    alternatives: tuple[tuple["SchemaError", ...], ...] = ()

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path)) or 'arguments'}: {self.message}"


def find_schema_errors(
    schema: Mapping[str, Any], value: object, *, check_formats: bool = False
) -> list[SchemaError]:
    """Return what is wrong with a value; nothing if it fits.

    The schema's `$schema` selects the draft. No document is ever fetched. A schema that is itself
    not valid fits nothing. With `check_formats` the `format` of texts is checked too: dates, times,
    addresses, UUIDs.
    """
    draft = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
    validator_class = with_exact_multiples(draft)
    formats = _FORMATS if check_formats else None
    try:
        validator = validator_class(schema, registry=Registry(), format_checker=formats)
        return [_to_schema_error(error) for error in validator.iter_errors(value)]
    except Exception as error:  # noqa: BLE001 - whatever a wrong schema makes the library raise
        return [SchemaError((), f"the schema is not valid: {_shorten(str(error))}")]


def _to_schema_error(error: Any) -> SchemaError:
    alternatives: dict[int, list[SchemaError]] = {}
    if error.validator in {"anyOf", "oneOf"}:
        for item in error.context:
            alternatives.setdefault(item.schema_path[0], []).append(_to_schema_error(item))
    branches = tuple(map(tuple, alternatives.values()))
    return SchemaError(tuple(error.absolute_path), _shorten(error.message), branches)


def _shorten(message: str) -> str:
    return truncate(message, LONGEST_ERROR)


# Of the others some need packages of their own, and jsonschema's times are of an old draft.
_FORMATS = jsonschema.FormatChecker(("email", "ipv4", "ipv6", "uuid"))
_TIMES: dict[str, tuple[str, Callable[[str], object]]] = {
    "date": (r"\d{4}-\d\d-\d\d", date.fromisoformat),
    "date-time": (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*", datetime.fromisoformat),
    "time": (r"\d\d:\d\d.*", time.fromisoformat),
    "duration": (r"[+-]?P(?=[\dT])([\d.]+[YMWD])*(T([\d.]+[HMS])+)?", str),
}


def _is_time(pattern: str, parse: Callable[[str], object], value: object) -> bool:
    """Whether a text is a date or a time; a value of another type has no format."""
    if not isinstance(value, str):
        return True
    parse(value.upper())
    return re.fullmatch(pattern, value.upper(), re.ASCII) is not None


for _name, _rule in _TIMES.items():
    _FORMATS.checks(_name, raises=ValueError)(partial(_is_time, *_rule))


def with_exact_multiples(draft: Any) -> Any:
    """Return a validator that computes `multipleOf` in the decimal numbers that JSON shows.

    As floats, 19.99 is no multiple of 0.01.
    """
    return jsonschema.validators.extend(draft, {"multipleOf": _check_multiple})


def _check_multiple(_: Any, divisor: float, value: Any, __: Any) -> Iterator[Exception]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and Fraction(str(value)) % Fraction(str(divisor)):
        yield jsonschema.ValidationError(f"{value!r} is not a multiple of {divisor!r}")
