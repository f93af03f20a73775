"""Every exception of the package.

BighubGuardError
    ConfigurationError             what a user passed cannot work
    EngineError                    BIGHUB gave no decision we may act on
        EngineUnavailable          away: transport fault, timeout, 429, 5xx; `fail_mode` decides
        EngineRefused              our own mistake: a 4xx; blocked in every mode
            NotAuthorized          401, 403: it is the key, not what we sent
        UnreadableDecision         no reply we may act on; blocked in every mode
    InvalidCall                    a call that cannot be proposed or run as it stands
    IllegalMove                    a record cannot make this move
    CallStillRunning               somebody else runs a call, and takes longer than we wait
    JournalError                   the journal cannot be used as it is
"""

from collections.abc import Sequence


class BighubGuardError(Exception):
    """The base of every exception this package raises."""


class ConfigurationError(BighubGuardError, ValueError):
    """A setting cannot work; the message says what to pass instead."""


class EngineError(BighubGuardError):
    """BIGHUB gave no decision that may be acted on."""


class EngineUnavailable(EngineError):
    """BIGHUB cannot be reached: a transport fault, a timeout, 429 or 5xx."""


class EngineRequestError(EngineError):
    """BIGHUB refused the request itself: a wrong key, a missing right, a malformed request."""


class EngineAuthError(EngineRequestError):
    """BIGHUB does not take our key; with another one the same request would arrive."""


class InvalidDecisionError(EngineError):
    """BIGHUB's reply cannot be read, so nothing may run on it."""


class InvalidCall(BighubGuardError):
    """A tool call cannot be proposed or run as it stands; the message tells what to mend."""


class InvalidTransition(BighubGuardError):
    """A call's record cannot make this move from the state it is in."""

    def __init__(self, key: str, state: str, event: str, why: str = "") -> None:
        self.key = key
        self.state = state
        self.event = event
        reason = f": {why}" if why else ""
        super().__init__(f"call {key[:12]} is {state}, which allows no {event}{reason}")


class CallStillRunning(BighubGuardError):
    """Somebody else runs a call and has not come to its end while we waited."""

    def __init__(self, key: str, tool: str) -> None:
        self.key = key
        super().__init__(
            f"call {key[:12]} ({tool}) is still running in another worker; "
            "go on with this thread later, it will be handed the result"
        )


class JournalError(BighubGuardError):
    """The journal cannot be used as it is; the message says what to change."""


class RecordNotFound(JournalError):
    """The journal holds no record of a call, so nothing may run under its key."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = tuple(keys)
        super().__init__(
            f"the journal has no record of call {', '.join(key[:12] for key in keys)}; "
            "evaluate the call again, or pass the journal that the run was started with"
        )
