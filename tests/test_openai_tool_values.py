"""A tool receives the values that the recorded JSON stands for, and nothing else."""

import functools
import json
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import pytest
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    computed_field,
    field_serializer,
    model_serializer,
)
from pydantic.alias_generators import to_camel

from bighub_langgraph import BighubOpenAI
from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.openai.errors import AdapterConfigurationError
from bighub_langgraph.openai.function_schema import parameters_from_signature
from tests.openai_answers import calls, says
from tests.openai_bighub import REVIEW
from tests.openai_runtime import CLIENT_KINDS, runtime
from tests.openai_server import ResponsesServer

Json = dict[str, Any]
T = TypeVar("T")


class MaskedModel(BaseModel):
    iban: str

    @field_serializer("iban")
    def mask(self, value: str) -> str:
        return "****" + value[-4:]


class ExcludingModel(BaseModel):
    to: str
    amount: float = Field(default=1.0, exclude=True)


class RenamingModel(BaseModel):
    amount: float = Field(validation_alias="betrag", serialization_alias="sum")


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")
    order_id: str


class Choices(BaseModel):
    amount: float = Field(validation_alias=AliasChoices("amount", "sum"))


class ComputingModel(BaseModel):
    model_config = ConfigDict(extra="forbid")
    net: float

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def gross(self) -> float:
        return self.net * 1.2


class WrappingModel(BaseModel):
    cents: int

    @model_serializer
    def euros(self) -> str:
        return f"{self.cents / 100} EUR"


class AuditedModel(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", ser_json_timedelta="float")
    payments: list[MaskedModel]
    best: MaskedModel | ExcludingModel | None = None


class Cat(BaseModel):
    kind: Literal["cat"]
    name: Annotated[str, PlainSerializer(lambda _: "a cat")]


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Box(BaseModel, Generic[T]):
    content: T


class Point(NamedTuple):
    x: int
    y: int


class Unit(Enum):
    CENT = 1
    EURO = 100


@dataclass
class Item:
    sku: Annotated[str, PlainSerializer(str.lower)]
    secret: SecretStr = field(default=SecretStr("none"), repr=False)


class Address(TypedDict, total=False):
    street: Annotated[str, PlainSerializer(len)]
    since: Annotated[date, PlainSerializer(lambda _: None)]


def day_only(at: datetime) -> str:
    return at.date().isoformat()


def hundredfold(cents: int) -> int:
    return cents * 100


NOON = datetime(2026, 1, 2, 12, 30, tzinfo=UTC)

# The annotation of a parameter, what the model sends, and what the tool receives.
CASES: dict[str, tuple[Any, Any, Any]] = {
    "secret": (SecretStr, "hunter2", SecretStr("hunter2")),
    "field serializer": (MaskedModel, {"iban": "DE0212"}, MaskedModel(iban="DE0212")),
    "excluded": (ExcludingModel, {"to": "b", "amount": 99.0}, ExcludingModel(to="b", amount=99.0)),
    "two aliases": (RenamingModel, {"betrag": 5.0}, RenamingModel.model_construct(amount=5.0)),
    "generated alias": (Camel, {"orderId": "o"}, Camel.model_construct(order_id="o")),
    "alias choices": (Choices, {"amount": 5.0}, Choices(amount=5.0)),
    "computed": (ComputingModel, {"net": 10.0}, ComputingModel(net=10.0)),
    "model serializer": (WrappingModel, {"cents": 1234}, WrappingModel(cents=1234)),
    "loses the time": (
        Annotated[datetime, PlainSerializer(day_only)],
        "2026-01-02T12:30:00Z",
        NOON,
    ),
    "rounds": (Annotated[float, PlainSerializer(round)], 99.49, 99.49),
    "validates by changing": (Annotated[int, AfterValidator(hundredfold)], 5, 500),
    "exact decimal": (Decimal, "0.10000000000000000001", Decimal("0.10000000000000000001")),
    "bytes": (bytes, "ab", b"ab"),
    "set": (set[str], ["a", "b"], {"a", "b"}),
    "enum of numbers": (Unit, 100, Unit.EURO),
    "named tuple": (Point, [1, 2], Point(1, 2)),
    "dataclass": (Item, {"sku": "AB", "secret": "s"}, Item("AB", SecretStr("s"))),
    "typed dict": (
        Address,
        {"street": "Long", "since": "2026-01-02"},
        {"street": "Long", "since": date(2026, 1, 2)},
    ),
    "list of models": (list[MaskedModel], [{"iban": "DE0212"}], [MaskedModel(iban="DE0212")]),
    "dict of models": (
        dict[str, MaskedModel],
        {"a": {"iban": "DE0"}},
        {"a": MaskedModel(iban="DE0")},
    ),
    "nested": (
        AuditedModel,
        {"payments": [{"iban": "DE1"}], "best": {"to": "b", "amount": 2.0}},
        AuditedModel(payments=[MaskedModel(iban="DE1")], best=ExcludingModel(to="b", amount=2.0)),
    ),
    "union": (MaskedModel | SecretStr, "hunter2", SecretStr("hunter2")),
    "tagged union": (
        Annotated[Cat | Dog, Field(discriminator="kind")],
        {"kind": "cat", "name": "Tom"},
        Cat(kind="cat", name="Tom"),
    ),
    "generic": (
        Box[MaskedModel],
        {"content": {"iban": "DE1"}},
        Box[MaskedModel](content=MaskedModel(iban="DE1")),
    ),
    "optional": (SecretStr | None, "s", SecretStr("s")),
    "iterable": (Iterable[int], [1, 2], [1, 2]),
    "half a surrogate": (str, "broken \ud83d emoji \ude00", "broken ? emoji ?"),
    "a whole emoji": (str, "\U0001f600", "\U0001f600"),
}


@pytest.fixture
def server() -> Iterator[ResponsesServer]:
    with ResponsesServer() as new_server:
        yield new_server


@pytest.mark.filterwarnings("ignore::bighub_langgraph.openai.function_schema.SchemaWarning")
@pytest.mark.parametrize("way", ["at once", "approved", "edited"])
@pytest.mark.parametrize("name", CASES)
def test_a_tool_gets_what_the_recorded_json_stands_for(
    server: ResponsesServer, name: str, way: str
) -> None:
    hint, sent_value, value = CASES[name]
    shown_value = sent_value if name != "half a surrogate" else value
    values = []

    def pay(amount: int, value: Any) -> None:
        values.append(value)

    pay.__annotations__["value"] = hint
    amount = 6 if way == "edited" else 5
    server.script(calls(("pay", {"amount": 5, "value": sent_value})), says("Done."))
    with runtime("blocking", server, *([] if way == "at once" else [REVIEW])) as client:
        client.tool("pay", pay)
        result = client.run()
        if way != "at once":
            state = client.client.state_from_json(result.to_state().to_json())
            [item] = state.interruptions
            assert item["arguments"] == {"amount": 5, "value": shown_value}
            if way == "edited":
                state.edit(item, arguments={"amount": 6, "value": sent_value})
            else:
                state.approve(item)
            result = client.resume(state)
        last = result["execution"]["last"]
        assert (last["status"], last["error"]) == ("executed", None)
        assert last["arguments"] == {"amount": amount, "value": shown_value}
        evaluated_value = client.bighub.evaluations[-1]["context"]["arguments"]["value"]
    assert values == [value]
    assert type(values[0]) is type(value)
    assert evaluated_value == shown_value or "[redacted]" in str(evaluated_value)


@pytest.mark.parametrize("client_kind", CLIENT_KINDS)
def test_numbers_that_the_model_sends_as_text_are_numbers_for_all(
    server: ResponsesServer, client_kind: str
) -> None:
    values: list[Any] = []

    def pay(amount: float, times: int | None, sure: bool, price: Decimal, note: str) -> None:
        values.extend([amount, times, sure, price, note])

    sent_value = {"amount": "2.50", "times": "3", "sure": "true", "price": "1.10", "note": "7"}
    server.script(calls(("pay", sent_value)), says("Done."))
    with runtime(client_kind, server) as client:
        client.tool("pay", pay, value_from_args=lambda args: args["amount"] * args["times"])
        last = client.run()["execution"]["last"]
        [request] = client.bighub.evaluations
    assert values == [2.5, 3, True, Decimal("1.10"), "7"]
    assert last["arguments"] == {**sent_value, "amount": 2.5, "times": 3, "sure": True}
    assert request["value"] == 7.5


class Rates(BaseModel):
    """Numbers within a model of the user's own, which takes any of them."""

    rates: dict[str, float]


@dataclass(slots=True)
class Limits:
    """The same in a dataclass."""

    numbers: tuple[float, ...]


@pytest.mark.parametrize("text", ["NaN", "inf", "-Infinity", "1e999"])
@pytest.mark.parametrize("kind", [Rates, Limits, set[float], float | bool])
def test_what_is_no_number_never_reaches_a_tool_within_any_type(
    server: ResponsesServer, kind: Any, text: str
) -> None:
    value: Any = {Rates: {"rates": {"eur": text}}, Limits: {"numbers": [1, text]}}.get(
        kind, [text] if kind == set[float] else text
    )
    server.script(calls(("pay", {"value": value})), says("Done."))
    with runtime("blocking", server) as client:

        def pay(value: Any) -> None:
            pytest.fail(f"it ran with {value}")

        pay.__annotations__["value"] = kind
        client.tool("pay", pay, strict=False)
        last = client.run()["execution"]["last"]
    assert last["status"] == "tool_error"
    assert "number" in last["error"]
    assert client.bighub.evaluations == []


@pytest.mark.parametrize("amount", ['"NaN"', '"inf"', "1e999", "NaN", "-Infinity", '"1e999"'])
def test_what_is_no_number_never_reaches_a_tool(server: ResponsesServer, amount: str) -> None:
    server.script(calls(("pay", f'{{"amount": {amount}}}')), says("Done."))
    with runtime("blocking", server) as client:

        def pay(amount: float) -> None:
            pytest.fail(f"it ran with {amount}")

        client.tool("pay", pay)
        last = client.run()["execution"]["last"]
    assert last["status"] == "tool_error"
    assert client.bighub.evaluations == []


class ByPath(BaseModel):
    amount: float = Field(validation_alias=AliasPath("money", 0))


class Lazy(BaseModel):
    numbers: Iterable[int]


class Holder(BaseModel):
    inner: list[ByPath]


def take(hint: Any) -> Callable[..., Any]:
    def pay(value: Any) -> None: ...

    pay.__annotations__["value"] = hint
    return pay


@pytest.mark.parametrize(
    ("fn", "fault"),
    [
        (take(ByPath), "read from the path"),
        (take(Holder), "read from the path"),
        (take(Generator[int, None, None]), "an iterator is read only once"),
        (take(Lazy), "an iterator is read only once"),
        (take(Callable[[], int]), "JSON cannot express"),
        (take(Annotated[Callable[[], int], Field(default=len)]), "JSON cannot express"),
    ],
)
def test_a_parameter_whose_values_cannot_be_those_of_its_schema_is_refused_by_name(
    fn: Callable[..., Any], fault: str
) -> None:
    client = BighubOpenAI(openai_api_key="key", bighub="local")
    with pytest.raises(AdapterConfigurationError, match=f"parameter 'value': .*{fault}"):
        client.tool("pay", fn)


# ruff: noqa: B008 - users write such defaults
def with_field(  # noqa: PLR0917 - one of each form
    age: int = Field(..., gt=0, description="In years"),
    seats: int = Field(default=2, ge=1, le=8),
    tags: list[str] = Field(default_factory=list, max_length=2),
    code: SecretStr = Field(default=SecretStr("none"), alias="kennwort"),
    size: Annotated[int, Field(default=3, le=9)] = 5,
    note: Annotated[str | None, Field(default_factory=str)] = None,
    pet: Cat | Dog | None = Field(None, discriminator="kind"),
) -> tuple[Any, ...]:
    return age, seats, tags, code.get_secret_value(), size, note, pet


def annotated_only(
    *, age: Annotated[int, Field(gt=0)], seats: Annotated[int, Field(default=2, le=8)], **more: int
) -> tuple[Any, ...]:
    return age, seats, more


TOM = Cat(kind="cat", name="Tom")


@pytest.mark.parametrize(
    ("fn", "arguments", "expected"),
    [
        (with_field, {"age": 4}, (4, 2, [], "none", 5, None, None)),
        (
            with_field,
            {"age": 4, "seats": 8, "size": 9, "code": "x"},
            (4, 8, [], "x", 9, None, None),
        ),
        (
            with_field,
            {"age": 4, "pet": {"kind": "cat", "name": "Tom"}},
            (4, 2, [], "none", 5, None, TOM),
        ),
        (
            with_field,
            {"age": 4, "seats": None, "tags": ["a"]},
            (4, 2, ["a"], "none", 5, None, None),
        ),
        (with_field, {"age": -5}, "age: Input should be greater than 0"),
        (with_field, {}, "age: Field required"),
        (with_field, {"age": None}, "age: Input should be a valid integer"),
        (with_field, {"age": 4, "seats": 99}, "seats: Input should be less than or equal to 8"),
        (with_field, {"age": 4, "size": 99}, "size: Input should be less than or equal to 9"),
        (with_field, {"age": 4, "tags": ["a", "b", "c"]}, "tags: List should have at most 2 items"),
        (with_field, {"age": 4, "kennwort": "x"}, "kennwort: Extra inputs"),
        (annotated_only, {"age": 4}, (4, 2, {})),
        (annotated_only, {"age": 4, "extra": "7"}, (4, 2, {"extra": 7})),
        (annotated_only, {"age": 4, "seats": 9}, "seats: Input should be less than or equal to 8"),
        (annotated_only, {"age": 4, "extra": "many"}, "extra: Input should be a valid integer"),
        (annotated_only, {"seats": 4}, "age: Field required"),
    ],
)
@pytest.mark.filterwarnings("ignore::bighub_langgraph.openai.function_schema.SchemaWarning")
def test_fields_of_pydantic_declare_rules_and_defaults(
    server: ResponsesServer, fn: Callable[..., Any], arguments: Json, expected: Any
) -> None:
    values = []

    @functools.wraps(fn)
    def tool(*args: Any, **by_name: Any) -> None:
        values.append(fn(*args, **by_name))

    server.script(calls(("tool", arguments)), says("Done."))
    with runtime("blocking", server) as client:
        client.tool("tool", tool)
        last = client.run()["execution"]["last"]
    if isinstance(expected, str):
        assert expected in last["error"]
        assert (last["status"], values) == ("tool_error", [])
    else:
        assert (last["status"], values) == ("executed", [expected])


class Defaults(BaseModel):
    amount: Annotated[float, PlainSerializer(round)] = 1.55
    secret: SecretStr = SecretStr("hunter2")
    iban: str = "DE0212"
    unit: Unit = Unit.EURO
    tags: tuple[str, ...] = ("a",)

    @field_serializer("iban")
    def mask(self, value: str) -> str:
        return "****" + value[-4:]


def test_a_default_within_a_type_is_shown_as_it_is_or_not_at_all() -> None:
    def pay(options: Defaults) -> None: ...

    client = BighubOpenAI(openai_api_key="key", bighub="local")
    client.tool("pay", pay)
    text = json.dumps(client.list_tools())
    for hint_text in ("(null: the default, 1.55)", '(null: the default, \\"DE0212\\")', "100)"):
        assert hint_text in text
    assert "***" not in text
    assert "hunter2" not in text


def test_a_default_is_shown_only_as_the_tool_would_get_it() -> None:
    client = BighubOpenAI(openai_api_key="key", bighub="local")
    client.tool("tool", with_field, strict=False)
    properties = client.list_tools()[0]["function"]["parameters"]["properties"]
    assert {name: part["default"] for name, part in properties.items() if "default" in part} == {
        "seats": 2,
        "size": 5,
        "note": None,
        "pet": None,
    }
    assert properties["age"]["description"] == "In years"
    assert client.list_tools()[0]["function"]["parameters"]["required"] == ["age"]


REFUND = {
    "type": "object",
    "properties": {"order": {"type": "string"}, "amount": {"type": "number", "maximum": 100}},
    "required": ["order", "amount"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "edit",
    [
        {"order": "1", "amount": "many"},
        {"order": "1", "amount": 101},
        {"order": "1"},
        {"order": "1", "amount": 5, "to": "me"},
        {"order": "1", "amount": float("nan")},
        {"order": "1", "amount": Decimal(5)},
        ["1", 5],
        "1",
    ],
    ids=str,
)
@pytest.mark.parametrize("schema", [REFUND, None], ids=["by hand", "signature"])
def test_an_edit_that_does_not_fit_is_refused_before_anything_runs(
    server: ResponsesServer, schema: Json | None, edit: Any
) -> None:
    def refund(order: str, amount: Annotated[float, Field(le=100)]) -> None:
        pytest.fail("it ran")

    server.script(calls(("refund", {"order": "1", "amount": 5})), says("Denied."))
    with runtime("blocking", server, REVIEW) as client:
        client.tool("refund", refund, parameters_schema=schema)
        state = client.run().to_state()
        with pytest.raises(InvalidCall, match="arguments of 'refund'"):
            state.edit(state.interruptions[0], arguments=edit)
        with pytest.raises(InvalidCall, match="arguments of 'refund'"):
            client.resume_after_approval("refund", edit, "req_1")
        assert client.resume(state).status == "interrupted"
        assert len(client.bighub.evaluations) == 1


DEFAULT = object()


def by_position(a: int, b: Any = DEFAULT, c: Any = DEFAULT, /) -> Any:
    return a, b, c


def with_rest(a: int, b: Any = DEFAULT, *rest: int, c: Any = DEFAULT) -> Any:
    return a, b, rest, c


@pytest.mark.parametrize(
    ("fn", "arguments", "expected"),
    [
        (by_position, {"a": 1, "c": 3}, (1, DEFAULT, 3)),
        (by_position, {"a": 1, "b": 2}, (1, 2, DEFAULT)),
        (with_rest, {"a": 1, "rest": [3, 4]}, (1, DEFAULT, (3, 4), DEFAULT)),
        (with_rest, {"a": 1, "b": 2, "rest": [3], "c": 5}, (1, 2, (3,), 5)),
        (with_rest, {"a": 1}, (1, DEFAULT, (), DEFAULT)),
    ],
)
def test_an_omitted_argument_moves_no_other_into_its_place(
    fn: Callable[..., Any], arguments: Json, expected: Any
) -> None:
    positional, by_name = (
        parameters_from_signature(fn, "tool", strict=False).validate(arguments).bind()
    )
    assert fn(*positional, **by_name) == expected


@pytest.mark.parametrize("name", ["price", "amount", "sizes"])
def test_a_field_as_default_never_reaches_a_tool_with_a_schema_by_hand(
    server: ResponsesServer, name: str
) -> None:
    def pay(amount: float = Field(gt=0), price: int = Field(default=2), sizes: Any = None) -> Any:
        return [amount, price, sizes]

    properties: Json = {name: {} for name in ("amount", "price", "sizes")}
    sent_value = {other: 1 for other in properties if other != name}
    server.script(calls(("pay", sent_value)), says("Done."))
    with runtime("blocking", server) as client:
        schema = {"type": "object", "properties": properties}
        client.tool("pay", pay, parameters_schema=schema, strict=False)
        last = client.run()["execution"]["last"]
    if name == "sizes":
        assert last["output"] == [1, 1, None]
    else:
        assert f"missing a required argument: '{name}'" in last["error"]


def test_a_number_is_the_same_after_a_round_through_javascript(server: ResponsesServer) -> None:
    values = []

    def pay(amount: float, times: int, limit: float | None, either: int | str) -> None:
        values.append((amount, times, limit, either))

    server.script(calls(("pay", '{"amount": 5.0, "times": 2.0, "limit": 3, "either": 4}')))
    with runtime("blocking", server, REVIEW) as client:
        client.tool("pay", pay)
        [item] = client.run().interruptions
        assert list(map(repr, item["arguments"].values())) == ["5.0", "2", "3.0", "4"]
        shown_value = {"amount": 5, "times": 2, "limit": 3, "either": 4}
        assert client.resume_after_approval("pay", shown_value, item["request_id"])["resumed"]
    assert values == [(5.0, 2, 3.0, 4)]
