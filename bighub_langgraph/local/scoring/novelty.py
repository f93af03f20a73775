"""Novelty: what of a call has not been seen with an outcome before."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from bighub_langgraph.local.scoring.features import Action, Evidence

_MAX_KNOWN = 1_024  # contents of a field
_MAX_FIELDS = 64
_USUALLY_NEW = 0.5  # a field that is new on more of the calls, such as an order id, tells nothing
_FAR = 2.0  # a number in the arguments this many times above the largest is out of range

VALUE, TARGET, ARGUMENT = "value", "target", "argument"


class Novelty(NamedTuple):
    """Something new about a call, as a kind and in words."""

    kind: str
    reason: str


@dataclass(slots=True)
class FieldContents:
    """The contents of a field of an action's calls, the one seen longest ago first."""

    calls: int = 0
    new: int = 0
    contents: dict[str, None] = field(default_factory=dict)

    def is_new(self, content: str) -> bool:
        """Whether a content is new in a field that mostly has known ones."""
        return content not in self.contents and self.new <= _USUALLY_NEW * self.calls

    def add(self, content: str) -> None:
        """Count a content."""
        self.calls += 1
        self.new += content not in self.contents
        self.contents.pop(content, None)
        self.contents[content] = None
        if len(self.contents) > _MAX_KNOWN:
            del self.contents[next(iter(self.contents))]


@dataclass(slots=True)
class Familiarity:
    """What is known of an action's calls with an outcome: contents of fields, and ranges."""

    fields: dict[str, FieldContents] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)
    largest_good: float = -math.inf  # value with a good outcome

    def find_novelties(self, action: Action) -> list[Novelty]:
        """Return what is new about a call of the action."""
        novelties = []
        if action.value is not None and action.value > self.largest_good > -math.inf:
            largest = f"the largest {action.name} so far {self.largest_good:.2f}"
            novelties.append(Novelty(VALUE, f"{action.value:.2f} is new: {largest}"))
        for name, content in _list_fields(action):
            if name in self.fields and self.fields[name].is_new(content):
                novelties.append(_describe(name, content))
        for name, number in action.facts.items():
            largest_number = self.largest.get(name, math.inf)
            if isinstance(number, float) and number > _FAR * largest_number + 1:
                reason = f"{name} of {number:g} is new: the largest so far {largest_number:g}"
                novelties.append(Novelty(ARGUMENT, reason))
        return novelties

    def add(self, evidence: Evidence) -> None:
        """Include a call with its first outcome."""
        action = evidence.action
        for name, content in _list_fields(action):
            if name in self.fields or len(self.fields) < _MAX_FIELDS:
                self.fields.setdefault(name, FieldContents()).add(content)
        for name, number in action.facts.items():
            if isinstance(number, float) and (
                name in self.largest or len(self.largest) < _MAX_FIELDS
            ):
                self.largest[name] = max(number, self.largest.get(name, 0.0))


_SHAPE = "*"


def _list_fields(action: Action) -> Iterator[tuple[str, str]]:
    """Yield the target, the names of the arguments as a whole, and each text argument."""
    if action.target is not None:
        yield TARGET, action.target
    names = []
    for name, fact in action.facts.items():
        field, is_item, item = name.partition("=")
        names.append(field)
        if isinstance(fact, str):
            yield f"{ARGUMENT} {field}", item if is_item else fact
    if names:
        yield _SHAPE, ",".join(dict.fromkeys(names))


def _describe(field: str, content: str) -> Novelty:
    match field:
        case "target":
            return Novelty(TARGET, "first time to this recipient")
        case "*":
            return Novelty(ARGUMENT, "first time with these arguments")
        case _:
            return Novelty(ARGUMENT, f"first time with {field.partition(' ')[2]} {content!r}")
