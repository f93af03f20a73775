"""The demo's scenario: the shop's stock, what customers write, and which outcomes change later."""

from dataclasses import dataclass
from typing import Literal

from bighub_langgraph.cli.demo.shop import Customer, Order, OrderStatus, Shop


@dataclass(frozen=True, slots=True)
class LateOutcome:
    """The outcome of a tool's call that is discovered `delay` requests later, and the reason."""

    tool: str
    status: Literal["FRAUD", "ROLLBACK"]
    reason: str
    delay: int = 2


@dataclass(frozen=True, slots=True)
class Request:
    """A customer's message, and the late outcome of fulfilling it."""

    customer: str
    text: str
    late_outcome: LateOutcome | None = None


def create_shop() -> Shop:
    """Create a shop with the customers and orders that the requests mention."""
    names = dict(request.customer.split(" ", 1) for request in REQUESTS)
    customers = {number: Customer(name) for number, name in names.items()}
    orders = {
        number: Order(customer, item, paid, status, f"{number[2:]} Main Street")
        for number, customer, item, paid, status in _ORDERS
    }
    return Shop(customers, orders)


_STOLEN_CARD = LateOutcome("refund_payment", "FRAUD", "the order was paid with a stolen card")
_HIJACKED = LateOutcome("change_address", "FRAUD", "the account had been taken over")
_REGRETTED = LateOutcome("delete_account", "ROLLBACK", "only the newsletter was meant")
_WRONG_ORDER = LateOutcome("refund_payment", "ROLLBACK", "the wrong order, O-1025 was meant")

REQUESTS = (
    # First third: the same mix of requests as the last third, so that the two can be compared.
    Request("C-201 R. Smith", "I sent O-1003 back, refund all of it now!!", _STOLEN_CARD),
    Request("C-101 Ada Byron", "The mug in O-1001 came broken. Please refund 24.90."),
    Request("C-202 T. Jones", "Send O-1005 to this address: Locker 7, Harbour Road.", _HIJACKED),
    Request("C-102 Ben Okri", "Where is my order O-1002?"),
    Request("C-105 Emil Noether", "I get too much mail, delete my account.", _REGRETTED),
    Request("C-103 Chen Wei", "I no longer need O-1004, please cancel it."),
    Request("C-104 Dora Maar", "O-1006 and O-1007 were both damaged, please refund both."),
    Request("C-106 Fay Weldon", "The case in O-1008 does not fit. Please refund 12.50."),
    # Second third.
    Request("C-107 Gus Green", "The bottle in O-1009 leaks. Please refund 18.00."),
    Request("C-108 Hedy Kiesler", "Please cancel O-1010 and O-1011, I ordered too much."),
    Request("C-101 Ada Byron", "I moved. Send O-1012 to this address: 4 Mill Lane."),
    Request("C-203 K. Brown", "O-1013 never came, refund the full amount today.", _STOLEN_CARD),
    Request("C-204 P. Miller", "New address for O-1014: Locker 9, Harbour Road.", _HIJACKED),
    Request("C-102 Ben Okri", "The bike light in O-1015 is dead. Please refund 22.00."),
    Request("C-107 Gus Green", "Stop these letters, delete my account.", _REGRETTED),
    Request("C-103 Chen Wei", "The raincoat is too small. Refund O-1016 please.", _WRONG_ORDER),
    # Last third.
    Request("C-205 V. White", "O-1019 is not what I ordered, refund everything.", _STOLEN_CARD),
    Request("C-106 Fay Weldon", "The pot in O-1017 is cracked. Please refund 16.50."),
    Request("C-206 L. Black", "Send O-1021 to this address: Locker 2, Harbour Road.", _HIJACKED),
    Request("C-104 Dora Maar", "Where is my order O-1020?"),
    Request("C-102 Ben Okri", "Too many mails from you. Delete my account.", _REGRETTED),
    Request("C-104 Dora Maar", "I changed my mind, please cancel O-1020."),
    Request("C-108 Hedy Kiesler", "O-1022 and O-1023 are chipped, please refund both."),
    Request("C-101 Ada Byron", "Pages are missing in O-1024. Please refund 9.90."),
)

_ORDERS: tuple[tuple[str, str, str, float, OrderStatus], ...] = (
    ("O-1001", "C-101", "stoneware mug", 24.90, "delivered"),
    ("O-1002", "C-102", "desk lamp", 59.00, "shipped"),
    ("O-1003", "C-201", "gaming console", 480.00, "delivered"),
    ("O-1004", "C-103", "garden hose", 34.50, "paid"),
    ("O-1005", "C-202", "headphones", 349.00, "shipped"),
    ("O-1006", "C-104", "tea towels", 19.90, "delivered"),
    ("O-1007", "C-104", "cutting board", 35.00, "delivered"),
    ("O-1008", "C-106", "phone case", 12.50, "delivered"),
    ("O-1009", "C-107", "water bottle", 18.00, "delivered"),
    ("O-1010", "C-108", "wall clock", 42.00, "paid"),
    ("O-1011", "C-108", "picture frame", 27.00, "shipped"),
    ("O-1012", "C-101", "rain boots", 89.00, "shipped"),
    ("O-1013", "C-203", "tablet", 520.00, "delivered"),
    ("O-1014", "C-204", "smart watch", 410.00, "shipped"),
    ("O-1015", "C-102", "bike light", 22.00, "delivered"),
    ("O-1016", "C-103", "backpack", 79.00, "delivered"),
    ("O-1017", "C-106", "plant pot", 16.50, "delivered"),
    ("O-1019", "C-205", "drone", 495.00, "delivered"),
    ("O-1020", "C-104", "bed linen", 64.00, "paid"),
    ("O-1021", "C-206", "camera", 399.00, "shipped"),
    ("O-1022", "C-108", "candle", 14.00, "delivered"),
    ("O-1023", "C-108", "tray", 21.00, "delivered"),
    ("O-1024", "C-101", "notebook", 9.90, "delivered"),
    ("O-1025", "C-103", "raincoat", 79.00, "delivered"),
)
