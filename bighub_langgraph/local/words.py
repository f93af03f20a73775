"""BIGHUB's words on the wire, and what each outcome status means."""

from dataclasses import dataclass
from enum import StrEnum


class Recommendation(StrEnum):
    """What the engine advises."""

    PROCEED = "proceed"
    CAUTION = "proceed_with_caution"
    REVIEW = "review_recommended"
    STOP = "do_not_proceed"


class Confidence(StrEnum):
    """How sure the engine is of its advice."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Mode(StrEnum):
    """How binding the advice is."""

    ADVISORY = "advisory"
    REVIEW = "review"
    ENFORCED = "enforced"


class Health(StrEnum):
    """How a session has gone so far."""

    HEALTHY = "healthy"
    STRAINED = "strained"
    POOR = "poor"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a reported status says about the decision; `bad` is None where it says nothing."""

    category: str
    severity: float
    bad: bool | None


_GOOD = Meaning("positive", 0.0, bad=False)
_SILENT = Meaning("neutral", 0.0, bad=None)


def _bad(severity: float) -> Meaning:
    return Meaning("negative", severity, bad=True)


TAXONOMY: dict[str, Meaning] = {
    "SUCCESS": _GOOD,
    "PARTIAL_SUCCESS": Meaning("positive", 0.1, bad=False),
    "BLOCKED": _SILENT,
    "CANCELLED": _SILENT,
    "EXPIRED": _SILENT,
    "PENDING": _SILENT,
    "UNKNOWN": _SILENT,
    "FAILURE": _bad(0.3),
    "TIMEOUT": _bad(0.3),
    "REJECTED": _bad(0.4),
    "ESCALATION": _bad(0.4),
    "COMPLAINT": _bad(0.4),
    "ROLLBACK": _bad(0.6),
    "CHURN": _bad(0.7),
    "DISPUTE": _bad(0.7),
    "CHARGEBACK": _bad(0.8),
    "POLICY_VIOLATION": _bad(0.8),
    "INCIDENT": _bad(0.9),
    "DATA_LOSS": _bad(0.9),
    "SECURITY_INCIDENT": _bad(1.0),
    "FRAUD": _bad(1.0),
}
