"""A small shop in memory: orders, payments, customers and mail."""

from dataclasses import dataclass, field
from typing import Literal

from langchain_core.tools import ToolException


class ShopError(ToolException):
    """The shop does not do what it was asked to; the agent's model reads why."""


OrderStatus = Literal["paid", "shipped", "delivered", "cancelled"]


@dataclass(slots=True)
class Customer:
    """Someone who buys here."""

    name: str
    since: int
    mails: list[str] = field(default_factory=list)
    deleted: bool = False


@dataclass(slots=True)
class Order:
    """What a customer bought, what was paid for it and how much of that went back."""

    customer_id: str
    item: str
    paid: float
    status: OrderStatus
    address: str
    refunded: float = 0.0


@dataclass(slots=True)
class Shop:
    """The shop's books. What the agent may use are the methods, plain functions with docstrings."""

    customers: dict[str, Customer]
    orders: dict[str, Order]

    def look_up_order(self, order_id: str) -> dict[str, object]:
        """Look up an order: item, status, address, what was paid and what was refunded."""
        order = self._order(order_id)
        return {
            "order_id": order_id,
            "customer_id": order.customer_id,
            "item": order.item,
            "status": order.status,
            "address": order.address,
            "paid": order.paid,
            "refunded": order.refunded,
        }

    def look_up_customer(self, customer_id: str) -> dict[str, object]:
        """Look up a customer: name, since when, and the ids of the orders."""
        customer = self._customer(customer_id)
        orders = [key for key, order in self.orders.items() if order.customer_id == customer_id]
        return {
            "customer_id": customer_id,
            "name": customer.name,
            "since": customer.since,
            "orders": orders,
        }

    def refund_payment(self, order_id: str, amount: float, reason: str) -> dict[str, object]:
        """Pay money back for an order, at most what was paid and not yet refunded."""
        order = self._order(order_id)
        left = round(order.paid - order.refunded, 2)
        if not 0 < amount <= left:
            raise ShopError(f"{amount:.2f} cannot be refunded: {left:.2f} of {order_id} is left")
        order.refunded = round(order.refunded + amount, 2)
        return {"order_id": order_id, "refunded": amount, "reason": reason}

    def cancel_order(self, order_id: str) -> dict[str, object]:
        """Cancel an order that has not left the warehouse, and pay back what is left of it."""
        order = self._order(order_id)
        if order.status != "paid":
            raise ShopError(f"{order_id} cannot be cancelled: it is {order.status}")
        returned = round(order.paid - order.refunded, 2)
        order.status, order.refunded = "cancelled", order.paid
        return {"order_id": order_id, "status": "cancelled", "refunded": returned}

    def change_address(self, order_id: str, address: str) -> dict[str, object]:
        """Send an order that is not yet delivered to another address."""
        order = self._order(order_id)
        if order.status in {"delivered", "cancelled"}:
            raise ShopError(f"{order_id} cannot be redirected: it is {order.status}")
        order.address = address
        return {"order_id": order_id, "address": address}

    def send_mail(self, customer_id: str, subject: str, text: str) -> dict[str, object]:
        """Write to a customer."""
        self._customer(customer_id).mails.append(f"{subject}\n\n{text}")
        return {"customer_id": customer_id, "sent": subject}

    def delete_account(self, customer_id: str) -> dict[str, object]:
        """Delete a customer's account for good."""
        self._customer(customer_id).deleted = True
        return {"customer_id": customer_id, "deleted": True}

    def _order(self, order_id: str) -> Order:
        if order_id not in self.orders:
            raise ShopError(f"there is no order {order_id}")
        return self.orders[order_id]

    def _customer(self, customer_id: str) -> Customer:
        customer = self.customers.get(customer_id)
        if customer is None or customer.deleted:
            raise ShopError(f"there is no customer {customer_id}")
        return customer
