"""Novelty: what of a call has not been seen with a good outcome before."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from bighub_langgraph.local.scoring.features import Action, Evidence, Label, size_class

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
    """The contents of a field of an action's calls, the one seen longest ago first.

    Attributes:
        good: How many of the calls went well.
        distinct: How many contents these calls had.
        contents: How many calls with a content went well.
    """

    good: int = 0
    distinct: int = 0
    contents: dict[str, int] = field(default_factory=dict)

    def is_new(self, content: str) -> bool:
        """Whether a content has not gone well yet, in a field that mostly has ones that have."""
        is_usual = self.distinct > _USUALLY_NEW * self.good
        return self.good > 0 and not is_usual and not self.contents.get(content)

    def add(self, content: str, change: int) -> None:
        """Include an outcome of a content, which makes so many more good ones."""
        before = self.contents.pop(content, 0)
        self.contents[content] = after = max(0, before + change)
        self.good += after - before
        self.distinct += (after > 0) - (before > 0)
        if len(self.contents) > _MAX_KNOWN:
            del self.contents[next(iter(self.contents))]


@dataclass(slots=True)
class NumberRange:
    """The numbers of a field with a good outcome: by size, how many, and the largest of them."""

    sizes: dict[str, tuple[int, float]] = field(default_factory=dict)
    largest: float = -math.inf

    def add(self, number: float, change: int) -> None:
        """Include an outcome of a number, which makes so many more good ones."""
        size = str(size_class(number))
        count, largest = self.sizes.pop(size, (0, -math.inf))
        if change > 0:
            largest = max(number, largest)
        if count + change > 0:
            self.sizes[size] = count + change, largest
        self.largest = max((each for _, each in self.sizes.values()), default=-math.inf)


@dataclass(slots=True)
class Familiarity:
    """What is known of an action's calls with a good outcome: contents of fields, and ranges.

    A bad outcome makes nothing familiar, so that it never ends a novelty and with it the risk of
    what is new.
    """

    fields: dict[str, FieldContents] = field(default_factory=dict)
    numbers: dict[str, NumberRange] = field(default_factory=dict)
    largest_good: float = -math.inf  # value with a good outcome

    def find_novelties(self, action: Action) -> list[Novelty]:
        """Return what is new about a call of the action."""
        novelties = []
        if action.value is not None and action.value > self.largest_good > -math.inf:
            largest = f"the largest {action.name} so far {self.largest_good:.2f}"
            novelties.append(Novelty(VALUE, f"{action.value:.2f} is new: {largest}"))
        for name, content in _list_fields(action):
            earlier = self.fields.get(name)
            if earlier is not None and earlier.is_new(content):
                novelties.append(_describe(name, content, is_first=content not in earlier.contents))
        for name, number in action.facts.items():
            largest_number = self.numbers[name].largest if name in self.numbers else -math.inf
            if isinstance(number, float) and number > _FAR * max(0, largest_number) + 1:
                reason = f"{name} of {number:g} is new: the largest so far {largest_number:g}"
                novelties += [Novelty(ARGUMENT, reason)] if largest_number > -math.inf else []
        return novelties

    def learn(self, evidence: Evidence) -> None:
        """Include the outcome of a call, and remove the one it replaces."""
        change = (evidence.label is Label.GOOD) - (evidence.replaces is Label.GOOD)
        for name, content in _list_fields(evidence.action):
            if name in self.fields or len(self.fields) < _MAX_FIELDS:
                self.fields.setdefault(name, FieldContents()).add(content, change)
        for name, number in evidence.action.facts.items():
            if isinstance(number, float) and (
                name in self.numbers or len(self.numbers) < _MAX_FIELDS
            ):
                self.numbers.setdefault(name, NumberRange()).add(number, change)


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


def _describe(name: str, content: str, *, is_first: bool) -> Novelty:
    start = "first time" if is_first else "no good outcome yet"
    match name:
        case "target":
            return Novelty(TARGET, f"{start} {'to' if is_first else 'with'} this recipient")
        case "*":
            return Novelty(ARGUMENT, f"{start} with these arguments")
        case _:
            return Novelty(ARGUMENT, f"{start} with {name.partition(' ')[2]} {content!r}")
