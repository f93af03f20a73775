"""Words that only the engine writes: its confidence, a session's health, the outcome taxonomy."""

from dataclasses import dataclass
from enum import StrEnum


class Confidence(StrEnum):
    """How sure the engine is of its recommendation."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Health(StrEnum):
    """How a session has gone so far."""

    HEALTHY = "healthy"
    STRAINED = "strained"
    POOR = "poor"


@dataclass(frozen=True, slots=True)
class OutcomeMeaning:
    """What a reported status means for the decision; `bad` is None where it means nothing."""

    category: str
    severity: float
    bad: bool | None


_GOOD = OutcomeMeaning("positive", 0.0, bad=False)
_NEUTRAL = OutcomeMeaning("neutral", 0.0, bad=None)


def _bad(severity: float) -> OutcomeMeaning:
    return OutcomeMeaning("negative", severity, bad=True)


TAXONOMY: dict[str, OutcomeMeaning] = {
    "SUCCESS": _GOOD,
    "PARTIAL_SUCCESS": OutcomeMeaning("positive", 0.1, bad=False),
    "BLOCKED": _NEUTRAL,
    "CANCELLED": _NEUTRAL,
    "EXPIRED": _NEUTRAL,
    "PENDING": _NEUTRAL,
    "UNKNOWN": _NEUTRAL,
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
