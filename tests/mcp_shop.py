"""An MCP server on standard input and output, with a tool that writes down what it paid."""

import os
from pathlib import Path

from mcp.server.fastmcp import FastMCP

server = FastMCP("shop")


@server.tool()
def refund(order_id: str, amount: float) -> str:
    """Pay money back."""
    with Path(os.environ["REFUNDS"]).open("a", encoding="utf-8") as file:
        file.write(f"{order_id} {amount:g}\n")
    return f"refunded {amount:g} for {order_id}"


if __name__ == "__main__":
    server.run()
