"""A circuit breaker: stops requests to a service that keeps failing, and tests it now and then."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic


@dataclass(frozen=True, slots=True)
class ClosedCircuit:
    """Requests are sent; the last `failures` of them failed."""

    failures: int = 0


_NO_FAILURES = ClosedCircuit()


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    """No request is sent, but for one that tests the service once `is_testing`."""

    since: float
    is_testing: bool = False


class CircuitBreaker(ABC):
    """A context manager around each request.

    Args:
        max_failures: How many failures in a row open the circuit; 0 disables the breaker.
        reset_seconds: How long the circuit stays open before one request tests the service.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self, max_failures: int, reset_seconds: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self.max_failures, self.reset_seconds = max_failures, reset_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._circuit: ClosedCircuit | OpenCircuit = _NO_FAILURES

    @property
    def is_open(self) -> bool:
        """Whether no request is sent, but for one that tests the service."""
        return isinstance(self._circuit, OpenCircuit)

    @abstractmethod
    def counts(self, error: BaseException) -> bool:
        """Whether an error is the service's and not the caller's."""

    @abstractmethod
    def make_error(self) -> Exception:
        """Return the error for a request that is not sent."""

    def __enter__(self) -> None:
        if self._circuit is _NO_FAILURES:
            return
        with self._lock:
            if isinstance(self._circuit, ClosedCircuit):
                return
            since, is_testing = self._circuit.since, self._circuit.is_testing
            if is_testing or self._clock() - since < self.reset_seconds:
                raise self.make_error()
            self._circuit = OpenCircuit(since, is_testing=True)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if not self.max_failures or (error is None and self._circuit is _NO_FAILURES):
            return
        with self._lock:
            if error is None:
                self._circuit = _NO_FAILURES
                return
            match self._circuit:
                case OpenCircuit(since, True) if not isinstance(error, Exception):
                    self._circuit = OpenCircuit(since)  # cancelled: says nothing about the service
                case ClosedCircuit(failures) if self.counts(error):
                    is_open = self.max_failures <= failures + 1
                    self._circuit = (
                        OpenCircuit(self._clock()) if is_open else ClosedCircuit(failures + 1)
                    )
                case OpenCircuit() if self.counts(error):
                    self._circuit = OpenCircuit(self._clock())
                case _ if isinstance(error, Exception):
                    self._circuit = _NO_FAILURES
