"""When the reports of a guard are delivered: turn by turn, and all of them at retry times."""

import logging
import threading
import time
from collections import deque

from bighub_langgraph.core.delivery import LONGEST_DELAY, Delivery, retry_delay
from bighub_langgraph.core.errors import EngineAuthError, EngineError

log = logging.getLogger("bighub_langgraph")

# How long a scheduled delivery waits for a later step to deliver, in seconds.
FALLBACK_DELAY = 0.25
MAX_FAILURES = 10
# How often deliveries also end the calls whose time is over, in seconds.
SWEEP_INTERVAL = 60.0


class DeliverySchedule:
    """What is to be delivered next, and when. Threads and event loops share it.

    Turns are delivered at once, in their order. All reports are delivered at the fallback time,
    which a host sets in case no later step starts a delivery, and at the retry time, which is set
    while reports remain. Retries that deliver nothing make the delay grow. When BIGHUB has refused
    the key, nothing is delivered until the longest delay is over.
    """

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.turns: deque[str | None] = deque()  # waiting, or being delivered
        self.is_closed = False
        self._close_deadline: float | None = None
        self.is_used = False
        self._refused_until = self._sweep_at = 0.0
        self._logged_error: type[EngineError] | None = None
        self._fallback_at: float | None = None
        self._retry_at: float | None = None
        self._failures = 0

    def remaining_to_close(self, seconds: float) -> float:
        """Return how many seconds closing may still take; the first call starts the time."""
        if self._close_deadline is None:
            self._close_deadline = time.monotonic() + seconds
        return max(0.0, self._close_deadline - time.monotonic())

    def add_turn(self, turn: str | None) -> None:
        """Deliver a turn's reports, or all with None, as soon as possible."""
        with self.condition:
            self.is_used = True
            self.turns.append(turn)

    def finish_turns(self, count: int) -> None:
        """Remove turns that were delivered."""
        with self.condition:
            for _ in range(count):
                self.turns.popleft()
            self.condition.notify_all()

    def set_fallback(self) -> None:
        """Deliver everything in a moment, unless that is planned already."""
        with self.condition:
            self.is_used = True
            now = time.monotonic()
            if self._fallback_at is None or self._fallback_at < now:
                self._fallback_at = now + FALLBACK_DELAY

    def take_sweep(self) -> bool:
        """Return whether overdue calls are to be ended now: at most once a minute."""
        with self.condition:
            is_due = time.monotonic() >= self._sweep_at
            if is_due:
                self._sweep_at = time.monotonic() + SWEEP_INTERVAL
            return is_due

    @property
    def is_key_refused(self) -> bool:
        """Whether BIGHUB has refused the key, and it is too early to try again."""
        return time.monotonic() < self._refused_until

    def log_error(self, delivery: Delivery, remaining: int) -> None:
        """Log why reports stay in the outbox, once until some are delivered again."""
        kind = None if delivery.error is None else type(delivery.error)
        if delivery.delivered_count:
            self._logged_error = None
        if kind is None or kind is self._logged_error:
            return
        self._logged_error = kind
        if kind is EngineAuthError:
            log.error(
                "BIGHUB refused the key, so delivery has stopped; %d reports stay in the outbox "
                "until the key is changed: %s",
                remaining,
                delivery.error,
            )
        else:
            log.warning(
                "BIGHUB is unreachable; %d reports stay in the outbox: %s",
                remaining,
                delivery.error,
            )

    def record(self, turn: str | None, delivery: Delivery, remaining: int) -> None:
        """Plan the retry after a delivery.

        A turn delivers its own reports only, so that it does not count as a retry; but where
        something is delivered, BIGHUB can be reached.
        """
        with self.condition:
            self.is_used = True
            self.log_error(delivery, remaining)
            now = time.monotonic()
            if isinstance(delivery.error, EngineAuthError):
                self._retry_at = self._refused_until = now + LONGEST_DELAY
                return
            if delivery.delivered_count:
                self._refused_until = 0.0
            was_retry = turn is None and self._retry_at is not None and self._retry_at <= now
            if not remaining:
                self._retry_at, self._failures = None, 0
                return
            self._failures = (
                0 if delivery.delivered_count else min(self._failures + was_retry, MAX_FAILURES)
            )
            retry_at = now + retry_delay(self._failures)
            if self._retry_at is not None and not was_retry:
                retry_at = min(retry_at, self._retry_at)
            self._retry_at = retry_at

    def delay(self) -> float | None:
        """Return the seconds until everything is delivered; None if that is not planned."""
        times = [at for at in (self._fallback_at, self._retry_at) if at is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def take_due(self) -> bool:
        """Return whether everything is to be delivered now."""
        with self.condition:
            is_due = self.delay() == 0.0
            if is_due:
                self._fallback_at = None
            return is_due
