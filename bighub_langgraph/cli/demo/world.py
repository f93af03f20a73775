"""The demo's world: a seeded month of a shop's customers, and what their requests come to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple

from bighub_langgraph.cli.demo.shop import Customer, Order, OrderStatus, Outage, Shop

DAY = 86_400.0
DAYS = 28
REQUESTS_PER_DAY = 20
FIRST_DAY = 1_767_571_200.0  # Monday, 5 January 2026, in UTC
VOUCHER_OUTAGE = Outage(1 * DAY, 12 * DAY)
_FALSE_CLAIMS, _LATE_CANCELLATIONS, _MEANT_THE_NEWSLETTER = 0.01, 0.04, 0.5
MISTAKE_COST = 60.0  # of an account or an order that has to be restored

_HONEST, _DISHONEST = 160, 40
_FIRST_NAMES = ("Ada", "Ben", "Chen", "Dora", "Emil", "Fay", "Gus", "Hedy", "Ines", "Jan")
_LAST_NAMES = ("Adler", "Brown", "Costa", "Diaz", "Evans", "Fischer", "Green", "Hill", "Ito", "Kay")
_CHEAP = ("stoneware mug", "tea towels", "phone case", "water bottle", "picture frame", "candle")
_EXPENSIVE = ("gaming console", "tablet", "headphones", "smart watch", "drone", "camera")


@dataclass(frozen=True, slots=True)
class LateOutcome:
    """The outcome of a tool's call that is discovered `delay` seconds later, and its cost."""

    tool: str
    status: Literal["FRAUD", "ROLLBACK"]
    reason: str
    delay: float
    loss: float


@dataclass(frozen=True, slots=True)
class Request:
    """A customer's message at a moment of the month, and what becomes of fulfilling it.

    Attributes:
        number: From 1.
        at: Seconds since the start of the month.
        late_outcome: What is discovered if the request is fulfilled; None if all is well.
        fails: Whether the call that fulfils it fails.
        draw: A number from 0 to 1; a simulated person errs if it is above the stated accuracy.
    """

    number: int
    at: float
    customer: str
    text: str
    late_outcome: LateOutcome | None = None
    fails: bool = False
    draw: float = 0.0

    @property
    def is_bad(self) -> bool:
        """Whether the call that fulfils it goes wrong, at once or later."""
        return self.fails or self.late_outcome is not None


@dataclass(frozen=True, slots=True)
class World:
    """A shop, and the requests of its month in order."""

    shop: Shop
    requests: Sequence[Request]


class Message(NamedTuple):
    """What a customer writes, the late outcome of fulfilling it, and whether that fails."""

    text: str
    late_outcome: LateOutcome | None = None
    fails: bool = False


def create_world(seed: int, days: int = DAYS) -> World:
    """Create a shop and its requests; the same seed and days give the same requests."""
    writer = _Writer(Random(seed))  # noqa: S311 - a simulation has to be repeatable
    count = days * REQUESTS_PER_DAY
    times = sorted(writer.random.uniform(0, days * DAY) for _ in range(count))
    return World(writer.shop, [writer.write_request(n, at) for n, at in enumerate(times, start=1)])


@dataclass(slots=True)
class _Writer:
    """Writes what customers send, and puts the orders that they mention into the shop."""

    random: Random
    shop: Shop = field(default_factory=lambda: Shop({}, {}, voucher_outage=VOUCHER_OUTAGE))
    honest: list[str] = field(default_factory=list)
    dishonest: list[str] = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self) -> None:
        for number in range(_HONEST + _DISHONEST):
            is_honest = number < _HONEST
            name = f"{self.random.choice(_FIRST_NAMES)} {self.random.choice(_LAST_NAMES)}"
            age = self.random.randint(120, 2_000) if is_honest else self.random.randint(1, 40)
            customer_id = f"C-{100 + self.random.randrange(900)}{number:03}"
            self.shop.customers[customer_id] = Customer(name, days_known=age)
            (self.honest if is_honest else self.dishonest).append(customer_id)

    def write_request(self, number: int, at: float) -> Request:
        """Write one request."""
        self.now = at
        kinds: dict[Callable[[str], Message], int] = {
            self._ask_for_refund: 42,
            self._ask_for_voucher: 14,
            self._ask_for_address: 12,
            self._ask_to_cancel: 12,
            self._ask_a_question: 8,
            self._ask_to_delete: 4,
            self._claim_refund: 5,
            self._hijack_order: 3,
        }
        [write] = self.random.choices(list(kinds), list(kinds.values()))
        is_honest = write not in (self._claim_refund, self._hijack_order)
        customer_id = self.random.choice(self.honest if is_honest else self.dishonest)
        message = write(customer_id)
        customer = f"{customer_id} {self.shop.customers[customer_id].name}"
        return Request(number, at, customer, *message, draw=self.random.random())

    def _ask_for_refund(self, customer: str) -> Message:
        price = self._choose_price(8, 70)
        order = self._add_order(customer, _CHEAP, price, "delivered")
        text = f"My order {order} came broken. Please refund {price:.2f}."
        if self.random.random() < _FALSE_CLAIMS:  # nobody can know
            return Message(text, self._late_fraud("refund_payment", "never broken", price))
        return Message(text)

    def _claim_refund(self, customer: str) -> Message:
        price = self._choose_price(180, 520)
        order = self._add_order(customer, _EXPENSIVE, price, "delivered")
        fraud = self._late_fraud("refund_payment", "paid with a stolen card", price)
        return Message(f"{order} never came, refund the full amount of it now!!", fraud)

    def _ask_for_address(self, customer: str) -> Message:
        order = self._add_order(customer, _CHEAP, self._choose_price(8, 90), "shipped")
        number = self.random.randint(1, 90)
        return Message(f"I moved. Send {order} to this address: {number} Mill Lane.")

    def _hijack_order(self, customer: str) -> Message:
        price = self._choose_price(220, 520)
        order = self._add_order(customer, _EXPENSIVE, price, "shipped")
        fraud = self._late_fraud("change_address", "the account had been taken over", price)
        return Message(f"Send {order} to this address: Locker {self.random.randint(1, 9)}.", fraud)

    def _ask_to_cancel(self, customer: str) -> Message:
        is_late = self.random.random() < _LATE_CANCELLATIONS
        status: OrderStatus = "shipped" if is_late else "paid"
        order = self._add_order(customer, _CHEAP, self._choose_price(8, 90), status)
        return Message(f"I no longer need {order}, please cancel it.", fails=is_late)

    def _ask_for_voucher(self, customer: str) -> Message:
        order = self._add_order(customer, _CHEAP, self._choose_price(8, 60), "delivered")
        fails = VOUCHER_OUTAGE.start <= self.now < VOUCHER_OUTAGE.end
        return Message(f"{order} came late. Can I have a voucher, please?", fails=fails)

    def _ask_to_delete(self, customer: str) -> Message:
        self.honest.remove(customer)
        if self.random.random() >= _MEANT_THE_NEWSLETTER:
            return Message("I moved abroad, delete my account.")
        reason, delay = "only the newsletter was meant", self.random.uniform(0.2, 1) * DAY
        late = LateOutcome("delete_account", "ROLLBACK", reason, delay, MISTAKE_COST)
        return Message("I get too much mail, delete my account.", late)

    def _ask_a_question(self, customer: str) -> Message:
        order = self._add_order(customer, _CHEAP, self._choose_price(8, 90), "shipped")
        return Message(f"Where is my order {order}?")

    def _late_fraud(self, tool: str, reason: str, loss: float) -> LateOutcome:
        return LateOutcome(tool, "FRAUD", reason, self.random.uniform(1, 3) * DAY, loss)

    def _add_order(
        self, customer: str, items: Sequence[str], price: float, status: OrderStatus
    ) -> str:
        number = f"O-{1001 + len(self.shop.orders)}"
        self.shop.orders[number] = Order(
            customer, self.random.choice(items), price, status, "1 Main Street"
        )
        return number

    def _choose_price(self, low: float, high: float) -> float:
        return round(self.random.uniform(low, high), 2)
