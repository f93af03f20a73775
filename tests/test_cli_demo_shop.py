"""The demo's shop rejects what an order or a customer does not allow; its month is seeded."""

from typing import Any

import pytest

from bighub_langgraph.cli.demo.shop import Customer, Order, Outage, Shop, ShopError
from bighub_langgraph.cli.demo.world import DAY, create_world


def create_shop() -> Shop:
    orders = {
        "O-1": Order("C-1", "mug", 24.90, "delivered", "1 Main Street"),
        "O-2": Order("C-1", "lamp", 59.00, "shipped", "1 Main Street"),
    }
    return Shop({"C-1": Customer("Ada", days_known=90)}, orders, voucher_outage=Outage(1.0, 2.0))


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("refund_payment", {"order_id": "O-1", "amount": 25.0, "reason": ""}),
        ("refund_payment", {"order_id": "O-1", "amount": -1.0, "reason": ""}),
        ("refund_payment", {"order_id": "O-1", "amount": float("nan"), "reason": ""}),
        ("cancel_order", {"order_id": "O-2"}),
        ("change_address", {"order_id": "O-1", "address": "here"}),
        ("look_up_order", {"order_id": "O-9999"}),
        ("issue_voucher", {"order_id": "O-9999", "amount": 5.0}),
        ("delete_account", {"customer_id": "C-999"}),
    ],
)
def test_the_shop_rejects_impossible_requests(tool: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ShopError):
        getattr(create_shop(), tool)(**arguments)


def test_an_order_is_refunded_at_most_once() -> None:
    shop = create_shop()
    shop.refund_payment("O-1", 24.90, "broken")
    with pytest.raises(ShopError, match=r"at most 0\.00 for O-1"):
        shop.refund_payment("O-1", 24.90, "broken")


def test_a_deleted_account_is_gone() -> None:
    shop = create_shop()
    shop.delete_account("C-1")
    with pytest.raises(ShopError, match="no customer C-1"):
        shop.look_up_customer("C-1")


def test_vouchers_fail_only_during_the_outage() -> None:
    shop = create_shop()
    assert shop.issue_voucher("O-1", 5.0)["voucher"] == 5.0
    shop.now = 1.5
    with pytest.raises(ShopError, match="503"):
        shop.issue_voucher("O-1", 5.0)


def test_the_same_seed_gives_the_same_month() -> None:
    assert create_world(5) == create_world(5)
    assert create_world(5).requests != create_world(6).requests


def test_a_month_has_honest_and_dishonest_customers_mistakes_and_late_discoveries() -> None:
    world = create_world(0)
    assert len(world.requests) == 560
    assert [request.at for request in world.requests] == sorted(r.at for r in world.requests)
    late = [request.late_outcome for request in world.requests if request.late_outcome]
    assert {outcome.status for outcome in late} == {"FRAUD", "ROLLBACK"}
    assert 0 < min(outcome.delay for outcome in late) < max(o.delay for o in late) <= 3 * DAY
    assert len(late) < len(world.requests) / 5
    assert any(request.fails for request in world.requests)
