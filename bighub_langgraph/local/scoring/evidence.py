"""What is learned from: an outcome or a person's verdict on an earlier decision."""

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from bighub_langgraph.local.scoring.action import Action
from bighub_langgraph.local.scoring.features import Traits


class Label(IntEnum):
    """What became of a decision: an outcome, or what a person thought of it."""

    GOOD = 0
    BAD = 1
    APPROVED = 2
    DENIED = 3

    def __init__(self, _number: int) -> None:
        # Attributes, not properties: what learns asks for them again and again.
        self.bad = self.name in ("BAD", "DENIED")  # speaks against the action
        self.outcome = self.name in ("GOOD", "BAD")  # happened, rather than being an opinion


class Evidence(NamedTuple):
    """One label for one earlier decision; `replaces` is the label it takes back."""

    request_id: str
    action: Action
    decided_at: float
    at: float
    label: Label
    replaces: Label | None
    replaced_at: float
    risk: float
    parts: Mapping[str, float]
    traits: Traits | None = None  # of the action, where they are known already
