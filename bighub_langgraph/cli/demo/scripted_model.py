"""A scripted model: it replaces an LLM and answers from the conversation alone."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.runnables import Runnable, RunnableLambda

PlannedCall = tuple[str, dict[str, Any]]
Results = Sequence[Mapping[str, Any]]

# The word in the request, and the tool that it leads to.
ACTIONS = {
    "refund": "refund_payment",
    "voucher": "issue_voucher",
    "cancel": "cancel_order",
    "address": "change_address",
}
VOUCHER = 10.0


def respond(messages: Sequence[BaseMessage]) -> AIMessage:
    """Write the next message of a conversation."""
    start = max(n for n, message in enumerate(messages) if isinstance(message, HumanMessage))
    turn = sum(isinstance(message, AIMessage) for message in messages[start:])
    results = [message for message in messages[start:] if isinstance(message, ToolMessage)]
    failed_tools = [str(result.name) for result in results if result.status == "error"]
    plan = plan_calls(str(messages[start].text), turn, [_parse(result) for result in results])
    tool_calls = [
        ToolCall(name=name, args=arguments, id=f"call_{turn}_{n}", type="tool_call")
        for n, (name, arguments) in enumerate(plan)
    ]
    if tool_calls:
        return AIMessage("", tool_calls=tool_calls)
    if failed_tools:
        names = ", ".join(failed_tools)
        return AIMessage(f"I could not do all of it ({names}); a colleague will write to you.")
    return AIMessage("Done. Is there anything else?" if results else "How can I help?")


scripted_model: Runnable[Any, AIMessage] = RunnableLambda(respond)


def plan_calls(request: str, turn: int, results: Results) -> list[PlannedCall]:
    """Plan a turn's calls for a customer's request: turn 0 looks things up, turn 1 acts."""
    orders = re.findall(r"O-\d+", request)
    customer = _search(r"(C-\d+)", request)
    if turn == 0 and orders:
        return [("look_up_order", {"order_id": order}) for order in orders]
    if turn == 0 and customer:
        return [("look_up_customer", {"customer_id": customer})]
    return _plan_actions(request, orders, customer, results) if turn == 1 else []


def _plan_actions(
    request: str, orders: Sequence[str], customer: str, results: Results
) -> list[PlannedCall]:
    keyword = _search(rf"\b({'|'.join(ACTIONS)}|delete my account)", request).lower()
    if keyword == "delete my account":
        return [("delete_account", {"customer_id": customer})]
    if keyword not in ACTIONS:
        return []
    details = {result["order_id"]: result for result in results if "paid" in result}
    calls: list[PlannedCall] = []
    for order in details if keyword == "refund" else orders:
        arguments: dict[str, Any] = {"order_id": order}
        if keyword == "refund":
            amount = float(_search(r"refund (\d+\.\d\d)", request) or 0)
            rest = details[order]["paid"] - details[order]["refunded"]
            arguments["amount"] = amount or rest
            arguments["reason"] = "broken" if "broken" in request else "never arrived"
        elif keyword == "voucher":
            arguments["amount"] = VOUCHER
        elif keyword == "address":
            arguments["address"] = _search(r"address[^:]*: *(.+?)\.?$", request)
        calls.append((ACTIONS[keyword], arguments))
    return calls


def _parse(result: ToolMessage) -> Mapping[str, Any]:
    """Parse a tool's result; get an empty one if it failed or a person wrote it."""
    try:
        content = json.loads(str(result.text))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _search(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.IGNORECASE)
    return match.group(1) if match else ""
