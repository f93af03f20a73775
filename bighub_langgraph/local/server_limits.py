"""How much a caller may send, and how often."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

_MOST_CALLERS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of the server for each caller."""

    body_bytes: int = 2_000_000
    requests_per_minute: int = 6_000


class Rate:
    """A bucket of requests for each caller that fills up again evenly."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = monotonic) -> None:
        self._room = float(limits.requests_per_minute)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # caller -> requests left, when
        self._alone = threading.Lock()

    def wait(self, caller: str) -> float:
        """Take one request from a caller's bucket; the seconds to wait when it is empty."""
        now = self._clock()
        with self._alone:
            left, at = self._buckets.pop(caller, (self._room, now))
            left = min(self._room, left + max(0.0, now - at) * self._room / 60)
            waits = 0.0 if left >= 1 else (1 - left) * 60 / self._room
            self._buckets[caller] = (left if waits else left - 1, now)
            if len(self._buckets) > _MOST_CALLERS:
                del self._buckets[next(iter(self._buckets))]
        return waits
