"""Profiles of all threads with cProfile, by function and by package.

Time in a lock, a queue, a selector or a sleep is waiting, not work, and is left out. The waiting
time of the first thread is stated separately.
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

MAX_PLACES = 10
CHECKOUT = Path(__file__).parents[2]
STANDARD_LIBRARY, SQLITE = "Python's own library", "SQLite"
BUILT_IN = "~"
WAITS = ("'acquire'", "'__enter__' of '_thread", "SimpleQueue", "time.sleep", "'poll'", "select.")
Function = tuple[str, int, str]
Place = tuple[str, str]


class ThreadProfiles:
    """The profiles of all threads."""

    def __init__(self, clock: Callable[[], float] | None) -> None:
        self.profiles: list[cProfile.Profile] = []
        self._clock = clock

    def profile_this_thread(self, *_: object) -> None:
        """Profile the current thread from here on."""
        profile = cProfile.Profile(self._clock) if self._clock else cProfile.Profile()
        with suppress(ValueError):  # from Python 3.12 on there is one profile for all threads
            profile.enable()
            self.profiles.append(profile)


@contextmanager
def profile_threads(
    *, current: bool = True, clock: Callable[[], float] | None = None
) -> Iterator[ThreadProfiles]:
    """Profile all threads that start in the block, and the current thread with `current`.

    The default clock, wall time, has the lowest overhead. `time.thread_time` leaves out the time
    that threads wait in `with lock`, which a profiler cannot recognize as waiting.
    """
    profiles = ThreadProfiles(clock)
    threading.setprofile(profiles.profile_this_thread)
    if current:
        profiles.profile_this_thread()
    try:
        yield profiles
    finally:
        threading.setprofile(None)
        for profile in profiles.profiles:
            profile.disable()


def summarize_times(profiles: ThreadProfiles, *, runs: int) -> dict[str, Any]:
    """The functions, packages and parts with the most own time, in milliseconds per run."""
    factor = 1e3 / runs
    times = ((place, own * factor) for place, own in _own_times(_stats(*profiles.profiles)))
    first_thread = _stats(profiles.profiles[0])
    waited = sum(row[2] for function, row in first_thread.items() if _is_wait(function))
    return summarize("ms", times, waited * factor)


def summarize(
    unit: str, amounts: Iterable[tuple[Place, float]], waited: float = 0.0
) -> dict[str, Any]:
    """A profile as programs print it: amounts by place, package and part, largest first."""
    places: dict[str, float] = defaultdict(float)
    packages: dict[str, float] = defaultdict(float)
    parts: dict[str, float] = defaultdict(float)
    for (package, place), amount in amounts:
        places[place] += amount
        packages[package] += amount
        if (part := part_of(place)) is not None:
            parts[part] += amount
    return {
        "unit": unit,
        "total": sum(packages.values()),
        "waited": waited,
        "places": _largest_first(places)[:MAX_PLACES],
        "packages": _largest_first(packages),
        "parts": _largest_first(parts),
    }


def locate(function: Function) -> Place:
    """The package of a function, and its place within it, without paths of this machine."""
    file, _, name = function
    path = Path(file)
    for home in (*_libraries(), CHECKOUT):
        if path.is_relative_to(home):
            relative = path.relative_to(home)
            return relative.parts[0].removesuffix(".py"), f"{relative.as_posix()}: {name}"
    return STANDARD_LIBRARY, f"{path.name}: {name}"


def _stats(*profiles: cProfile.Profile) -> dict[Function, Any]:
    stats: dict[Function, Any] = pstats.Stats(*profiles).stats  # type: ignore[attr-defined]
    return stats


def _own_times(stats: dict[Function, Any]) -> Iterator[tuple[Place, float]]:
    """Own seconds by place; functions written in C count for the Python function that calls them.

    Functions of SQLite have their own places.
    """
    for function, (_, _, own, _, callers) in stats.items():
        if function[0] != BUILT_IN:
            yield locate(function), own
        elif SQLITE.lower() in function[2]:
            yield (SQLITE, function[2].strip("<>")), own
        elif not _is_wait(function):
            for caller, (_, _, share, _) in callers.items():
                yield locate(caller), share


def _is_wait(function: Function) -> bool:
    return function[0] == BUILT_IN and any(name in function[2] for name in WAITS)


def _libraries() -> list[Path]:
    return [Path(entry) for entry in sys.path if entry.endswith("-packages")]


def _largest_first(amounts: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(amounts.items(), key=lambda item: -item[1])
