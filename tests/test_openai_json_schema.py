"""Hand-written schemas are enforced exactly as the reference implementation would."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it brings no types

from bighub_langgraph.openai.json_schema import unknown_keywords, violations

VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 5),
        st.floats(-5, 5, allow_nan=False),
        st.sampled_from(["", "a", "ab", "2026"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=6,
)
TYPES = st.sampled_from(["null", "boolean", "string", "number", "integer", "array", "object"])
SIZES = st.integers(0, 3)


def _keywords(inner: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    several = st.lists(inner, min_size=1, max_size=2)
    named = st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    return {
        "type": TYPES | st.lists(TYPES, min_size=1, unique=True),
        "enum": st.lists(VALUES, min_size=1, max_size=3),
        "const": VALUES,
        "minimum": st.integers(-3, 3),
        "maximum": st.integers(-3, 3),
        "exclusiveMinimum": st.integers(-3, 3),
        "exclusiveMaximum": st.integers(-3, 3),
        "minLength": SIZES,
        "maxLength": SIZES,
        "pattern": st.sampled_from(["a", "^2", "b$"]),
        "minItems": SIZES,
        "maxItems": SIZES,
        "minProperties": SIZES,
        "maxProperties": SIZES,
        "properties": named,
        "patternProperties": named,
        "additionalProperties": inner | st.booleans(),
        "required": st.lists(st.sampled_from("ab"), unique=True),
        "items": inner,
        "prefixItems": several,
        "contains": inner,
        "anyOf": several,
        "oneOf": several,
        "allOf": several,
        "not": inner,
        "if": inner,
        "then": inner,
        "else": inner,
        "$ref": st.just("#/$defs/other"),
    }


SIMPLE = st.fixed_dictionaries({}, optional={"type": TYPES, "minimum": st.integers(-3, 3)})
SCHEMAS = st.fixed_dictionaries({}, optional=_keywords(SIMPLE))


@given(SCHEMAS, SIMPLE, VALUES)
def test_a_value_fits_exactly_when_the_reference_says_so(
    schema: dict[str, Any], other: dict[str, Any], value: Any
) -> None:
    whole = {**schema, "$defs": {"other": other}}
    fits = not list(violations(value, whole))
    assert fits == Draft202012Validator(whole).is_valid(value)


@pytest.mark.parametrize(
    ("schema", "value", "told"),
    [
        ({"type": "string"}, 1, "the arguments must be string, not 1"),
        ({"properties": {"a": {"minimum": 3}}}, {"a": 1}, "a must be at least 3, not 1"),
        ({"items": {"enum": ["x"]}}, ["y"], "[0] must be one of 'x', not 'y'"),
        ({"additionalProperties": False}, {"z": 1}, "z is not a parameter"),
        ({"required": ["a"]}, {}, "a is missing"),
        ({"multipleOf": 0.1}, 0.25, "the arguments must be a multiple of 0.1, not 0.25"),
        ({"uniqueItems": True}, [1, 1], "the arguments must not hold the same item twice"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(schema: Any, value: Any, told: str) -> None:
    assert list(violations(value, schema)) == [told]


def test_floats_that_are_a_multiple_but_for_rounding_fit() -> None:
    assert list(violations(0.3, {"multipleOf": 0.1})) == []


def test_keywords_that_are_not_checked_are_found_however_deep() -> None:
    schema = {"properties": {"a": {"items": {"dependentRequired": {}}}}, "title": "fine"}
    assert unknown_keywords(schema) == {"dependentRequired"}
