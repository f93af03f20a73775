"""Exceptions of the OpenAI clients.

AdapterConfigurationError     a setting or a tool cannot work; raised where it is passed
InvalidRunState               a stored run cannot be resumed
ProviderResponseError         the model's service failed; carries what happened before
    StreamInterruptedError    a stream ended before its response was complete
    CircuitOpenError          the service failed too often in a row; no request was sent
"""

from collections.abc import Sequence
from typing import Any

from bighub_langgraph.core.errors import BighubGuardError, ConfigurationError


class AdapterConfigurationError(ConfigurationError):
    """A setting or a registered tool cannot work."""


class InvalidRunState(BighubGuardError, ValueError):
    """A stored run cannot be resumed: it was changed, or does not match the journal."""


class ProviderResponseError(BighubGuardError, RuntimeError):
    """The model's service failed, or its response cannot be parsed.

    Attributes:
        events: The events of the calls so far.
        response: The last response of the service.
        state: The run so far: `runtime.resume(error.state)` sends the last request again, and runs
            nothing twice.
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


class StreamInterruptedError(ProviderResponseError):
    """A stream ended, or reported an error, before its response was complete."""


class CircuitOpenError(ProviderResponseError):
    """The service failed too often in a row; no request is sent for a while."""
