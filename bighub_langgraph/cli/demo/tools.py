"""The shop's methods as an agent's tools, and how each is guarded."""

from langchain_core.tools import BaseTool, StructuredTool

from bighub_langgraph import ToolPolicy
from bighub_langgraph.cli.demo.shop import Shop


def shop_tools(shop: Shop) -> list[BaseTool]:
    """What the agent can do in a shop; what the shop refuses, its model is told."""
    methods = [getattr(shop, name) for name in POLICIES]
    return [StructuredTool.from_function(one, handle_tool_error=True) for one in methods]


_ORDER = ToolPolicy(target_from_args=lambda arguments: arguments["order_id"])
_CUSTOMER = ToolPolicy(target_from_args=lambda arguments: arguments["customer_id"])

POLICIES = {
    "look_up_order": ToolPolicy(read_only=True),
    "look_up_customer": ToolPolicy(read_only=True),
    "refund_payment": ToolPolicy(
        target_from_args=lambda arguments: arguments["order_id"],
        value_from_args=lambda arguments: arguments["amount"],
    ),
    "cancel_order": _ORDER,
    "change_address": _ORDER,
    "send_mail": _CUSTOMER,
    "delete_account": _CUSTOMER,
}
