"""The closed vocabularies: BIGHUB's words on the wire, and ours for what becomes of a call."""

from enum import StrEnum


class Recommendation(StrEnum):
    """What BIGHUB recommends. The last two stand for a word we do not know, and for no word."""

    PROCEED = "proceed"
    CAUTION = "proceed_with_caution"
    REVIEW = "review_recommended"
    STOP = "do_not_proceed"
    UNKNOWN = "unknown"
    MISSING = "missing"


class Mode(StrEnum):
    """How binding a recommendation is (BIGHUB's `enforcement_mode`)."""

    ADVISORY = "advisory"
    REVIEW = "review"
    ENFORCED = "enforced"


class Verdict(StrEnum):
    """What we do about a call, from loose to tight."""

    EXECUTE = "execute"
    REVIEW = "review"
    BLOCK = "block"


class State(StrEnum):
    """Where a call is in its life."""

    PROPOSED = "proposed"
    AWAITING = "awaiting_approval"
    ALLOWED = "allowed"
    RUNNING = "running"
    PAUSED = "paused"
    UNKNOWN = "unknown"
    EXECUTED = "executed"
    TOOL_ERROR = "tool_error"
    BLOCKED = "blocked"
    ANSWERED = "answered"
    SUPERSEDED = "superseded"


TERMINAL = frozenset(
    {State.EXECUTED, State.TOOL_ERROR, State.BLOCKED, State.ANSWERED, State.SUPERSEDED}
)


class Status(StrEnum):
    """BIGHUB's four public words for the result of a call."""

    EXECUTED = "executed"
    BLOCKED = "blocked"
    APPROVAL_REQUIRED = "approval_required"
    TOOL_ERROR = "tool_error"


class Step(StrEnum):
    """What must happen to a call next."""

    EVALUATE = "evaluate"
    ASK = "ask"
    EXECUTE = "execute"
    REPORT = "report"
    NOTHING = "nothing"


class FailMode(StrEnum):
    """What to do about a call while BIGHUB cannot be reached."""

    CLOSED = "closed"
    REVIEW = "review"
    OPEN = "open"


def tightest(*verdicts: Verdict) -> Verdict:
    """The most careful of some verdicts."""
    return max(verdicts, key=_TIGHTNESS.__getitem__)


_TIGHTNESS = {verdict: rank for rank, verdict in enumerate(Verdict)}
