"""The demo's scripted model answers from the conversation alone and fits the world."""

import json
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from bighub_langgraph.cli.demo.scripted_model import plan_calls, scripted_model
from bighub_langgraph.cli.demo.shop import Customer, Order, Shop, ShopError, create_policies
from bighub_langgraph.cli.demo.world import create_world


def create_shop() -> Shop:
    orders = {
        "O-1001": Order("C-1", "mug", 24.90, "delivered", "1 Main Street"),
        "O-1002": Order("C-1", "lamp", 59.00, "shipped", "1 Main Street"),
    }
    return Shop({"C-1": Customer("Ada", days_known=90)}, orders)


def run_model(shop: Shop, text: str) -> list[AIMessage]:
    """Let the scripted model and the shop talk until the model calls no more tools."""
    messages: list[BaseMessage] = [HumanMessage(text)]
    while not (isinstance(messages[-1], AIMessage) and not messages[-1].tool_calls):
        if isinstance(messages[-1], AIMessage):
            messages += [answer(shop, call) for call in messages[-1].tool_calls]
        else:
            messages.append(scripted_model.invoke(messages))
    return [message for message in messages if isinstance(message, AIMessage)]


def answer(shop: Shop, call: Any) -> ToolMessage:
    try:
        content, status = json.dumps(getattr(shop, call["name"])(**call["args"])), "success"
    except ShopError as error:
        content, status = str(error), "error"
    return ToolMessage(content, name=call["name"], tool_call_id=call["id"], status=status)


def calls_of(messages: list[AIMessage]) -> list[list[str]]:
    return [[call["name"] for call in message.tool_calls] for message in messages]


def test_a_request_is_looked_up_acted_on_and_closed() -> None:
    messages = run_model(create_shop(), "C-1 Ada: O-1001 came broken. Please refund 14.90.")
    assert calls_of(messages) == [["look_up_order"], ["refund_payment"], []]
    assert messages[1].tool_calls[0]["args"]["amount"] == 14.90
    assert messages[-1].text == "Done. Is there anything else?"


def test_an_amount_that_the_request_omits_is_taken_from_the_order() -> None:
    shop = create_shop()
    run_model(shop, "C-1 Ada: refund O-1001 and O-1002, all of it")
    assert [order.refunded for order in shop.orders.values()] == [24.90, 59.00]


def test_the_same_conversation_gets_the_same_answer() -> None:
    messages = [HumanMessage("C-1: cancel O-1001")]
    first, second = (scripted_model.invoke(messages) for _ in range(2))
    assert first.tool_calls == second.tool_calls


def test_the_closing_text_names_what_failed() -> None:
    messages = run_model(create_shop(), "C-1 Ada: cancel O-1002")
    assert "cancel_order" in messages[-1].text


def test_each_request_leads_to_one_call_at_most_and_its_outcome_is_about_that_call() -> None:
    # One at a time: the order in which calls are evaluated and reported is the same in each run.
    world = create_world(0)
    read_only = {name for name, policy in create_policies(world.shop).items() if policy.read_only}
    for request in world.requests:
        world.shop.now = request.at
        messages = run_model(world.shop, f"{request.customer}: {request.text}")
        tools = [name for names in calls_of(messages) for name in names if name not in read_only]
        assert len(tools) <= 1
        assert request.late_outcome is None or tools == [request.late_outcome.tool]
        assert request.fails == ("I could not" in messages[-1].text)


def test_a_request_without_known_words_leads_to_no_calls() -> None:
    assert plan_calls("good morning", 0, []) == []
