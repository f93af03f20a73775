"""The demo's shop rejects what an order or a customer does not allow."""

from typing import Any

import pytest

from bighub_langgraph.cli.demo.scenario import create_shop
from bighub_langgraph.cli.demo.shop import ShopError


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("refund_payment", {"order_id": "O-1001", "amount": 25.0, "reason": ""}),
        ("refund_payment", {"order_id": "O-1001", "amount": -1.0, "reason": ""}),
        ("refund_payment", {"order_id": "O-1001", "amount": float("nan"), "reason": ""}),
        ("cancel_order", {"order_id": "O-1002"}),
        ("change_address", {"order_id": "O-1001", "address": "here"}),
        ("look_up_order", {"order_id": "O-9999"}),
        ("delete_account", {"customer_id": "C-999"}),
    ],
)
def test_the_shop_rejects_impossible_requests(tool: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ShopError):
        getattr(create_shop(), tool)(**arguments)


def test_an_order_is_refunded_at_most_once() -> None:
    shop = create_shop()
    shop.refund_payment("O-1001", 24.90, "broken")
    with pytest.raises(ShopError, match=r"at most 0\.00 for O-1001"):
        shop.refund_payment("O-1001", 24.90, "broken")


def test_a_deleted_account_is_gone() -> None:
    shop = create_shop()
    shop.delete_account("C-101")
    with pytest.raises(ShopError, match="no customer C-101"):
        shop.send_mail("C-101", "hello", "there")
