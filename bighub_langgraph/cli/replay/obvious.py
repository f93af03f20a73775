"""What a call is about and how much is at stake, where its arguments say so in common words."""

import math
from collections.abc import Mapping
from typing import Any

TARGETS = (
    *("order_id", "reservation_id", "booking_id", "payment_id", "account_id", "customer_id"),
    *("user_id", "recipient", "email", "to", "path", "url"),
)
AMOUNTS = ("amount", "refund_amount", "total_amount", "amount_usd", "total", "price", "value")


def target_of(arguments: Mapping[str, Any]) -> str | None:
    """The thing a call acts on: the first of `TARGETS`, else the first argument named `..._id`."""
    named = [name for name in TARGETS if name in arguments]
    named += [name for name in arguments if name.endswith("_id")]
    return next((str(arguments[name]) for name in named if _is_name(arguments[name])), None)


def value_of(arguments: Mapping[str, Any]) -> float | None:
    """The amount a call moves: the first of `AMOUNTS`, else the sum of `amount` over a list."""
    for name in AMOUNTS:
        if (amount := _number(arguments.get(name))) is not None:
            return amount
    for parts in arguments.values():
        amounts = [_number(part.get("amount")) for part in _mappings(parts)]
        if known := [amount for amount in amounts if amount is not None]:
            return sum(known)
    return None


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [part for part in value if isinstance(part, Mapping)] if isinstance(value, list) else []


def _number(value: Any) -> float | None:
    """Read a finite number, written as one or as text; its sign says only which way it goes."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return abs(number) if math.isfinite(number) else None
