"""The schema that the model receives for a function, and the values the function receives."""

from __future__ import annotations

import inspect
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
from pydantic import BaseModel, Field, create_model
from typing_extensions import Doc

from bighub_langgraph.openai.arguments import SignatureParameters
from bighub_langgraph.openai.errors import AdapterConfigurationError
from bighub_langgraph.openai.function_schema import (
    SchemaWarning,
    parameters_from_signature,
    read_docstring,
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


SENT_SCHEMAS = {
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


def call(fn: Callable[..., Any], arguments: dict[str, Any], **options: Any) -> Any:
    parameters = parameters_from_signature(fn, "tool", **options)
    positional, by_name = parameters.bind(parameters.check(arguments))
    return fn(*positional, **by_name)


def record_warning(make: Callable[[], SignatureParameters]) -> tuple[SignatureParameters, str]:
    with pytest.warns(SchemaWarning) as warning_list:
        parameters = make()
    return parameters, str(warning_list[0].message)


def test_ordinary_types_are_expressed_strictly() -> None:
    parameters = parameters_from_signature(everything, "tool")
    assert parameters.strict
    assert list(strict_faults(parameters.schema, ())) == []


def test_arguments_arrive_as_the_signature_says() -> None:
    assert call(everything, SENT_SCHEMAS) == {
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
    check = parameters_from_signature(everything, "tool").check
    assert check(check(SENT_SCHEMAS)) == check(SENT_SCHEMAS)


def test_descriptions_come_from_docstring_and_annotation() -> None:
    properties = parameters_from_signature(everything, "tool").schema["properties"]
    assert properties["number"]["description"] == "how many"
    assert properties["share"]["description"] == "which part, told in two lines"
    assert properties["ratio"]["description"] == "in percent (null: the default, 3)"


class Rule(TypedDict):
    name: Annotated[str, "of the rule"]


def test_a_text_or_doc_in_an_annotation_is_a_description() -> None:
    def pay(
        amount: Annotated[float, "in euros"],
        tags: list[Annotated[str, Doc("one word")]],
        rule: Rule,
        order: Annotated[str, "the number", Field(max_length=9)] = "none",
        note: Annotated[str, Field(description="for people"), "not this"] = "",
    ) -> None:
        """Pay.

        Args:
            amount: not this
            order: not this
        """

    schema = parameters_from_signature(pay, "pay").schema
    properties = schema["properties"]
    assert {name: part.get("description") for name, part in properties.items()} == {
        "amount": "in euros",
        "tags": None,
        "rule": None,
        "order": 'the number (null: the default, "none")',
        "note": 'for people (null: the default, "")',
    }
    assert properties["tags"]["items"]["description"] == "one word"
    assert schema["$defs"]["Rule"]["properties"]["name"]["description"] == "of the rule"


@pytest.mark.parametrize(
    ("hint", "default", "description"),
    [
        (int | None, 5, "how many (default: 5)"),
        (Annotated[int, Field(ge=1)] | None, 5, "how many (default: 5)"),
        (str | None, "café", 'how many (default: "café")'),
        (Literal["a"] | None, "a", 'how many (default: "a")'),
        (int | None, None, "how many"),
        (int, 5, "how many (null: the default, 5)"),
        (Colour | None, Colour.RED, 'how many (default: "red")'),
    ],
)
def test_the_description_says_the_default(hint: Any, default: Any, description: str) -> None:
    def pay(count: Any = default) -> None: ...

    pay.__annotations__["count"] = Annotated[hint, Field(description="how many")]
    parameters = parameters_from_signature(pay, "pay")
    assert parameters.schema["properties"]["count"]["description"] == description
    assert parameters.strict
    assert list(strict_faults(parameters.schema, ())) == []


def nested_model(levels: int) -> Any:
    return create_model(f"L{levels}", x=(nested_model(levels - 1) if levels > 1 else int, ...))


def nested_list(levels: int) -> Any:
    hint: Any = int
    for _ in range(levels):
        hint = list[hint]
    return hint


def numbered_choices(count: int, length: int = 5) -> Any:
    return Literal[tuple(f"{n:0{length}}" for n in range(count))]


@pytest.mark.parametrize(
    ("hints", "excess"),
    [
        ([nested_model(9)], None),
        ([nested_model(10)], "parameter 'p0': 11 levels, of 10 at most"),
        ([int, nested_list(10)], "parameter 'p1': 11 levels, of 10 at most"),
        ([nested_list(4) | nested_model(9)], None),
        ([Node], None),
        ([numbered_choices(1_000)], None),
        ([numbered_choices(1_001)], "parameter 'p0': 1,001 values in enums, of 1,000 at most"),
        ([numbered_choices(600), numbered_choices(600, 6)], "the schema: 1,200 values in enums"),
        ([Enum("Sku", [f"S{n}" for n in range(1_200)])], "parameter 'p0': 1,200 values in enums"),
        ([numbered_choices(250, 100)], None),
        ([numbered_choices(251, 100) | None], "parameter 'p0': 25,100 characters in an enum"),
        ([numbered_choices(200, 700)], "parameter 'p0': 140,000 characters in names and enums"),
    ],
)
def test_a_schema_larger_than_strict_mode_allows_is_sent_loosely_and_named(
    hints: list[Any], excess: str | None
) -> None:
    def tool(**values: Any) -> None: ...

    fields = [inspect.Parameter(f"p{n}", inspect.Parameter.KEYWORD_ONLY) for n in range(len(hints))]
    tool.__signature__ = inspect.Signature(fields)  # type: ignore[attr-defined]  # as wraps does
    tool.__annotations__ = {f"p{n}": hint for n, hint in enumerate(hints)}
    if excess is None:
        assert parameters_from_signature(tool, "tool").strict
    else:
        parameters, message = record_warning(lambda: parameters_from_signature(tool, "tool"))
        assert not parameters.strict
        assert excess in message


def test_a_default_is_filled_in_before_the_call_is_evaluated() -> None:
    def pay(amount: float, currency: str = "EUR") -> None: ...

    assert parameters_from_signature(pay, "pay").check({"amount": 5, "currency": None}) == {
        "amount": 5.0,
        "currency": "EUR",
    }


def test_a_default_that_json_cannot_express_is_left_to_the_function() -> None:
    missing = object()

    def find(name: str, limit: int = missing) -> Any:  # type: ignore[assignment]  # a sentinel
        return limit

    assert call(find, {"name": "a", "limit": None}) is missing


def test_a_schema_that_strict_mode_cannot_express_is_sent_loosely_and_named() -> None:
    def note(labels: dict[str, str]) -> dict[str, str]:
        return labels

    parameters, message = record_warning(lambda: parameters_from_signature(note, "note"))
    assert not parameters.strict
    assert "parameter 'labels'" in message
    assert parameters.check({"labels": {"a": "b"}}) == {"labels": {"a": "b"}}


def test_a_parameter_behind_a_definition_is_named_too() -> None:
    def carry(weight: int, bag: Bag) -> None: ...

    assert "parameter 'bag'" in record_warning(lambda: parameters_from_signature(carry, "carry"))[1]


def test_a_requested_loose_schema_does_not_warn() -> None:
    def note(labels: dict[str, str]) -> None: ...

    assert not parameters_from_signature(note, "note", strict=False).strict


def test_parameters_of_every_kind_reach_the_function() -> None:
    def gather(first: int, /, second: int, *rest: int, last: int = 0, **more: int) -> Any:
        return first, second, rest, last, more

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SchemaWarning)
        values = call(gather, {"first": 1, "second": 2, "rest": [3, 4], "last": 5, "other": 6})
    assert values == (1, 2, (3, 4), 5, {"other": 6})


def test_a_partial_and_a_callable_object_are_read_like_functions() -> None:
    def pay(amount: int, currency: str) -> Any:
        return amount, currency

    class Pay:
        def __call__(self, amount: int) -> int:
            return amount

    assert call(partial(pay, currency="EUR"), {"amount": 1, "currency": None}) == (1, "EUR")
    assert call(Pay(), {"amount": "2"}) == 2


class Connection:
    """Nothing that JSON can express."""


def test_a_required_parameter_that_no_json_fills_is_refused() -> None:
    def query(sql: str, connection: Connection) -> None: ...

    with pytest.raises(AdapterConfigurationError, match="'connection'"):
        parameters_from_signature(query, "query")


def test_an_optional_parameter_that_no_json_fills_keeps_its_default() -> None:
    here = Connection()

    def query(sql: str, connection: Connection = here) -> Connection:
        return connection

    parameters, message = record_warning(lambda: parameters_from_signature(query, "query"))
    assert "'connection' keeps its default" in message
    assert list(parameters.schema["properties"]) == ["sql"]


def test_an_annotation_that_names_nothing_is_refused() -> None:
    def pay(amount: Unknown) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(AdapterConfigurationError, match="Unknown"):
        parameters_from_signature(pay, "pay")


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
def test_every_strict_schema_keeps_the_rules_of_strict_mode(
    hints: dict[str, Any], data: st.DataObject
) -> None:
    namespace: dict[str, Any] = {}
    names = ", ".join(
        f"{name}=None" if data.draw(st.booleans()) else name for name in sorted(hints)
    )
    exec(
        f"def tool(*, {names}): return dict(locals())", namespace
    )  # a signature made up on the spot
    namespace["tool"].__annotations__ = hints
    parameters = parameters_from_signature(namespace["tool"], "tool")
    assert parameters.strict
    assert list(strict_faults(parameters.schema, ())) == []


GOOGLE = """Pay an order.

Rules:
    Only orders of today.

Args:
    order (str): which
        order
    *notes: more
    amount: how much

Returns:
    A receipt.
"""
NUMPY = """Pay an order.

Parameters
----------
order : str
    which
    order
amount
    how much

Returns
-------
str
    A receipt.
"""
SPHINX = """Pay an order.

:param str order: which
    order
:param amount: how much"""


@pytest.mark.parametrize("text", [GOOGLE, NUMPY, SPHINX], ids=["google", "numpy", "sphinx"])
def test_docstrings_of_each_style_describe_the_parameters(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    def pay() -> None: ...

    pay.__doc__ = text
    documentation = read_docstring(pay)
    assert documentation.description.startswith("Pay an order.")
    assert "receipt" not in documentation.description
    assert documentation.parameters["order"] == "which order"
    assert documentation.parameters["amount"] == "how much"
    assert caplog.records == []


def test_the_description_keeps_what_belongs_to_no_parameter() -> None:
    def pay() -> None: ...

    pay.__doc__ = GOOGLE
    assert read_docstring(pay).description == "Pay an order.\n\nRules:\nOnly orders of today."
    assert read_docstring(pay).parameters["notes"] == "more"


@pytest.mark.parametrize("text", ["Pay.\n\nRefunds: see\n  refund().", "Pay: now.\n\n- once", ""])
def test_a_docstring_without_sections_is_the_description(text: str) -> None:
    def pay() -> None: ...

    pay.__doc__ = text
    assert read_docstring(pay) == (text, {})


def test_a_partial_and_a_callable_object_are_described_by_their_function() -> None:
    def pay(amount: int, currency: str) -> None:
        """Pay."""

    class Pay:
        def __call__(self, amount: int) -> None:
            """Pay as well."""

    assert read_docstring(partial(pay, currency="EUR")).description == "Pay."
    assert read_docstring(Pay()).description == "Pay as well."
