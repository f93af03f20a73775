"""The script: from a customer's words to the tool calls of each round (pure)."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Results = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call of the script."""

    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wish:
    """What can be told from a customer's words."""

    customer: str
    orders: Sequence[str]
    amount: float | None
    address: str


def next_calls(text: str, rounds: int, results: Results) -> list[Call]:
    """The calls for a request after some rounds: first it looks things up, then it acts, once."""
    wish = _wish(text)
    if rounds == 0:
        return _look_up(wish)
    if rounds > 1:
        return []
    acts = (act for words, act in _ACTS if re.search(words, text, re.IGNORECASE))
    act = next(acts, None)
    return act(wish, results) if act else []


def _look_up(wish: Wish) -> list[Call]:
    if wish.orders:
        return [Call("look_up_order", {"order_id": order}) for order in wish.orders]
    return [Call("look_up_customer", {"customer_id": wish.customer})] if wish.customer else []


def _refund(wish: Wish, results: Results) -> list[Call]:
    """Refund the amount that was asked for, else all that is left of each order."""
    left = {str(r.get("order_id")): r.get("paid", 0.0) - r.get("refunded", 0.0) for r in results}
    refunds = [
        {"order_id": order, "amount": wish.amount or left[order], "reason": "customer request"}
        for order in wish.orders
        if order in left
    ]
    return [*(Call("refund_payment", refund) for refund in refunds), _mail(wish, "refund")]


def _cancel(wish: Wish, _: Results) -> list[Call]:
    cancelled = [Call("cancel_order", {"order_id": order}) for order in wish.orders]
    return [*cancelled, _mail(wish, "cancellation")]


def _redirect(wish: Wish, _: Results) -> list[Call]:
    redirected = [
        Call("change_address", {"order_id": order, "address": wish.address})
        for order in wish.orders
    ]
    return [*redirected, _mail(wish, "new address")]


def _delete(wish: Wish, _: Results) -> list[Call]:
    return [Call("delete_account", {"customer_id": wish.customer})]


def _mail(wish: Wish, what: str) -> Call:
    text = f"We are on it: {', '.join(wish.orders)}."
    mail = {"customer_id": wish.customer, "subject": f"Your {what}", "text": text}
    return Call("send_mail", mail)


def _wish(text: str) -> Wish:
    amount = re.search(r"refund (\d+\.\d\d)", text, re.IGNORECASE)
    address = re.search(r"address[^:]*: *(.+?)\.?$", text, re.IGNORECASE)
    customer = re.search(r"C-\d+", text)
    return Wish(
        customer=customer.group() if customer else "",
        orders=re.findall(r"O-\d+", text),
        amount=float(amount.group(1)) if amount else None,
        address=address.group(1) if address else "",
    )


_ACTS: Sequence[tuple[str, Callable[[Wish, Results], list[Call]]]] = (
    (r"\brefund", _refund),
    (r"\bcancel", _cancel),
    (r"\baddress", _redirect),
    (r"\bdelete my account", _delete),
)
