"""Checks a value against a hand-written JSON Schema; one row for each keyword that tools use."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["unknown_keywords", "violations"]

Schema = Mapping[str, Any]
# A check gets the value, the keyword's own value, the schema around it, the root, and where we are.
Check = Callable[[Any, Any, Schema, Schema, str], Iterator[str]]

_LONGEST_SHOWN = 60


def violations(value: Any, schema: Any, root: Schema | None = None, at: str = "") -> Iterator[str]:
    """Tell everything that keeps a JSON value from fitting a schema, each with its place."""
    if isinstance(schema, bool):
        if not schema:
            yield f"{at or 'the arguments'}: not allowed"
        return
    root = schema if root is None else root
    for keyword, asked in schema.items():
        if check := _CHECKS.get(keyword):
            yield from check(value, asked, schema, root, at)


def unknown_keywords(schema: Any) -> set[str]:
    """The keywords of a schema that `violations` does not check."""
    if not isinstance(schema, Mapping):
        return set()
    unknown = set(schema) - _CHECKS.keys() - _SAID_ONLY
    for keyword, asked in schema.items():
        for part in _subschemas(keyword, asked):
            unknown |= unknown_keywords(part)
    return unknown


# Keywords that describe and do not constrain, or that another keyword's check reads.
_SAID_ONLY = frozenset(
    [
        "title",
        "description",
        "default",
        "examples",
        "example",
        "deprecated",
        "readOnly",
        "writeOnly",
        "format",
        "$schema",
        "$id",
        "$defs",
        "definitions",
        "$comment",
        "then",
        "else",
        "discriminator",
        "contentMediaType",
        "contentEncoding",
    ]
)


def _subschemas(keyword: str, asked: Any) -> Iterator[Any]:
    if keyword in {"properties", "patternProperties", "$defs", "definitions"}:
        yield from asked.values()
    elif keyword in {"anyOf", "oneOf", "allOf", "prefixItems"}:
        yield from asked
    elif keyword in {"items", "additionalProperties", "not", "if", "then", "else", "contains"}:
        yield asked


def _type(value: Any, asked: Any, _schema: Schema, _root: Schema, at: str) -> Iterator[str]:
    names = [asked] if isinstance(asked, str) else asked
    if not any(_TYPES.get(name, _never)(value) for name in names):
        yield f"{_place(at)} must be {' or '.join(names)}, not {_shown(value)}"


def _never(_value: Any) -> bool:
    return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _enum(value: Any, asked: Any, _schema: Schema, _root: Schema, at: str) -> Iterator[str]:
    if not any(_same(value, one) for one in asked):
        yield f"{_place(at)} must be one of {', '.join(map(_shown, asked))}, not {_shown(value)}"


def _const(value: Any, asked: Any, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    yield from _enum(value, [asked], schema, root, at)


def _same(one: Any, other: Any) -> bool:
    # True == 1 in Python, not in JSON.
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)


def _bound(kind: type | Any, fits: Callable[[Any, Any], bool], words: str) -> Check:
    def check(value: Any, asked: Any, _schema: Schema, _root: Schema, at: str) -> Iterator[str]:
        if isinstance(value, kind) and not isinstance(value, bool) and not fits(value, asked):
            yield f"{_place(at)} must {words.format(asked)}, not {_shown(value)}"

    return check


def _is_multiple(value: float, asked: float) -> bool:
    if isinstance(value, int) and isinstance(asked, int):
        return value % asked == 0
    if not math.isfinite(times := value / asked):
        return False
    return math.isclose(times, round(times), rel_tol=1e-12, abs_tol=1e-9)


def _properties(value: Any, asked: Any, _schema: Schema, root: Schema, at: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name in asked.keys() & value.keys():
            yield from violations(value[name], asked[name], root, _inside(at, name))


def _pattern_properties(
    value: Any, asked: Any, _schema: Schema, root: Schema, at: str
) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            for pattern, schema in asked.items():
                if re.search(pattern, name):
                    yield from violations(item, schema, root, _inside(at, name))


def _additional(value: Any, asked: Any, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    patterns = schema.get("patternProperties", {})
    for name in value.keys() - schema.get("properties", {}).keys():
        if any(re.search(pattern, name) for pattern in patterns):
            continue
        if asked is False:
            yield f"{_inside(at, name)} is not a parameter"
        else:
            yield from violations(value[name], asked, root, _inside(at, name))


def _required(value: Any, asked: Any, _schema: Schema, _root: Schema, at: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{_inside(at, name)} is missing" for name in asked if name not in value)


def _items(value: Any, asked: Any, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    if isinstance(value, list):
        first = len(schema.get("prefixItems", ()))
        for number, item in enumerate(value[first:], first):
            yield from violations(item, asked, root, f"{at}[{number}]")


def _prefix_items(value: Any, asked: Any, _schema: Schema, root: Schema, at: str) -> Iterator[str]:
    if isinstance(value, list):
        for number, (item, schema) in enumerate(zip(value, asked, strict=False)):
            yield from violations(item, schema, root, f"{at}[{number}]")


def _contains(value: Any, asked: Any, _schema: Schema, root: Schema, at: str) -> Iterator[str]:
    if isinstance(value, list) and not any(_fits(item, asked, root) for item in value):
        yield f"{_place(at)} lacks an item that it must contain"


def _unique(value: Any, asked: Any, _schema: Schema, _root: Schema, at: str) -> Iterator[str]:
    if asked and isinstance(value, list):
        pairs = ((a, b) for n, a in enumerate(value) for b in value[n + 1 :])
        if any(_same(a, b) for a, b in pairs):
            yield f"{_place(at)} must not hold the same item twice"


def _any_of(value: Any, asked: Any, _schema: Schema, root: Schema, at: str) -> Iterator[str]:
    if not any(_fits(value, schema, root) for schema in asked):
        closest = min((list(violations(value, schema, root, at)) for schema in asked), key=len)
        yield from closest


def _one_of(value: Any, asked: Any, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    fitting = sum(_fits(value, one, root) for one in asked)
    if not fitting:
        yield from _any_of(value, asked, schema, root, at)
    elif fitting > 1:
        yield f"{_place(at)} fits more than one of the forms of which it must have one"


def _all_of(value: Any, asked: Any, _schema: Schema, root: Schema, at: str) -> Iterator[str]:
    for schema in asked:
        yield from violations(value, schema, root, at)


def _not(value: Any, asked: Any, _schema: Schema, root: Schema, at: str) -> Iterator[str]:
    if _fits(value, asked, root):
        yield f"{_place(at)} must not be {_shown(value)}"


def _if(value: Any, asked: Any, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    branch = "then" if _fits(value, asked, root) else "else"
    yield from violations(value, schema.get(branch, True), root, at)


def _reference(value: Any, asked: Any, _schema: Schema, root: Schema, at: str) -> Iterator[str]:
    found: Any = root
    for step in asked.removeprefix("#").strip("/").split("/"):
        found = found[step.replace("~1", "/").replace("~0", "~")] if step else found
    yield from violations(value, found, root, at)


def _fits(value: Any, schema: Any, root: Schema) -> bool:
    return next(violations(value, schema, root), None) is None


def _place(at: str) -> str:
    return at or "the arguments"


def _inside(at: str, name: str) -> str:
    return f"{at}.{name}" if at else str(name)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


_NUMBER = (int, float)
_CHECKS: dict[str, Check] = {
    "$ref": _reference,
    "type": _type,
    "enum": _enum,
    "const": _const,
    "minimum": _bound(_NUMBER, lambda v, a: v >= a, "be at least {}"),
    "maximum": _bound(_NUMBER, lambda v, a: v <= a, "be at most {}"),
    "exclusiveMinimum": _bound(_NUMBER, lambda v, a: v > a, "be more than {}"),
    "exclusiveMaximum": _bound(_NUMBER, lambda v, a: v < a, "be less than {}"),
    "multipleOf": _bound(_NUMBER, _is_multiple, "be a multiple of {}"),
    "minLength": _bound(str, lambda v, a: len(v) >= a, "have at least {} characters"),
    "maxLength": _bound(str, lambda v, a: len(v) <= a, "have at most {} characters"),
    "pattern": _bound(str, lambda v, a: re.search(a, v) is not None, "match {!r}"),
    "minItems": _bound(list, lambda v, a: len(v) >= a, "have at least {} items"),
    "maxItems": _bound(list, lambda v, a: len(v) <= a, "have at most {} items"),
    "uniqueItems": _unique,
    "minProperties": _bound(dict, lambda v, a: len(v) >= a, "have at least {} entries"),
    "maxProperties": _bound(dict, lambda v, a: len(v) <= a, "have at most {} entries"),
    "properties": _properties,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional,
    "required": _required,
    "items": _items,
    "prefixItems": _prefix_items,
    "contains": _contains,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "allOf": _all_of,
    "not": _not,
    "if": _if,
}
