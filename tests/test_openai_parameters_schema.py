"""Hand-written schemas are checked at registration, and arguments are checked against them."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it brings no types

from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.openai.arguments import SchemaParameters
from bighub_langgraph.openai.errors import AdapterConfigurationError
from bighub_langgraph.openai.function_schema import SchemaWarning
from bighub_langgraph.openai.parameters_schema import parameters_from_schema

Json = dict[str, Any]
HAND: Json = {
    "type": "object",
    "properties": {"loan_id": {"type": "string"}, "amount": {"type": "number", "minimum": 0}},
    "required": ["loan_id", "amount"],
    "additionalProperties": False,
}


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


def approve_loan(loan_id: Any, amount: Any) -> Any:
    return loan_id, amount


def accept(**arguments: Any) -> Any:
    return arguments


def loose(schema: Json) -> SchemaParameters:
    return parameters_from_schema({"type": "object", **schema}, accept, "tool", strict=False)


def fits(parameters: SchemaParameters, arguments: Json) -> bool:
    try:
        parameters.check(arguments)
    except InvalidCall:
        return False
    return True


def test_a_schema_by_hand_is_sent_as_it_is_and_enforced() -> None:
    parameters = parameters_from_schema(HAND, approve_loan, "approve_loan")
    assert parameters.schema is HAND
    assert parameters.strict
    with pytest.raises(InvalidCall, match="amount: -1 is less than the minimum of 0"):
        parameters.check({"loan_id": "l", "amount": -1})


def test_a_schema_by_hand_that_strict_mode_refuses_is_sent_loosely_and_named() -> None:
    def approve(loan_id: str, amount: float = 0) -> None: ...

    with pytest.warns(SchemaWarning, match="parameter 'amount'"):
        parameters = parameters_from_schema({**HAND, "required": ["loan_id"]}, approve, "approve")
    assert not parameters.strict


@pytest.mark.parametrize(
    "part",
    [True, {}, {"type": "array", "items": True}, {"type": "object", "additionalProperties": True}],
    ids=str,
)
def test_a_parameter_that_strict_mode_cannot_express_is_named(part: Any) -> None:
    schema = {**HAND, "properties": {**HAND["properties"], "loan_id": part}}
    with pytest.warns(SchemaWarning, match="strict mode refuses parameter 'loan_id': it "):
        parameters_from_schema(schema, approve_loan, "approve_loan")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ([], "type 'object'"),
        ({"type": "array"}, "type 'object'"),
        ({**HAND, "properties": {"other": {}}, "required": []}, "does not match the function"),
        ({**HAND, "properties": {"amount": {"type": "numbr"}}}, "at properties.amount.type: 'numb"),
        ({**HAND, "properties": {"amount": {"pattern": "("}}}, "at properties.amount.pattern: "),
        ({**HAND, "required": "amount"}, "at required: 'amount' is not of type 'array'"),
        ({**HAND, "properties": {"amount": {"minimun": 1}}}, "uses minimun, "),
        ({**HAND, "properties": {"amount": {"items": {"nullable": True}}}}, "uses nullable"),
        ({**HAND, "properties": {"amount": {"$ref": "#/$defs/no"}}}, "reference '#/\\$defs/no'"),
        ({**HAND, "definitions": {"a": {"b": 1}}, "not": {"$ref": "#/definitions/a"}}, "uses b"),
        ({**HAND, "$defs": {"a": {"type": "strin"}}}, "at \\$defs.a.type: 'strin' is not valid"),
        ({**HAND, "properties": {"amount": {"required": True}}}, "amount.required: True is not of"),
        ({**HAND, "properties": {"amount": {"pattern": "^\\p{L}"}}}, "is not a 'regex'"),
        ({**HAND, "required": ["loan"]}, "uses the required property 'loan' without a schema"),
        *[
            ({**HAND, "not": {"$ref": reference}}, f"the reference '{reference}'")
            for reference in ("#/required", "#/type", "#/required/0", "#/not")
        ],
        (
            {**HAND, "not": {"$ref": "#/$defs/a"}, "$defs": {"a": {"allOf": [{"$ref": "#/not"}]}}},
            "the reference '#/\\$defs/a', the reference '#/not'",
        ),
        *[
            ({**HAND, "properties": {"amount": {"default": value}}}, "what JSON can express")
            for value in (object(), {1, 2}, (1, 2), float("nan"), {1: 2}, "\ud83d", CIRCLE)
        ],
    ],
)
def test_a_schema_by_hand_that_cannot_work_is_refused(schema: Any, message: str) -> None:
    with pytest.raises(AdapterConfigurationError, match=f"tool 'approve_loan': .*{message}"):
        parameters_from_schema(schema, approve_loan, "approve_loan")


@pytest.mark.parametrize(
    "url", ["https://example.com/schema.json", "https://json-schema.org/draft/2020-12/schema"]
)
def test_a_reference_to_another_document_is_refused_and_never_loaded(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(AdapterConfigurationError, match=f"the reference '{url}'"):
        loose({"properties": {"a": {"$ref": url}}})


def test_a_recursive_schema_is_followed() -> None:
    tree = loose({"properties": {"name": {"type": "string"}, "child": {"$ref": "#"}}})
    deep: Json = {"name": "leaf"}
    for _ in range(99):
        deep = {"child": deep}
    assert fits(tree, deep)
    with pytest.raises(InvalidCall, match=r"child\.child\.name: 1 is not of type 'string'"):
        tree.check({"child": {"child": {"name": 1}}})


@pytest.mark.parametrize(
    ("schema", "arguments", "message"),
    [
        ({"minProperties": 1}, {}, "the arguments: {} "),
        ({"properties": {"a": {"minimum": 3}}}, {"a": 1}, "a: 1 is less than the minimum of 3"),
        ({"properties": {"a": {"items": {"enum": ["x"]}}}}, {"a": ["y"]}, "a.0: 'y' is not one of"),
        ({"additionalProperties": False}, {"z": 1}, "the arguments: .*'z' was unexpected"),
        ({"required": ["a"]}, {}, "the arguments: 'a' is a required property"),
        ({"properties": {"a": {"multipleOf": 0.1}}}, {"a": 0.25}, "a: 0.25 is not a multiple of"),
        ({"properties": {"a": {"uniqueItems": True}}}, {"a": [1, 1]}, "a: .* non-unique"),
        ({"properties": {"a": {"maxLength": 9}}}, {"a": "x" * 999}, r"a: 'x{56}\.\.\. is too long"),
        (
            {"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}},
            {"a": 1},
            "a: .* \\(1 is not of type 'string' or 1 is not of type 'null'\\)",
        ),
        (
            {"properties": {"a": {"anyOf": [{"type": "null"}, {"items": {"type": "null"}}]}}},
            {"a": [1]},
            "a.0: 1 is not of type 'null'",
        ),
    ],
)
def test_an_invalid_argument_is_reported_with_its_path(
    schema: Json, arguments: Json, message: str
) -> None:
    with pytest.raises(InvalidCall, match=f"the arguments of 'tool' do not fit: {message}"):
        loose(schema).check(arguments)


@pytest.mark.parametrize(("value", "divisor"), [(0.3, 0.1), (19.99, 0.01), (1e300, 0.1), (6, 3)])
def test_floats_that_are_a_multiple_but_for_rounding_fit(value: float, divisor: float) -> None:
    parameters = loose({"properties": {"a": {"multipleOf": divisor}}})
    assert fits(parameters, {"a": value})
    assert not fits(parameters, {"a": value + divisor / 2}) or value > 1e20


@pytest.mark.parametrize("draft", ["http://json-schema.org/draft-07/schema#", "unknown"])
def test_every_schema_is_read_as_the_same_draft(draft: str) -> None:
    properties = {"a": {"multipleOf": 0.01}, "child": {"$ref": "#"}, "b": {"prefixItems": [False]}}
    parameters = loose({"$schema": draft, "properties": properties})
    assert fits(parameters, {"child": {"a": 19.99}})
    assert not fits(parameters, {"child": {"b": [1]}})


def test_arguments_that_the_function_does_not_take_are_refused() -> None:
    parameters = parameters_from_schema(
        {**HAND, "required": [], "additionalProperties": True},
        approve_loan,
        "approve",
        strict=False,
    )
    with pytest.raises(InvalidCall, match="missing a required argument: 'loan_id'"):
        parameters.check({"amount": 1})


def test_the_function_gets_a_copy_of_the_recorded_arguments() -> None:
    parameters = loose({"properties": {"names": {"type": "array"}}})
    arguments, bind = parameters.validate({"names": ["a"]})
    _, by_name = bind()
    by_name["names"].append("b")
    assert arguments == {"names": ["a"]}


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
    objects = st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
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
        "properties": objects,
        "patternProperties": objects,
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
    schema: Json, other: Json, value: Any
) -> None:
    complete = {"type": "object", "properties": {"a": schema}, "$defs": {"other": other}}
    # Such an object fits nothing, and is refused at registration.
    is_closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
    assume(not (is_closed and set(schema.get("required", ())) - set(schema.get("properties", ()))))
    parameters = parameters_from_schema(complete, accept, "tool", strict=False)
    assert fits(parameters, {"a": value}) == Draft202012Validator(complete).is_valid({"a": value})
