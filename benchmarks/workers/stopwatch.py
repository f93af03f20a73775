"""What most programs here share: time their sides alternately, and print the samples.

    python -m benchmarks.workers.NAME '{"runs": 100, ...}'

A side is a function or a coroutine function. The last line on stdout is the JSON object
`{"samples": {side: [milliseconds, ...]}}`. With `"profile": SIDE` in the options only that side
runs, under a profiler, and the object is `{"profiles": {side: ...}}`.
"""

import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.workers import profiler

Side = Callable[[], object]
Sides = AsyncIterator[Mapping[str, Side]]
Samples = dict[str, list[float]]
T = TypeVar("T")

WARMUP_SHARE = 0.1  # this share of the samples, the first ones, is discarded


def run_program(
    sides: Callable[..., AbstractAsyncContextManager[Mapping[str, Side]]],
    profile_side: Callable[[str], Any] | None = None,
) -> None:
    """Run the sides that the options name; `profile_side` replaces the profiler."""
    options = read_options()
    if (name := options.pop("profile", None)) is None:
        coroutine = _time_sides(sides, options)
    elif profile_side is None:
        coroutine = _profile_side(sides, name, options)
    else:
        return print_result(profiles={name: profile_side(name)})
    is_async = options.get("api") == "async"
    return print_result(**(asyncio.run(coroutine) if is_async else run_without_loop(coroutine)))


def read_options() -> dict[str, Any]:
    """The options on the command line."""
    options: dict[str, Any] = json.loads(sys.argv[1])
    return options


def report_progress(text: str) -> None:
    """Print a line of progress to stderr."""
    print(f"    {text}", file=sys.stderr, flush=True)


def print_result(**result: Any) -> None:
    """Print the result of a program: its `samples`, its `profiles`, or both."""
    print(json.dumps(result))


def measure_or_profile(measure: Callable[..., Any], profile: Callable[..., Any]) -> None:
    """Measure in a new folder, or with the option `profile`, a series, profile there; print it."""
    options = read_options()
    series = options.pop("profile", None)
    with tempfile.TemporaryDirectory() as home:
        if series is None:
            print_result(samples=measure(Path(home), **options))
        else:
            print_result(profiles={series: profile(Path(home), **options)})


def run_without_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise RuntimeError("a sync side suspended")


async def _time_sides(sides: Any, options: dict[str, Any]) -> dict[str, Samples]:
    async with sides(**options) as table:
        samples: Samples = {name: [] for name in table}
        gc.collect()
        for number in range(options["runs"]):
            # The order alternates, because garbage of a side delays the side that runs next.
            names = list(table) if number % 2 else list(reversed(table))
            for name in names:
                samples[name].append(await _milliseconds(table[name]))
    return {"samples": {name: _without_warmup(times) for name, times in samples.items()}}


async def _milliseconds(side: Side) -> float:
    start = time.perf_counter()
    result = side()
    end = time.perf_counter()
    if isinstance(result, Coroutine):
        await result
        end = time.perf_counter()
    return (end - start) * 1e3


def _without_warmup(times: list[float]) -> list[float]:
    return times[max(1, int(len(times) * WARMUP_SHARE)) :]


async def _profile_side(sides: Any, name: str, options: dict[str, Any]) -> dict[str, Any]:
    async with sides(**options) as table:
        await _milliseconds(table[name])
        with profiler.profile_threads() as profiles:
            for _ in range(options["runs"] - 1):
                await _milliseconds(table[name])
    return {"profiles": {name: profiler.summarize_times(profiles, runs=options["runs"] - 1)}}
