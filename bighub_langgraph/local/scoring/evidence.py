"""Evidence: the label that an outcome or a person's answer gives to an earlier decision."""

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from bighub_langgraph.local.scoring.features import Action


class Label(IntEnum):
    """What became of a decision: an outcome, or a person's answer to it."""

    GOOD = 0
    BAD = 1
    APPROVED = 2
    DENIED = 3

    def __init__(self, _number: int) -> None:
        self.bad = self.name in ("BAD", "DENIED")
        self.outcome = self.name in ("GOOD", "BAD")  # it happened and is not an opinion


class Evidence(NamedTuple):
    """One label of one earlier decision; `replaces` is the label it corrects."""

    request_id: str
    action: Action
    decided_at: float
    at: float
    label: Label
    replaces: Label | None
    replaced_at: float
    risk: float
    parts: Mapping[str, float]
