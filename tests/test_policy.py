"""The evaluation request of a call, and the key that binds a record to it."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from bighub_langgraph.core.errors import ConfigurationError, InvalidCall
from bighub_langgraph.core.models import ToolCall
from bighub_langgraph.core.policy import (
    ApprovalPolicy,
    GuardSettings,
    ToolPolicy,
    build_evaluation_request,
)
from tests.calls import REFUND


def evaluation_request(policy: ToolPolicy | None = None, **arguments: Any) -> Any:
    call = replace(REFUND, arguments=arguments)
    return build_evaluation_request(
        call, GuardSettings(actor="bot", tools={"refund": policy} if policy else {})
    )


def test_a_call_without_a_policy_is_evaluated_with_the_defaults() -> None:
    request = evaluation_request(order_id="o1")
    assert (request.action, request.actor, request.value) == ("refund", "bot", None)
    assert request.context == {
        "objective": "better_decision",
        "model_selection": "auto",
        "session_id": "thread-1",
        "trajectory_id": "thread-1",
        "arguments": {"order_id": "o1"},
    }


def test_a_policy_sets_value_target_metadata_and_names() -> None:
    policy = ToolPolicy(
        value_from_args=lambda a: a["cents"] / 100,
        target_from_args=lambda a: a["customer"],
        metadata_from_args=lambda _: {"priority": "high"},
        action_name="payout",
        domain="payments",
        actor="teller",
    )
    request = evaluation_request(policy, cents=1250, customer="c7")
    assert (request.action, request.domain, request.actor) == ("payout", "payments", "teller")
    assert (request.value, request.target) == (12.5, "c7")
    assert request.context["priority"] == "high"


@pytest.mark.parametrize("name", ["value", "amount", "price", "total"])
def test_an_obvious_value_is_sent_without_a_policy(name: str) -> None:
    assert evaluation_request(None, **{name: 12}).value == 12.0
    assert evaluation_request(None, **{name: True}).value is None


@pytest.mark.parametrize("name", ["value", "amount", "price", "total"])
def test_a_text_that_a_tool_reads_as_a_number_is_sent_as_the_value(name: str) -> None:
    own = ToolPolicy(value_from_args=lambda arguments: arguments[name])
    for policy in (None, own):
        assert evaluation_request(policy, **{name: " 12.50 "}).value == 12.5
        assert evaluation_request(policy, **{name: "1e3"}).value == 1000.0
    for text in ("twelve", "", "NaN", "-inf", "12 EUR"):
        assert evaluation_request(None, **{name: text}).value is None
        with pytest.raises(InvalidCall, match=r"value of .* is not a number"):
            evaluation_request(own, **{name: text})


@pytest.mark.parametrize("text", ["1e999", "-1e999", "9" * 400])
def test_a_text_that_is_too_large_a_number_is_refused(text: str) -> None:
    # A `Decimal` holds it, and without a value no limit would hold for it.
    for policy in (None, ToolPolicy(value_from_args=lambda arguments: arguments["amount"])):
        with pytest.raises(InvalidCall, match="not a finite number"):
            evaluation_request(policy, amount=text)


def test_a_decimal_is_a_number_and_none_is_no_value() -> None:
    assert evaluation_request(ToolPolicy(value_from_args=lambda _: Decimal("1.5"))).value == 1.5
    assert evaluation_request(ToolPolicy(value_from_args=lambda _: None), amount=3).value is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, "twelve", True, []])
def test_a_value_that_is_not_a_finite_number_is_refused(value: Any) -> None:
    with pytest.raises(InvalidCall, match="'refund' is"):
        evaluation_request(ToolPolicy(value_from_args=lambda _: value))


@pytest.mark.parametrize("name", ["value_from_args", "target_from_args", "metadata_from_args"])
def test_a_function_of_the_policy_that_raises_is_named(name: str) -> None:
    def broken(arguments: dict[str, Any]) -> Any:
        return arguments["missing"]

    with pytest.raises(InvalidCall, match=f"{name} of 'refund' raised KeyError"):
        evaluation_request(ToolPolicy(**dict[str, Any]({name: broken})))


def test_arguments_are_sent_without_secrets_and_the_key_is_of_the_real_ones() -> None:
    first = replace(REFUND, arguments={"password": "a"})
    second = replace(REFUND, arguments={"password": "b"})
    assert build_evaluation_request(first, GuardSettings()).context["arguments"] == {
        "password": "[redacted]"
    }
    assert first.key != second.key


def test_a_key_is_the_digest_of_every_part() -> None:
    calls = [
        REFUND,
        replace(REFUND, thread="thread-2"),
        replace(REFUND, turn="message-2"),
        replace(REFUND, call_id="call-2"),
        replace(REFUND, tool="transfer"),
        replace(REFUND, arguments={"order_id": "o1", "amount": 40.5}),
    ]
    assert len({call.key for call in calls}) == len(calls)
    other_order = {"amount": 40, "order_id": "o1"}
    assert replace(REFUND, arguments=other_order).key == REFUND.key


def test_a_redaction_in_place_changes_only_what_is_sent() -> None:
    def redact_in_place(value: Any) -> Any:
        value["card"]["number"] = "***"
        return value

    call = replace(REFUND, arguments={"card": {"number": "4242"}})
    policy = ToolPolicy(metadata_from_args=dict)
    context = build_evaluation_request(
        call, GuardSettings(redact=redact_in_place, tools={"refund": policy})
    ).context
    assert context["arguments"]["card"] == context["card"] == {"number": "***"}
    assert call.arguments == {"card": {"number": "4242"}}


def test_the_result_of_a_redaction_is_sent_as_json() -> None:
    settings = GuardSettings(redact=lambda arguments: {"kinds": set(map(type, arguments.values()))})
    assert isinstance(
        build_evaluation_request(REFUND, settings).context["arguments"]["kinds"], list
    )


def test_a_redaction_that_raises_prevents_the_call() -> None:
    def broken(value: Any) -> Any:
        raise LookupError(f"no rule for card 4111 1111 1111 1111 in {len(value)}")

    with pytest.raises(InvalidCall, match=r"redact of 'refund' raised LookupError.*\[redacted\]"):
        build_evaluation_request(REFUND, GuardSettings(redact=broken))


def test_metadata_that_is_not_a_mapping_is_refused() -> None:
    with pytest.raises(InvalidCall, match="metadata_from_args of 'refund' gave"):
        evaluation_request(ToolPolicy(metadata_from_args=lambda _: ["a", "b"]))  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("arguments", [{"x": float("nan")}, {"x": float("inf")}, {"x": object()}])
def test_arguments_that_are_not_json_have_no_key(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidCall, match="call-1 of 'refund' are not plain JSON"):
        _ = ToolCall("t", "m", "call-1", "refund", arguments).key


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"allowed_decisions": []}, "at least one"),
        ({"allowed_decisions": "approve"}, "at least one"),
        ({"allowed_decisions": ["maybe"]}, "not 'maybe'"),
        ({"interrupt_mode": "twice"}, "interrupt_mode is one of"),
        ({"expires_after": 0}, "positive number of seconds"),
    ],
)
def test_an_approval_policy_that_cannot_work_is_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ApprovalPolicy(**settings)


def test_arguments_that_contain_themselves_have_no_key() -> None:
    arguments: dict[str, Any] = {}
    arguments["self"] = arguments
    with pytest.raises(InvalidCall, match="not plain JSON"):
        _ = ToolCall("thread", "turn", "call", "tool", arguments).key
