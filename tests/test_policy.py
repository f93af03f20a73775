"""What BIGHUB is told of a call, and the key that binds a record to it."""

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


def told(policy: ToolPolicy | None = None, **arguments: Any) -> Any:
    call = replace(REFUND, arguments=arguments)
    return build_evaluation_request(
        call, GuardSettings(actor="bot", tools={"refund": policy} if policy else {})
    )


def test_a_call_without_a_policy_is_told_with_the_defaults() -> None:
    proposal = told(order_id="o1")
    assert (proposal.action, proposal.actor, proposal.value) == ("refund", "bot", None)
    assert proposal.context == {
        "objective": "better_decision",
        "model_selection": "auto",
        "session_id": "thread-1",
        "trajectory_id": "thread-1",
        "arguments": {"order_id": "o1"},
    }


def test_a_policy_says_value_target_metadata_and_names() -> None:
    policy = ToolPolicy(
        value_from_args=lambda a: a["cents"] / 100,
        target_from_args=lambda a: a["customer"],
        metadata_from_args=lambda _: {"priority": "high"},
        action_name="payout",
        domain="payments",
        actor="teller",
    )
    proposal = told(policy, cents=1250, customer="c7")
    assert (proposal.action, proposal.domain, proposal.actor) == ("payout", "payments", "teller")
    assert (proposal.value, proposal.target) == (12.5, "c7")
    assert proposal.context["priority"] == "high"


@pytest.mark.parametrize("name", ["value", "amount", "price", "total"])
def test_an_obvious_value_is_sent_without_a_policy(name: str) -> None:
    assert told(None, **{name: 12}).value == 12.0
    assert told(None, **{name: "12"}).value is None
    assert told(None, **{name: True}).value is None


def test_a_decimal_is_a_number_and_none_is_no_value() -> None:
    assert told(ToolPolicy(value_from_args=lambda _: Decimal("1.5"))).value == 1.5
    assert told(ToolPolicy(value_from_args=lambda _: None), amount=3).value is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, "12", True, []])
def test_a_value_that_is_no_finite_number_is_refused(value: Any) -> None:
    with pytest.raises(InvalidCall, match="'refund' is"):
        told(ToolPolicy(value_from_args=lambda _: value))


@pytest.mark.parametrize("name", ["value_from_args", "target_from_args", "metadata_from_args"])
def test_a_function_of_the_policy_that_raises_is_named(name: str) -> None:
    def broken(arguments: dict[str, Any]) -> Any:
        return arguments["missing"]

    with pytest.raises(InvalidCall, match=f"{name} of 'refund' raised KeyError"):
        told(ToolPolicy(**dict[str, Any]({name: broken})))


def test_arguments_are_told_without_secrets_and_the_key_is_made_of_the_real_ones() -> None:
    first = replace(REFUND, arguments={"password": "a"})
    second = replace(REFUND, arguments={"password": "b"})
    assert build_evaluation_request(first, GuardSettings()).context["arguments"] == {
        "password": "[redacted]"
    }
    assert first.key != second.key


def test_a_key_is_the_digest_of_every_part() -> None:
    parts = [
        REFUND,
        replace(REFUND, thread="thread-2"),
        replace(REFUND, turn="message-2"),
        replace(REFUND, call_id="call-2"),
        replace(REFUND, tool="transfer"),
        replace(REFUND, arguments={"order_id": "o1", "amount": 40.5}),
    ]
    assert len({one.key for one in parts}) == len(parts)
    other_order = {"amount": 40, "order_id": "o1"}
    assert replace(REFUND, arguments=other_order).key == REFUND.key


def test_a_redaction_that_works_in_place_changes_only_what_is_told() -> None:
    def hide(said: Any) -> Any:
        said["card"]["number"] = "***"
        return said

    call = replace(REFUND, arguments={"card": {"number": "4242"}})
    policy = ToolPolicy(metadata_from_args=dict)
    context = build_evaluation_request(
        call, GuardSettings(redact=hide, tools={"refund": policy})
    ).context
    assert context["arguments"]["card"] == context["card"] == {"number": "***"}
    assert call.arguments == {"card": {"number": "4242"}}


def test_what_a_redaction_gives_is_told_in_plain_json() -> None:
    rules = GuardSettings(redact=lambda said: {"kinds": {type(one) for one in said.values()}})
    assert isinstance(build_evaluation_request(REFUND, rules).context["arguments"]["kinds"], list)


def test_a_redaction_that_raises_lets_nothing_run() -> None:
    def broken(said: Any) -> Any:
        raise LookupError(f"no rule for card 4111 1111 1111 1111 in {len(said)}")

    with pytest.raises(InvalidCall, match=r"redact of 'refund' raised LookupError.*\[redacted\]"):
        build_evaluation_request(REFUND, GuardSettings(redact=broken))


def test_metadata_that_are_no_mapping_are_refused() -> None:
    with pytest.raises(InvalidCall, match="metadata_from_args of 'refund' gave"):
        told(ToolPolicy(metadata_from_args=lambda _: ["a", "b"]))  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("arguments", [{"x": float("nan")}, {"x": float("inf")}, {"x": object()}])
def test_arguments_that_are_no_json_have_no_key(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidCall, match="call-1 of 'refund' are not plain JSON"):
        _ = ToolCall("t", "m", "call-1", "refund", arguments).key


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"allowed_decisions": []}, "at least one"),
        ({"allowed_decisions": "approve"}, "at least one"),
        ({"allowed_decisions": ["maybe"]}, "not 'maybe'"),
        ({"interrupt_mode": "twice"}, "interrupt_mode is one of"),
        ({"expires_after": 0}, "positive number of seconds"),
    ],
)
def test_an_approval_policy_that_cannot_work_is_refused(
    settings: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(ConfigurationError, match=wrong):
        ApprovalPolicy(**settings)


def test_arguments_that_hold_themselves_have_no_key() -> None:
    arguments: dict[str, Any] = {}
    arguments["self"] = arguments
    with pytest.raises(InvalidCall, match="not plain JSON"):
        _ = ToolCall("thread", "turn", "call", "tool", arguments).key
