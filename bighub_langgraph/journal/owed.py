"""Moves that the database could not take when they were made, and that only this process knows."""

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

# What nobody else can find out: how a tool ended, or that it never began.
OWN = (ExecutionFinished, ExecutionPaused, OwnerLost, ClaimReleased)

Write = Callable[[str, Event, ReportingConfig], object]


class OwedMoves:
    """Keeps what a process owes to its journal until the database is back, or the process ends."""

    def __init__(self) -> None:
        self._moves: list[tuple[str, Event, ReportingConfig]] = []
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._moves)

    def keep(self, key: str, event: Event, reporting: ReportingConfig) -> bool:
        """Keep a move that only this process can make; says whether it is one."""
        if not isinstance(event, OWN):
            return False
        with self._lock:
            self._moves.append((key, event, reporting))
        return True

    def write(self, write: Write) -> None:
        """Write what is owed, in its order, as far as the database takes it."""
        with self._lock:
            while self._moves:
                key, event, reporting = self._moves[0]
                try:
                    write(key, event, reporting)
                    log.warning("call %s: %s is written now", key[:12], type(event).__name__)
                except JournalError:
                    return
                except BighubGuardError as error:
                    # It did arrive at the time, or somebody settled the call meanwhile.
                    log.warning("call %s: %s is not written: %s", key[:12], event, error)
                del self._moves[0]

    def tell(self) -> None:
        """Log what will never be written."""
        for key, event, _ in self._moves:
            log.error(
                "call %s: the journal never took its end (%s); it will show as in doubt",
                key[:12],
                type(event).__name__,
            )
