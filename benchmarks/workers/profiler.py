"""Where the time goes: cProfile over all threads, by function and by package.

Time in a lock, a queue, a selector or a sleep is no work and counts nowhere; that of the first
thread is told beside it.
"""

import cProfile
import pstats
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.parts import part_of

TOP = 10
CHECKOUT = Path(__file__).parents[2]
PYTHON, SQLITE = "Python's own library", "SQLite"
BUILT_IN = "~"
WAITS = ("'acquire'", "'__enter__' of '_thread", "SimpleQueue", "time.sleep", "'poll'", "select.")
Function = tuple[str, int, str]
Place = tuple[str, str]


class Seen:
    """What the profilers of all threads saw."""

    def __init__(self, clock: Callable[[], float] | None) -> None:
        self.profiles: list[cProfile.Profile] = []
        self._clock = clock

    def join_in(self, *_: object) -> None:
        """Profile this thread from here on."""
        mine = cProfile.Profile(self._clock) if self._clock else cProfile.Profile()
        with suppress(ValueError):  # from Python 3.12 on there is one profile for all threads
            mine.enable()
            self.profiles.append(mine)


@contextmanager
def profile(*, here: bool = True, clock: Callable[[], float] | None = None) -> Iterator[Seen]:
    """Profile all threads that start in the block, and this one unless told otherwise.

    The clock on the wall costs least. Where threads wait in `with lock`, which a profiler does not
    see, `time.thread_time` leaves that out.
    """
    seen = Seen(clock)
    threading.setprofile(seen.join_in)
    if here:
        seen.join_in()
    try:
        yield seen
    finally:
        threading.setprofile(None)
        for one in seen.profiles:
            one.disable()


def summary(seen: Seen, *, runs: int) -> dict[str, Any]:
    """The functions and packages with the most own time, in milliseconds a run."""
    each = 1e3 / runs
    worked = ((place, own * each) for place, own in _worked(_stats(*seen.profiles)))
    waited = sum(row[2] for name, row in _stats(seen.profiles[0]).items() if _is_wait(name))
    return told("ms", worked, waited * each)


def told(unit: str, own: Iterable[tuple[Place, float]], waited: float = 0.0) -> dict[str, Any]:
    """A profile as programs print it."""
    spots: dict[str, float] = defaultdict(float)
    packages: dict[str, float] = defaultdict(float)
    parts: dict[str, float] = defaultdict(float)
    for (package, where), amount in own:
        spots[where] += amount
        packages[package] += amount
        if (part := part_of(where)) is not None:
            parts[part] += amount
    return {
        "unit": unit,
        "total": sum(packages.values()),
        "waited": waited,
        "spots": _largest_first(spots)[:TOP],
        "packages": _largest_first(packages),
        "parts": _largest_first(parts),
    }


def _stats(*profiles: cProfile.Profile) -> dict[Function, Any]:
    stats: dict[Function, Any] = pstats.Stats(*profiles).stats  # type: ignore[attr-defined]
    return stats


def _worked(stats: dict[Function, Any]) -> Iterator[tuple[Place, float]]:
    """Own seconds by place; what is written in C counts to the Python function that calls it."""
    for function, (_, _, own, _, callers) in stats.items():
        if function[0] != BUILT_IN:
            yield located(function), own
        elif SQLITE.lower() in function[2]:
            yield (SQLITE, function[2].strip("<>")), own
        elif not _is_wait(function):
            for caller, (_, _, share, _) in callers.items():
                yield located(caller), share


def _is_wait(function: Function) -> bool:
    return function[0] == BUILT_IN and any(word in function[2] for word in WAITS)


def located(function: Function) -> Place:
    """The package of a function, and its place within it, without paths of this machine."""
    file, _, name = function
    path = Path(file)
    for home in (*_libraries(), CHECKOUT):
        if path.is_relative_to(home):
            inner = path.relative_to(home)
            return inner.parts[0].removesuffix(".py"), f"{inner.as_posix()}: {name}"
    return PYTHON, f"{path.name}: {name}"


def _libraries() -> list[Path]:
    return [Path(entry) for entry in sys.path if entry.endswith("-packages")]


def _largest_first(amounts: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(amounts.items(), key=lambda each: -each[1])
