"""The demo's scripted model answers from the conversation alone, and its requests fit its shop."""

import json
from itertools import chain
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from bighub_langgraph.cli.demo.requests import REQUESTS, Request
from bighub_langgraph.cli.demo.script import next_calls
from bighub_langgraph.cli.demo.scripted import ScriptedModel
from bighub_langgraph.cli.demo.shop import Shop, ShopError
from bighub_langgraph.cli.demo.stock import open_shop

TOOLS = [
    "look_up_order",
    "look_up_customer",
    "refund_payment",
    "cancel_order",
    "change_address",
    "send_mail",
    "delete_account",
]


def run(shop: Shop, request: Request) -> list[AIMessage]:
    """Let the scripted model and the shop talk until the model has said its last word."""
    model = ScriptedModel().bind_tools([getattr(shop, name) for name in TOOLS])
    messages: list[BaseMessage] = [HumanMessage(f"{request.customer}: {request.text}")]
    while not (isinstance(messages[-1], AIMessage) and not messages[-1].tool_calls):
        if isinstance(messages[-1], AIMessage):
            messages += [answer(shop, call) for call in messages[-1].tool_calls]
        else:
            messages.append(model.invoke(messages))
    return [message for message in messages if isinstance(message, AIMessage)]


def answer(shop: Shop, call: Any) -> ToolMessage:
    try:
        content, status = json.dumps(getattr(shop, call["name"])(**call["args"])), "success"
    except ShopError as refusal:
        content, status = str(refusal), "error"
    return ToolMessage(content, name=call["name"], tool_call_id=call["id"], status=status)


def calls_of(said: list[AIMessage]) -> list[list[str]]:
    return [[call["name"] for call in message.tool_calls] for message in said]


def test_a_request_is_looked_up_acted_on_and_closed() -> None:
    said = run(open_shop(), Request("C-101 Ada Byron", "O-1001 broke, please refund 24.90."))
    assert calls_of(said) == [["look_up_order"], ["refund_payment", "send_mail"], []]
    assert said[1].tool_calls[0]["args"]["amount"] == 24.90
    assert said[-1].text == "Done. Is there anything else?"


def test_what_the_customer_does_not_say_is_read_from_the_look_up() -> None:
    shop = open_shop()
    run(shop, Request("C-104 Dora Maar", "refund O-1006 and O-1007, all of it"))
    assert [shop.orders[order].refunded for order in ("O-1006", "O-1007")] == [19.90, 35.00]


def test_the_same_conversation_gets_the_same_answer() -> None:
    asked = [HumanMessage("C-103: cancel O-1004")]
    model = ScriptedModel().bind_tools([open_shop().look_up_order])
    first, second = (model.invoke(asked) for _ in range(2))
    assert first.tool_calls == second.tool_calls


def test_a_tool_that_is_not_bound_is_never_called() -> None:
    model = ScriptedModel().bind_tools([open_shop().look_up_customer])
    assert model.invoke([HumanMessage("C-103: cancel O-1004")]).tool_calls == []


def test_the_last_word_names_what_did_not_work() -> None:
    said = run(open_shop(), Request("C-108 Hedy Kiesler", "cancel O-1011"))
    assert "cancel_order" in said[-1].text


def test_there_are_two_dozen_requests_and_some_ask_for_several_things_at_once() -> None:
    shop = open_shop()
    said = [run(shop, request) for request in REQUESTS]
    assert len(REQUESTS) == 24
    assert sum(max(len(round_) for round_ in calls_of(one)) > 1 for one in said) >= 12


def test_every_trouble_that_comes_to_light_later_is_about_a_call_the_script_makes() -> None:
    shop = open_shop()
    for request in REQUESTS:
        made = [tool for round_ in calls_of(run(shop, request)) for tool in round_]
        assert request.later is None or request.later.tool in made


def test_first_and_last_third_call_the_same_tools() -> None:
    shop = open_shop()
    made = [[tool for round_ in calls_of(run(shop, one)) for tool in round_] for one in REQUESTS]
    assert sorted(chain(*made[:8])) == sorted(chain(*made[-8:]))


def test_words_the_script_does_not_know_lead_to_no_calls() -> None:
    assert next_calls("good morning", 0, []) == []


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("refund_payment", {"order_id": "O-1001", "amount": 25.0, "reason": ""}),
        ("refund_payment", {"order_id": "O-1001", "amount": -1.0, "reason": ""}),
        ("refund_payment", {"order_id": "O-1001", "amount": float("nan"), "reason": ""}),
        ("cancel_order", {"order_id": "O-1002"}),
        ("change_address", {"order_id": "O-1001", "address": "here"}),
        ("look_up_order", {"order_id": "O-9999"}),
        ("delete_account", {"customer_id": "C-999"}),
    ],
)
def test_the_shop_refuses_what_cannot_be(tool: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ShopError):
        getattr(open_shop(), tool)(**arguments)


def test_an_order_is_refunded_at_most_once() -> None:
    shop = open_shop()
    shop.refund_payment("O-1001", 24.90, "broken")
    with pytest.raises(ShopError, match=r"0\.00 of O-1001 is left"):
        shop.refund_payment("O-1001", 24.90, "broken")


def test_a_deleted_account_is_gone() -> None:
    shop = open_shop()
    shop.delete_account("C-101")
    with pytest.raises(ShopError, match="no customer C-101"):
        shop.send_mail("C-101", "hello", "there")
