"""The exceptions of the package.

BighubGuardError
    ConfigurationError             a setting cannot work
    EngineError                    BIGHUB returned no decision that may be acted on
        EngineUnavailable          unreachable: transport fault, timeout, 429, 5xx; see `fail_mode`
        EngineRequestError         BIGHUB refused the request, a 4xx; blocked in every mode
            DeliveryUnconfirmed    its reply to a report says nothing; tried again
            EngineAuthError        401 or 403: the key or its rights
        InvalidDecisionError       the response cannot be parsed; blocked in every mode
    InvalidCall                    a call cannot be evaluated or run as it is
    InvalidTransition              a record's state does not allow an event
    InvalidApprovalResponse        an approval response is unclear (`core.approval_answers`)
    RunInProgress                  another run goes on from the same checkpoint of a thread
    CallStillRunning               another worker runs a call for longer than we wait
    JournalError                   the journal cannot be used as it is
        RecordNotFound             the journal has no record of a call
"""

from collections.abc import Sequence
from typing import Any


class BighubGuardError(Exception):
    """The base class of the package's exceptions."""

    def __reduce__(self) -> tuple[Any, ...]:
        # A subclass may be made from other arguments than its message.
        return _restore, (type(self), self.args, vars(self))


def _restore(kind: type[Exception], args: tuple[Any, ...], attributes: dict[str, Any]) -> Exception:
    """Return an exception that was pickled."""
    error: Exception = BighubGuardError(*args)
    error.__class__ = kind
    vars(error).update(attributes)
    return error


class ConfigurationError(BighubGuardError, ValueError):
    """A setting cannot work; the message says what to pass instead."""


class EngineError(BighubGuardError):
    """BIGHUB returned no decision that may be acted on."""


class EngineUnavailable(EngineError):
    """BIGHUB cannot be reached: a transport fault, a timeout, 429 or 5xx."""


class EngineRequestError(EngineError):
    """BIGHUB refused the request: malformed, or not allowed."""


class DeliveryUnconfirmed(EngineRequestError):
    """BIGHUB's reply to a report does not confirm it, as a maintenance page does not."""


class EngineAuthError(EngineRequestError):
    """BIGHUB refused the API key; with another key the same request may succeed."""


class InvalidDecisionError(EngineError):
    """BIGHUB's response cannot be parsed, so nothing may run on it."""


class InvalidCall(BighubGuardError):
    """A tool call cannot be evaluated or run as it is; the message says what to change."""


class InvalidTransition(BighubGuardError):
    """The state of a call's record does not allow an event."""

    def __init__(self, key: str, state: str, event: str, reason: str = "") -> None:
        self.key = key
        self.state = state
        self.event = event
        suffix = f": {reason}" if reason else ""
        super().__init__(f"call {key[:12]} is {state}, which does not allow {event}{suffix}")


class CallStillRunning(BighubGuardError):
    """Another worker is still running a call."""

    def __init__(self, key: str, tool: str) -> None:
        self.key = key
        super().__init__(
            f"call {key[:12]} ({tool}) is still running in another worker; "
            "resume this thread later to get the result"
        )


class RunInProgress(BighubGuardError):
    """Another run goes on from the same checkpoint of a thread; this one has changed nothing."""

    def __init__(self, thread: str) -> None:
        self.thread = thread
        super().__init__(
            f"another run of thread {thread!r} goes on from the same checkpoint, so this one "
            "stopped and changed nothing; look at the thread's state before you resume it again"
        )


class JournalError(BighubGuardError):
    """The journal cannot be used as it is; the message says what to change."""


class RecordNotFound(JournalError):
    """The journal has no record of a call, so nothing may run under its key."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = tuple(keys)
        super().__init__(
            f"the journal has no record of call {', '.join(key[:12] for key in keys)}; "
            "evaluate the call again, or pass the journal that the run was started with"
        )
