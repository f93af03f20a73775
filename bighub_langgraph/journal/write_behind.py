"""Transitions that the database did not take: kept until it is back."""

import logging
import threading
from collections.abc import Callable

from bighub_langgraph.core.errors import BighubGuardError, JournalError
from bighub_langgraph.core.lifecycle import (
    ClaimReleased,
    Event,
    ExecutionFinished,
    ExecutionPaused,
    OwnerLost,
)
from bighub_langgraph.core.reporting import ReportingConfig

log = logging.getLogger("bighub_langgraph")

# Nobody else can find out how a tool ended, or that it never began.
_RETRIED_EVENTS = (ExecutionFinished, ExecutionPaused, OwnerLost, ClaimReleased)


class WriteBehind:
    """Keeps transitions that the database did not take until it is back or the process ends."""

    def __init__(self) -> None:
        self._pending: list[tuple[str, Event, ReportingConfig]] = []
        self._lock = threading.Lock()

    def add(self, key: str, event: Event, reporting: ReportingConfig) -> bool:
        """Keep a transition that only this process can make; return whether it is one."""
        if not isinstance(event, _RETRIED_EVENTS):
            return False
        with self._lock:
            self._pending.append((key, event, reporting))
        return True

    def flush(self, write: Callable[[str, Event, ReportingConfig], object]) -> None:
        """Write the transitions in their order, as far as the database takes them."""
        with self._lock:
            while self._pending:
                key, event, reporting = self._pending[0]
                name, extra = type(event).__name__, {"bighub_call_key": key}
                try:
                    write(key, event, reporting)
                    log.warning("call %s: %s is written now", key[:12], name, extra=extra)
                except JournalError:
                    return
                except BighubGuardError as error:
                    # It was written at the time, or the call was completed by someone else.
                    log.warning(
                        "call %s: %s is not written: %s", key[:12], name, error, extra=extra
                    )
                del self._pending[0]

    def log_lost(self) -> None:
        """Log the transitions that will never be written."""
        for key, event, _ in self._pending:
            log.error(
                "call %s: the journal never took its end (%s); its outcome will show as unknown",
                key[:12],
                type(event).__name__,
                extra={"bighub_call_key": key},
            )
