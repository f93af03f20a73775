"""Numbers about the server, in the text form that Prometheus reads."""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class Metrics:
    """Counts of requests and recommendations, and how long requests took."""

    def __init__(self) -> None:
        self._alone = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._advice: Counter[str] = Counter()
        self._up_to = [0] * (len(_BOUNDS) + 1)  # requests by the least bound they lie within
        self._seconds = 0.0

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request that was answered."""
        with self._alone:
            self._requests[method, route, status] += 1
            self._seconds += seconds
            self._up_to[bisect_left(_BOUNDS, seconds)] += 1

    def advised(self, recommendation: str) -> None:
        """Count one recommendation."""
        with self._alone:
            self._advice[recommendation] += 1

    def text(self) -> str:
        """Everything counted so far."""
        with self._alone:
            return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield "# TYPE bighub_requests_total counter"
        for (method, route, status), count in sorted(self._requests.items()):
            labels = f'method="{method}",route="{route}",status="{status}"'
            yield f"bighub_requests_total{{{labels}}} {count}"
        yield "# TYPE bighub_recommendations_total counter"
        for word, count in sorted(self._advice.items()):
            yield f'bighub_recommendations_total{{recommendation="{word}"}} {count}'
        yield "# TYPE bighub_request_seconds histogram"
        for bound, within in zip(_BOUNDS, accumulate(self._up_to), strict=False):
            yield f'bighub_request_seconds_bucket{{le="{bound}"}} {within}'
        total = sum(self._requests.values())
        yield f'bighub_request_seconds_bucket{{le="+Inf"}} {total}'
        yield f"bighub_request_seconds_sum {self._seconds:.6f}"
        yield f"bighub_request_seconds_count {total}"
