"""A small shop in memory, its methods as an agent's tools, and their policies."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from langchain_core.tools import BaseTool, StructuredTool, ToolException

from bighub_langgraph import ToolPolicy

OrderStatus = Literal["paid", "shipped", "delivered", "cancelled"]


class ShopError(ToolException):
    """The shop rejects a request; the agent's model reads the reason."""


@dataclass(slots=True)
class Customer:
    """A customer, until the account is deleted."""

    name: str
    days_known: int
    is_deleted: bool = False


class Outage(NamedTuple):
    """When a partner's service does not work, in seconds since the shop opened."""

    start: float
    end: float


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
    """The shop's state. Its methods are the agent's tools: plain functions with docstrings.

    Attributes:
        voucher_outage: When vouchers cannot be issued, if ever.
        now: Seconds since the shop opened.
    """

    customers: dict[str, Customer]
    orders: dict[str, Order]
    voucher_outage: Outage | None = None
    now: float = 0.0

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

    def issue_voucher(self, order_id: str, amount: float) -> dict[str, Any]:
        """Give the customer of an order a voucher, issued by a partner."""
        self._find_order(order_id)
        outage = self.voucher_outage
        if outage is not None and outage.start <= self.now < outage.end:
            raise ShopError("the partner for vouchers answers 503: try again later")
        return {"order_id": order_id, "voucher": amount}

    def delete_account(self, customer_id: str) -> dict[str, Any]:
        """Delete a customer's account for good."""
        self._find_customer(customer_id).is_deleted = True
        return {"customer_id": customer_id, "deleted": True}

    def describe_order(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Describe the order in a call's arguments: what BIGHUB learns from besides these."""
        order = self.orders.get(str(arguments.get("order_id")))
        if order is None or order.customer_id not in self.customers:
            return {}
        days_known = self.customers[order.customer_id].days_known
        return {"item": order.item, "price": order.paid, "days_known": days_known}

    def find_stake(self, arguments: Mapping[str, Any]) -> float:
        """Return the money that a call is about: its amount, or what the order costs."""
        order = self.orders.get(str(arguments.get("order_id")))
        amount = arguments.get("amount", order.paid if order else 0.0)
        return float(amount) if isinstance(amount, int | float) else 0.0

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
    methods: list[Callable[..., Any]] = [getattr(shop, name) for name in create_policies(shop)]
    return [StructuredTool.from_function(method, handle_tool_error=True) for method in methods]


def create_policies(shop: Shop) -> dict[str, ToolPolicy]:
    """Create the policies of the agent's tools."""

    def policy_of_order(value: str | None = None) -> ToolPolicy:
        return ToolPolicy(
            target_from_args=lambda arguments: arguments["order_id"],
            value_from_args=(lambda arguments: arguments[value]) if value else None,
            metadata_from_args=shop.describe_order,
        )

    return {
        "look_up_order": ToolPolicy(read_only=True),
        "look_up_customer": ToolPolicy(read_only=True),
        "refund_payment": policy_of_order("amount"),
        "issue_voucher": policy_of_order("amount"),
        "cancel_order": policy_of_order(),
        "change_address": policy_of_order(),
        "delete_account": ToolPolicy(target_from_args=lambda arguments: arguments["customer_id"]),
    }
