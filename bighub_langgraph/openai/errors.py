"""What can go wrong in the facade, as types that say what to do about it.

AdapterConfigurationError   a setting or a tool is wrong; raised where it is given
StateRefused                a stored run cannot be taken up again
ProviderResponseError       the model's service failed; carries what had happened by then
    BrokenStream            a stream ended before its answer did
    CircuitOpen             the service failed too often; it was not asked
"""

from collections.abc import Sequence
from typing import Any

from bighub_langgraph.core.errors import BighubGuardError, ConfigurationError

__all__ = [
    "AdapterConfigurationError",
    "BrokenStream",
    "CircuitOpen",
    "ProviderResponseError",
    "StateRefused",
]


class AdapterConfigurationError(ConfigurationError):
    """A setting or a registered tool is wrong."""


class StateRefused(BighubGuardError, ValueError):
    """A stored run was not taken up: newer, changed, or not what the journal holds."""


class ProviderResponseError(BighubGuardError, RuntimeError):
    """The model's service failed, or answered what cannot be read.

    `events` tells which tools ran, `response` is the service's last answer, and `state` goes on
    from here: `runtime.resume(error.state)` asks the model again without running anything twice.
    """

    def __init__(
        self,
        message: str,
        *,
        events: Sequence[dict[str, Any]] = (),
        response: Any = None,
        state: Any = None,
    ) -> None:
        super().__init__(message)
        self.events = list(events)
        self.response = response
        self.state = state


class BrokenStream(ProviderResponseError):
    """A stream ended, or became unreadable, before the answer was whole."""


class CircuitOpen(ProviderResponseError):
    """The service failed so often in a row that it is left alone for a while."""
