"""How much a caller may send to the server, and how often."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

_MAX_CALLERS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """The server's limits for each caller."""

    body_bytes: int = 2_000_000
    requests_per_minute: int = 6_000


class RateLimiter:
    """A token bucket for each caller; it refills evenly."""

    def __init__(self, limits: ServerLimits, clock: Callable[[], float] = monotonic) -> None:
        self._capacity = float(limits.requests_per_minute)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # caller -> tokens, when
        self._lock = threading.Lock()

    def take(self, caller: str) -> float:
        """Take a token, and return 0; return the seconds to wait if the bucket is empty."""
        now = self._clock()
        with self._lock:
            tokens, at = self._buckets.pop(caller, (self._capacity, now))
            tokens = min(self._capacity, tokens + max(0.0, now - at) * self._capacity / 60)
            wait = 0.0 if tokens >= 1 else (1 - tokens) * 60 / self._capacity
            self._buckets[caller] = (tokens if wait else tokens - 1, now)
            if len(self._buckets) > _MAX_CALLERS:
                del self._buckets[next(iter(self._buckets))]
        return wait
