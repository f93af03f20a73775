"""A small shop in memory, its methods as an agent's tools, and their policies."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from langchain_core.tools import BaseTool, StructuredTool, ToolException

from bighub_langgraph import ToolPolicy

OrderStatus = Literal["paid", "shipped", "delivered", "cancelled"]


class ShopError(ToolException):
    """The shop rejects a request; the agent's model reads the reason."""


@dataclass(slots=True)
class Customer:
    """A customer, until the account is deleted."""

    name: str
    is_deleted: bool = False


@dataclass(slots=True)
class Order:
    """An order, and how much of its price was refunded."""

    customer_id: str
    item: str
    paid: float
    status: OrderStatus
    address: str
    refunded: float = 0.0


@dataclass(slots=True)
class Shop:
    """The shop's state. Its methods are the agent's tools: plain functions with docstrings."""

    customers: dict[str, Customer]
    orders: dict[str, Order]

    def look_up_order(self, order_id: str) -> dict[str, Any]:
        """Look up an order: item, status, address, what was paid and what was refunded."""
        return {"order_id": order_id, **asdict(self._find_order(order_id))}

    def look_up_customer(self, customer_id: str) -> dict[str, Any]:
        """Look up a customer: the name and the ids of the orders."""
        name = self._find_customer(customer_id).name
        orders = [key for key, order in self.orders.items() if order.customer_id == customer_id]
        return {"customer_id": customer_id, "name": name, "orders": orders}

    def refund_payment(self, order_id: str, amount: float, reason: str) -> dict[str, Any]:
        """Refund an amount for an order, at most what was paid and not yet refunded."""
        order = self._find_order(order_id)
        refundable = round(order.paid - order.refunded, 2)
        if not 0 < amount <= refundable:
            raise ShopError(f"cannot refund {amount:.2f}: at most {refundable:.2f} for {order_id}")
        order.refunded = round(order.refunded + amount, 2)
        return {"order_id": order_id, "refunded": amount, "reason": reason}

    def cancel_order(self, order_id: str) -> dict[str, Any]:
        """Cancel an order that has not left the warehouse, and refund the rest of its price."""
        order = self._find_order(order_id)
        if order.status != "paid":
            raise ShopError(f"{order_id} cannot be cancelled: it is {order.status}")
        refund = round(order.paid - order.refunded, 2)
        order.status, order.refunded = "cancelled", order.paid
        return {"order_id": order_id, "status": "cancelled", "refunded": refund}

    def change_address(self, order_id: str, address: str) -> dict[str, Any]:
        """Send an order that is not yet delivered to another address."""
        order = self._find_order(order_id)
        if order.status in {"delivered", "cancelled"}:
            raise ShopError(f"{order_id} cannot be redirected: it is {order.status}")
        order.address = address
        return {"order_id": order_id, "address": address}

    def send_mail(self, customer_id: str, subject: str, text: str) -> dict[str, Any]:
        """Write to a customer."""
        self._find_customer(customer_id)
        return {"customer_id": customer_id, "subject": subject, "sent": text}

    def delete_account(self, customer_id: str) -> dict[str, Any]:
        """Delete a customer's account for good."""
        self._find_customer(customer_id).is_deleted = True
        return {"customer_id": customer_id, "deleted": True}

    def _find_order(self, order_id: str) -> Order:
        if order_id not in self.orders:
            raise ShopError(f"there is no order {order_id}")
        return self.orders[order_id]

    def _find_customer(self, customer_id: str) -> Customer:
        customer = self.customers.get(customer_id)
        if customer is None or customer.is_deleted:
            raise ShopError(f"there is no customer {customer_id}")
        return customer


def create_tools(shop: Shop) -> list[BaseTool]:
    """Create the agent's tools; the model reads a `ShopError` as the tool's result."""
    methods = [getattr(shop, name) for name in POLICIES]
    return [StructuredTool.from_function(method, handle_tool_error=True) for method in methods]


_ORDER_POLICY = ToolPolicy(target_from_args=lambda arguments: arguments["order_id"])
_CUSTOMER_POLICY = ToolPolicy(target_from_args=lambda arguments: arguments["customer_id"])

POLICIES = {
    "look_up_order": ToolPolicy(read_only=True),
    "look_up_customer": ToolPolicy(read_only=True),
    "refund_payment": ToolPolicy(
        target_from_args=lambda arguments: arguments["order_id"],
        value_from_args=lambda arguments: arguments["amount"],
    ),
    "cancel_order": _ORDER_POLICY,
    "change_address": _ORDER_POLICY,
    "send_mail": _CUSTOMER_POLICY,
    "delete_account": _CUSTOMER_POLICY,
}
