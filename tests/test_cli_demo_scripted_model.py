"""The demo's scripted model answers from the conversation alone and fits the scenario."""

import json
from itertools import chain
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from bighub_langgraph.cli.demo.scenario import REQUESTS, Request, create_shop
from bighub_langgraph.cli.demo.scripted_model import plan_calls, scripted_model
from bighub_langgraph.cli.demo.shop import Shop, ShopError


def run_model(shop: Shop, request: Request) -> list[AIMessage]:
    """Let the scripted model and the shop talk until the model calls no more tools."""
    messages: list[BaseMessage] = [HumanMessage(f"{request.customer}: {request.text}")]
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
    messages = run_model(
        create_shop(), Request("C-101 Ada Byron", "O-1001 broke, please refund 24.90.")
    )
    assert calls_of(messages) == [["look_up_order"], ["refund_payment", "send_mail"], []]
    assert messages[1].tool_calls[0]["args"]["amount"] == 24.90
    assert messages[-1].text == "Done. Is there anything else?"


def test_an_amount_that_the_request_omits_is_taken_from_the_order() -> None:
    shop = create_shop()
    run_model(shop, Request("C-104 Dora Maar", "refund O-1006 and O-1007, all of it"))
    assert [shop.orders[order].refunded for order in ("O-1006", "O-1007")] == [19.90, 35.00]


def test_the_same_conversation_gets_the_same_answer() -> None:
    messages = [HumanMessage("C-103: cancel O-1004")]
    first, second = (scripted_model.invoke(messages) for _ in range(2))
    assert first.tool_calls == second.tool_calls


def test_the_closing_text_names_what_failed() -> None:
    messages = run_model(create_shop(), Request("C-108 Hedy Kiesler", "cancel O-1011"))
    assert "cancel_order" in messages[-1].text


def test_there_are_two_dozen_requests_and_some_ask_for_several_things_at_once() -> None:
    shop = create_shop()
    conversations = [run_model(shop, request) for request in REQUESTS]
    assert len(REQUESTS) == 24
    assert sum(max(map(len, calls_of(messages))) > 1 for messages in conversations) >= 12


def test_every_late_outcome_is_about_a_call_that_the_script_makes() -> None:
    shop = create_shop()
    for request in REQUESTS:
        tools = chain(*calls_of(run_model(shop, request)))
        assert request.late_outcome is None or request.late_outcome.tool in tools


def test_first_and_last_third_call_the_same_tools() -> None:
    shop = create_shop()
    tools = [list(chain(*calls_of(run_model(shop, request)))) for request in REQUESTS]
    assert sorted(chain(*tools[:8])) == sorted(chain(*tools[-8:]))


def test_a_request_without_known_words_leads_to_no_calls() -> None:
    assert plan_calls("good morning", 0, []) == []
