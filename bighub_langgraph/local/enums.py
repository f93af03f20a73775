"""Words that only the engine writes: its confidence, a session's health, the outcome taxonomy."""

from enum import StrEnum
from typing import NamedTuple


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


class OutcomeMeaning(NamedTuple):
    """What a reported status means for the decision; `bad` is None where it means nothing."""

    category: str
    severity: float
    bad: bool | None


_NEUTRAL = OutcomeMeaning("neutral", 0.0, bad=None)
_BAD_SEVERITIES = {
    "FAILURE": 0.3,
    "TIMEOUT": 0.3,
    "REJECTED": 0.4,
    "ESCALATION": 0.4,
    "COMPLAINT": 0.4,
    "ROLLBACK": 0.6,
    "CHURN": 0.7,
    "DISPUTE": 0.7,
    "CHARGEBACK": 0.8,
    "POLICY_VIOLATION": 0.8,
    "INCIDENT": 0.9,
    "DATA_LOSS": 0.9,
    "SECURITY_INCIDENT": 1.0,
    "FRAUD": 1.0,
}
TAXONOMY: dict[str, OutcomeMeaning] = {
    "SUCCESS": OutcomeMeaning("positive", 0.0, bad=False),
    "PARTIAL_SUCCESS": OutcomeMeaning("positive", 0.1, bad=False),
    **dict.fromkeys(("BLOCKED", "CANCELLED", "EXPIRED", "PENDING", "UNKNOWN"), _NEUTRAL),
    **{name: OutcomeMeaning("negative", how, bad=True) for name, how in _BAD_SEVERITIES.items()},
}
