"""What most programs here do: time their sides in turn, call by call, and print the samples.

    python -m benchmarks.workers.NAME '{"runs": 100, ...}'

A side is a function, blocking or a coroutine function. The last line on stdout is the JSON object
`{"samples": {side: [milliseconds, ...]}}`. With `"profile": SIDE` in the options only that side
runs, under a profiler, and the object is `{"profiles": {side: ...}}`.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from benchmarks.workers import profiler

Side = Callable[[], object]
Sides = AsyncIterator[Mapping[str, Side]]
Samples = dict[str, list[float]]
T = TypeVar("T")

WARM = 0.1  # the first part of the samples, which is thrown away


def answer(
    sides: Callable[..., AbstractAsyncContextManager[Mapping[str, Side]]],
    profiled: Callable[[str], Any] | None = None,
) -> None:
    """Run the sides that the options ask for; `profiled` profiles a side in a way of its own."""
    options = asked()
    if (name := options.pop("profile", None)) is None:
        work = _timed(sides, options)
    elif profiled is None:
        work = _profiled(sides, name, options)
    else:
        return tell(profiles={name: profiled(name)})
    said = asyncio.run(work) if options.get("colour") == "async" else without_loop(work)
    return tell(**said)


def asked() -> dict[str, Any]:
    """The options on the command line."""
    options: dict[str, Any] = json.loads(sys.argv[1])
    return options


def say(what: str) -> None:
    """Tell whoever waits how far it is."""
    print(f"    {what}", file=sys.stderr, flush=True)


def tell(**said: Any) -> None:
    """Print the answer of a program: its `samples`, its `profiles`, or both."""
    print(json.dumps(said))


def without_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        done: T = end.value
        return done
    raise RuntimeError("a blocking side suspended")


async def _timed(sides: Any, options: dict[str, Any]) -> dict[str, Samples]:
    async with sides(**options) as table:
        samples: Samples = {name: [] for name in table}
        gc.collect()
        for number in range(options["runs"]):
            # Sides take turns at going first: what one leaves behind hits the next.
            turn = list(table) if number % 2 else list(reversed(table))
            for name in turn:
                samples[name].append(await _milliseconds(table[name]))
    return {"samples": {name: _warmed(times) for name, times in samples.items()}}


async def _milliseconds(side: Side) -> float:
    began = time.perf_counter()
    made = side()
    ended = time.perf_counter()
    if isinstance(made, Coroutine):
        await made
        ended = time.perf_counter()
    return (ended - began) * 1e3


def _warmed(times: list[float]) -> list[float]:
    return times[max(1, int(len(times) * WARM)) :]


async def _profiled(sides: Any, name: str, options: dict[str, Any]) -> dict[str, Any]:
    async with sides(**options) as table:
        await _milliseconds(table[name])
        with profiler.profile() as seen:
            for _ in range(options["runs"] - 1):
                await _milliseconds(table[name])
    return {"profiles": {name: profiler.summary(seen, runs=options["runs"] - 1)}}
