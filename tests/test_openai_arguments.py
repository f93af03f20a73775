"""Arguments that a model sends are parsed, or refused with a message that says what is wrong."""

import pytest

from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.openai.arguments import parse_arguments
from bighub_langgraph.openai.function_schema import parameters_from_signature


def nested_json(levels: int) -> str:
    return '{"a": ' + "[" * levels + "]" * levels + "}"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "a JSON object"),
        ('{"a": NaN}', "NaN"),
        ("nonsense", "not JSON"),
        (nested_json(100), "nested deeper than 100 levels"),
    ],
)
def test_arguments_that_are_no_json_object_are_refused(raw: str, message: str) -> None:
    with pytest.raises(InvalidCall, match=message):
        parse_arguments(raw, "pay")


def test_arguments_may_be_nested_to_a_hundred_levels() -> None:
    assert list(parse_arguments(nested_json(99), "pay")) == ["a"]


def test_empty_arguments_are_no_arguments() -> None:
    assert parse_arguments("", "pay") == parse_arguments(None, "pay") == {}


def test_arguments_that_do_not_fit_are_named_one_by_one() -> None:
    def pay(amount: float, order: str) -> None: ...

    with pytest.raises(InvalidCall) as error_info:
        parameters_from_signature(pay, "pay").check({"amount": "much", "extra": 1})
    message = str(error_info.value)
    assert "amount: Input should be a valid number" in message
    assert "order: Field required" in message
    assert "extra: " in message


def test_at_most_five_faults_are_spelled_out() -> None:
    def pay(**amounts: int) -> None: ...

    parameters = parameters_from_signature(lambda a, b, c, d, e, f: None, "pay", strict=False)
    with pytest.raises(InvalidCall, match=r"e: Field required; and 1 more$"):
        parameters.check({})


def test_a_validated_call_gets_values_of_its_own() -> None:
    def tag(names: list[str]) -> list[str]:
        names.append("changed")
        return names

    parameters = parameters_from_signature(tag, "tag")
    arguments, bind = parameters.validate({"names": ["a"]})
    _, by_name = bind()
    assert tag(**by_name) == ["a", "changed"]
    assert arguments == {"names": ["a"]}
