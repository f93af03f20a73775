"""One conversation with tool calls through an adapter for OpenAI: ours, or the published one.

Both adapters run this same program, each in its own environment: the same fakes, the same tool.
"""

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from benchmarks.workers.fakes import FakeBighub, FakeOpenAI, Waits, make_method
from benchmarks.workers.stopwatch import Side, Sides, run_program

CROWD = 100
CLIENTS = {"sync": "BighubOpenAI", "async": "AsyncBighubOpenAI"}
RUN_ARGUMENTS = {"messages": [{"role": "user", "content": "refund"}], "model": "m"}


@asynccontextmanager
async def sides(
    *, adapter: str, api: str, calls: int, runs: int, waits: Waits, also: list[str]
) -> Sides:
    """The adapter's run under the adapter's name; `floor` and `crowd` where asked for."""
    del runs
    tool, model = Tool(waits["tool"]), FakeOpenAI(api, calls, waits)
    client = getattr(import_module(adapter), CLIENTS[api])(
        openai_client=model, bighub=FakeBighub(api, waits), actor="agent", domain="shop"
    )
    client.tool("refund", tool.of(api), value_from_args=lambda arguments: arguments["amount"])
    floor, stop = _floor(api, calls, waits)
    table: dict[str, Side] = {
        adapter: lambda: client.run(**RUN_ARGUMENTS),
        "floor": floor,
        "crowd": lambda: _crowd(client),
    }
    yield {name: table[name] for name in (adapter, *also)}
    stop()
    if inspect.isawaitable(closing := getattr(client, "close", lambda: None)()):
        await closing
    if tool.ran != model.requested:
        raise RuntimeError(
            f"{tool.ran} calls ran of the {model.requested} that the model requested"
        )


class Tool:
    """The tool, in both colours, with one signature."""

    def __init__(self, seconds: float) -> None:
        self.ran = 0
        self._work = {api: make_method(api, seconds, self._count) for api in ("sync", "async")}

    def of(self, api: str) -> Callable[..., Any]:
        """The tool as an adapter gets it."""

        def refund(order: str, amount: float) -> str:
            return f"{order}: {self._work['sync'](amount)}"

        async def arefund(order: str, amount: float) -> str:
            return f"{order}: {await self._work['async'](amount)}"

        return arefund if api == "async" else refund

    def _count(self, amount: float) -> float:
        self.ran += 1
        return amount


async def _crowd(client: Any) -> None:
    await asyncio.gather(*(client.run(**RUN_ARGUMENTS) for _ in range(CROWD)))


def _floor(api: str, calls: int, waits: Waits) -> tuple[Side, Callable[[], None]]:
    """What cannot be had for less: the model, all calls at once, the model; and how to end it."""
    pause = {name: make_method(api, waits[name], lambda: None) for name in waits}
    pool = ThreadPoolExecutor(calls)

    def call(_: int) -> None:
        pause["evaluate"]()
        pause["tool"]()

    def blocking() -> None:
        pause["model"]()
        list(pool.map(call, range(calls)))
        pause["model"]()

    async def acall() -> None:
        await pause["evaluate"]()
        await pause["tool"]()

    async def coroutine() -> None:
        await pause["model"]()
        await asyncio.gather(*(acall() for _ in range(calls)))
        await pause["model"]()

    return coroutine if api == "async" else blocking, pool.shutdown


if __name__ == "__main__":
    run_program(sides)
