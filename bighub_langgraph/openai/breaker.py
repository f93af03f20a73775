"""A circuit breaker: a service that fails again and again is left alone for a while."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from bighub_langgraph.openai.errors import CircuitOpen

__all__ = ["Breaker", "Closed", "HalfOpen", "Open", "admit", "after_failure"]


@dataclass(frozen=True, slots=True)
class Closed:
    """Requests pass; so many have failed in a row."""

    failures: int = 0


@dataclass(frozen=True, slots=True)
class Open:
    """No request passes."""

    since: float


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """One request, the probe, is under way; the others wait for what becomes of it."""

    since: float


Circuit = Closed | Open | HalfOpen


def admit(circuit: Circuit, now: float, reset: float) -> Circuit | None:
    """Say how the circuit stands once a request has passed, or None when it may not pass."""
    match circuit:
        case Closed():
            return circuit
        case Open(since) if now - since >= reset:
            return HalfOpen(since)
        case _:
            return None


def after_failure(circuit: Circuit, now: float, most: int) -> Circuit:
    """Say how the circuit stands once a request has failed."""
    match circuit:
        case Closed(failures) if failures + 1 < most:
            return Closed(failures + 1)
        case _:
            return Open(now)


class Breaker:
    """Lets requests to one service pass, or refuses them. Threads share it.

    Args:
        failures: How many in a row open the circuit; 0 never opens it.
        reset: After how many seconds one request may try again.
        counts: Whether an error speaks against the service; others are the caller's own.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        *,
        failures: int,
        reset: float,
        counts: Callable[[BaseException], bool],
        clock: Callable[[], float],
    ) -> None:
        self._most, self._reset, self._counts, self._clock = failures, reset, counts, clock
        self._lock = threading.Lock()
        self._circuit: Circuit = Closed()

    def request(self) -> "Breaker":
        """What to surround a request with; raises `CircuitOpen` when none may pass."""
        return self

    def __enter__(self) -> None:
        if self._most:
            self._enter()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if not self._most:  # it never opens
            return
        if error is None or isinstance(error, Exception):
            self._leave(failed=error is not None and self._counts(error))
        else:  # told to stop: that says nothing of the service
            self._abandon()

    def _enter(self) -> None:
        with self._lock:
            admitted = admit(self._circuit, self._clock(), self._reset)
            if admitted is None:
                raise CircuitOpen(
                    f"the model's service failed {self._most} times in a row and is left alone for "
                    f"{self._reset:g} seconds; nothing was sent"
                )
            self._circuit = admitted

    def _leave(self, *, failed: bool) -> None:
        with self._lock:
            if not failed:
                self._circuit = Closed()
            else:
                self._circuit = after_failure(self._circuit, self._clock(), self._most)

    def _abandon(self) -> None:
        with self._lock:
            if isinstance(self._circuit, HalfOpen):
                self._circuit = Open(self._circuit.since)
