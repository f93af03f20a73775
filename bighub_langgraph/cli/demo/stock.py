"""What the demo's shop has sold, and to whom; new for every run."""

from bighub_langgraph.cli.demo.shop import Customer, Order, OrderStatus, Shop


def open_shop() -> Shop:
    """A shop with the customers and orders that the demo's requests speak of."""
    customers = {number: Customer(name, since) for number, name, since in _CUSTOMERS}
    orders = {
        number: Order(customer, item, paid, status, f"{number[2:]} Main Street")
        for number, customer, item, paid, status in _ORDERS
    }
    return Shop(customers, orders)


_CUSTOMERS = (
    ("C-101", "Ada Byron", 2017),
    ("C-102", "Ben Okri", 2019),
    ("C-103", "Chen Wei", 2021),
    ("C-104", "Dora Maar", 2016),
    ("C-105", "Emil Noether", 2020),
    ("C-106", "Fay Weldon", 2018),
    ("C-107", "Gus Green", 2022),
    ("C-108", "Hedy Kiesler", 2015),
    ("C-201", "R. Smith", 2026),
    ("C-202", "T. Jones", 2026),
    ("C-203", "K. Brown", 2026),
    ("C-204", "P. Miller", 2026),
    ("C-205", "V. White", 2026),
    ("C-206", "L. Black", 2026),
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
    ("O-1018", "C-107", "yoga mat", 29.00, "shipped"),
    ("O-1019", "C-205", "drone", 495.00, "delivered"),
    ("O-1020", "C-104", "bed linen", 64.00, "paid"),
    ("O-1021", "C-206", "camera", 399.00, "shipped"),
    ("O-1022", "C-108", "candle", 14.00, "delivered"),
    ("O-1023", "C-108", "tray", 21.00, "delivered"),
    ("O-1024", "C-101", "notebook", 9.90, "delivered"),
    ("O-1025", "C-103", "raincoat", 79.00, "delivered"),
)
