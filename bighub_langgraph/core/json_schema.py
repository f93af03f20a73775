"""Check values against a JSON Schema."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it brings no types
from referencing import Registry

from bighub_langgraph.core.jsonable import truncate

LONGEST_ERROR = 200


def find_schema_errors(schema: Mapping[str, Any], value: object) -> list[str]:
    """Return what is wrong with a value, each error with its place; empty if it fits.

    The schema's `$schema` selects the draft. No document is ever fetched. A schema that is itself
    not valid fits nothing.
    """
    return [
        f"{'.'.join(map(str, path)) or 'arguments'}: {message}"
        for path, message in list_schema_errors(schema, value)
    ]


def list_schema_errors(
    schema: Mapping[str, Any], value: object
) -> list[tuple[tuple[str | int, ...], str]]:
    """Return the same, each error as its path and message."""
    draft = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
    try:
        errors = list(with_exact_multiples(draft)(schema, registry=Registry()).iter_errors(value))
    except Exception as error:  # noqa: BLE001 - whatever a wrong schema makes the library raise
        return [((), f"the schema is not valid: {truncate(str(error), LONGEST_ERROR)}")]
    return [
        (tuple(error.absolute_path), truncate(error.message, LONGEST_ERROR)) for error in errors
    ]


def with_exact_multiples(draft: Any) -> Any:
    """Return a validator that computes `multipleOf` in the decimal numbers that JSON shows.

    As floats, 19.99 is no multiple of 0.01.
    """
    return jsonschema.validators.extend(draft, {"multipleOf": _check_multiple})


def _check_multiple(_: Any, divisor: float, value: Any, __: Any) -> Iterator[Exception]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and Fraction(str(value)) % Fraction(str(divisor)):
        yield jsonschema.ValidationError(f"{value!r} is not a multiple of {divisor!r}")
