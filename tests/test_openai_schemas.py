"""What the model is shown of a tool, and what is done with what it sends."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Annotated, Any, Literal, Optional, TypedDict, Union
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.openai.errors import AdapterConfigurationError
from bighub_langgraph.openai.schemas import (
    Parameters,
    SchemaWarning,
    from_schema,
    from_signature,
    read_arguments,
)
from tests.openai_rules import strict_faults


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Item:
    sku: str
    count: int = 1
    tags: list[str] = field(default_factory=list)


class Address(TypedDict, total=False):
    street: str
    zip: str


class Bag(BaseModel):
    things: dict[str, int]


class Node(BaseModel):
    name: str = Field(min_length=2)
    child: Node | None = None


def everything(  # noqa: PLR0917 - everything
    number: int,
    share: float,
    words: list[str],
    maybe: Optional[int],  # noqa: UP045 - this way of writing it must work too
    either: Union[str, int],  # noqa: UP007 - this way of writing it must work too
    colour: Colour,
    size: Literal["s", "l"],
    item: Item,
    address: Address,
    node: Node,
    day: date,
    at: datetime,
    price: Decimal,
    key: UUID,
    wait: timedelta,
    ratio: Annotated[int, Field(ge=0, description="in percent")] = 3,
    unique: set[int] = frozenset({1}),  # type: ignore[assignment]  # a default may be anything
    pair: tuple[int, int] = (1, 2),
) -> dict[str, Any]:
    """Take everything.

    Args:
        number: how many
        share (float): which part,
            told in two lines
    """
    return dict(locals())


GIVEN = {
    "number": "4",
    "share": 0.5,
    "words": ["a"],
    "maybe": None,
    "either": "x",
    "colour": "red",
    "size": "s",
    "item": {"sku": "a", "count": None, "tags": None},
    "address": {"street": "x", "zip": None},
    "node": {"name": "ab", "child": {"name": "cd", "child": None}},
    "day": "2026-01-02",
    "at": "2026-01-02T03:04:05Z",
    "price": "1.50",
    "key": "12345678-1234-5678-1234-567812345678",
    "wait": "PT5S",
    "ratio": None,
    "unique": None,
    "pair": None,
}


def called(fn: Callable[..., Any], arguments: dict[str, Any], **options: Any) -> Any:
    parameters = from_signature(fn, "tool", **options)
    positional, named = parameters.bind(parameters.check(arguments))
    return fn(*positional, **named)


def warned(make: Callable[[], Parameters]) -> tuple[Parameters, str]:
    with pytest.warns(SchemaWarning) as seen:
        parameters = make()
    return parameters, str(seen[0].message)


def test_ordinary_types_are_said_strictly() -> None:
    parameters = from_signature(everything, "tool")
    assert parameters.strict
    assert list(strict_faults(parameters.schema, ())) == []


def test_arguments_arrive_as_the_signature_says() -> None:
    assert called(everything, GIVEN) == {
        "number": 4,
        "share": 0.5,
        "words": ["a"],
        "maybe": None,
        "either": "x",
        "colour": Colour.RED,
        "size": "s",
        "item": Item("a"),
        "address": {"street": "x"},
        "node": Node(name="ab", child=Node(name="cd")),
        "day": date(2026, 1, 2),
        "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "price": Decimal("1.50"),
        "key": UUID("12345678-1234-5678-1234-567812345678"),
        "wait": timedelta(seconds=5),
        "ratio": 3,
        "unique": {1},
        "pair": (1, 2),
    }


def test_checking_twice_changes_nothing() -> None:
    check = from_signature(everything, "tool").check
    assert check(check(GIVEN)) == check(GIVEN)


def test_descriptions_come_from_docstring_and_annotation() -> None:
    properties = from_signature(everything, "tool").schema["properties"]
    assert properties["number"]["description"] == "how many"
    assert properties["share"]["description"] == "which part, told in two lines"
    assert properties["ratio"]["description"] == "in percent (null: the default, 3)"


def test_a_default_is_filled_in_before_anybody_is_asked() -> None:
    def pay(amount: float, currency: str = "EUR") -> None: ...

    assert from_signature(pay, "pay").check({"amount": 5, "currency": None}) == {
        "amount": 5.0,
        "currency": "EUR",
    }


def test_a_default_that_json_cannot_say_is_left_to_the_function() -> None:
    missing = object()

    def find(name: str, limit: int = missing) -> Any:  # type: ignore[assignment]  # a sentinel
        return limit

    assert called(find, {"name": "a", "limit": None}) is missing


def test_what_strict_mode_cannot_say_is_sent_loosely_and_named() -> None:
    def note(labels: dict[str, str]) -> dict[str, str]:
        return labels

    parameters, message = warned(lambda: from_signature(note, "note"))
    assert not parameters.strict
    assert "parameter 'labels'" in message
    assert parameters.check({"labels": {"a": "b"}}) == {"labels": {"a": "b"}}


def test_a_parameter_behind_a_definition_is_named_too() -> None:
    def carry(weight: int, bag: Bag) -> None: ...

    assert "parameter 'bag'" in warned(lambda: from_signature(carry, "carry"))[1]


def test_a_loose_schema_that_was_asked_for_warns_of_nothing() -> None:
    def note(labels: dict[str, str]) -> None: ...

    assert not from_signature(note, "note", strict=False).strict


def test_parameters_of_every_kind_reach_the_function() -> None:
    def gather(first: int, /, second: int, *rest: int, last: int = 0, **more: int) -> Any:
        return first, second, rest, last, more

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SchemaWarning)
        got = called(gather, {"first": 1, "second": 2, "rest": [3, 4], "last": 5, "other": 6})
    assert got == (1, 2, (3, 4), 5, {"other": 6})


def test_a_partial_and_a_callable_object_are_read_like_functions() -> None:
    def pay(amount: int, currency: str) -> Any:
        return amount, currency

    class Pay:
        def __call__(self, amount: int) -> int:
            return amount

    assert called(partial(pay, currency="EUR"), {"amount": 1, "currency": None}) == (1, "EUR")
    assert called(Pay(), {"amount": "2"}) == 2


class Connection:
    """Nothing JSON could say."""


def test_a_required_parameter_that_no_json_fills_is_refused() -> None:
    def query(sql: str, connection: Connection) -> None: ...

    with pytest.raises(AdapterConfigurationError, match="'connection'"):
        from_signature(query, "query")


def test_an_optional_parameter_that_no_json_fills_keeps_its_default() -> None:
    here = Connection()

    def query(sql: str, connection: Connection = here) -> Connection:
        return connection

    parameters, message = warned(lambda: from_signature(query, "query"))
    assert "'connection' keeps its default" in message
    assert list(parameters.schema["properties"]) == ["sql"]


def test_arguments_that_do_not_fit_are_told_one_by_one() -> None:
    def pay(amount: float, order: str) -> None: ...

    with pytest.raises(InvalidCall) as raised:
        from_signature(pay, "pay").check({"amount": "much", "extra": 1})
    told = str(raised.value)
    assert "amount: " in told
    assert "order: Field required" in told
    assert "extra: " in told


@pytest.mark.parametrize(
    ("raw", "told"),
    [("{", "not JSON"), ("[1]", "a JSON object"), ('{"a": NaN}', "NaN"), ("nonsense", "not JSON")],
)
def test_arguments_that_are_no_json_object_are_refused(raw: str, told: str) -> None:
    with pytest.raises(InvalidCall, match=told):
        read_arguments(raw, "pay")


def test_empty_arguments_are_no_arguments() -> None:
    assert read_arguments("", "pay") == read_arguments(None, "pay") == {}


HAND = {
    "type": "object",
    "properties": {"loan_id": {"type": "string"}, "amount": {"type": "number", "minimum": 0}},
    "required": ["loan_id", "amount"],
    "additionalProperties": False,
}


def approve_loan(loan_id: Any, amount: Any) -> Any:
    return loan_id, amount


def test_a_schema_by_hand_is_sent_as_it_is_and_enforced() -> None:
    parameters = from_schema(HAND, approve_loan, "approve_loan")
    assert parameters.schema is HAND
    assert parameters.strict
    with pytest.raises(InvalidCall, match="amount must be at least 0"):
        parameters.check({"loan_id": "l", "amount": -1})


def test_a_schema_by_hand_that_strict_mode_refuses_is_sent_loosely_and_named() -> None:
    loose = {**HAND, "required": ["loan_id"]}

    def approve(loan_id: str, amount: float = 0) -> None: ...

    parameters, message = warned(lambda: from_schema(loose, approve, "approve"))
    assert not parameters.strict
    assert "parameter 'amount'" in message


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ([], "type 'object'"),
        ({"type": "array"}, "type 'object'"),
        ({**HAND, "dependentSchemas": {}}, "dependentSchemas"),
        ({**HAND, "properties": {"other": {}}, "required": []}, "do not go together"),
    ],
)
def test_a_schema_by_hand_that_cannot_work_is_refused(schema: Any, told: str) -> None:
    with pytest.raises(AdapterConfigurationError, match=told):
        from_schema(schema, approve_loan, "approve_loan")


def test_an_annotation_that_names_nothing_is_refused() -> None:
    def pay(amount: Unknown) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(AdapterConfigurationError, match="Unknown"):
        from_signature(pay, "pay")


PLAIN = st.sampled_from([int, float, bool, str, date, Decimal, UUID, Colour, Item, Node])
HINTS: st.SearchStrategy[Any] = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        inner.map(lambda hint: list[hint]),  # type: ignore[valid-type]  # types are the data here
        inner.map(lambda hint: hint | None),
        st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1]),
    ),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from("abcd"), HINTS, min_size=1), st.data())
def test_whatever_is_said_strictly_keeps_every_rule_of_strict_mode(
    hints: dict[str, Any], data: st.DataObject
) -> None:
    namespace: dict[str, Any] = {}
    listed = ", ".join(
        f"{name}=None" if data.draw(st.booleans()) else name for name in sorted(hints)
    )
    exec(
        f"def tool(*, {listed}): return dict(locals())", namespace
    )  # a signature made up on the spot
    namespace["tool"].__annotations__ = hints
    parameters = from_signature(namespace["tool"], "tool")
    assert parameters.strict
    assert list(strict_faults(parameters.schema, ())) == []
