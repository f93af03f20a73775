"""Features of an action: what it has, and its numbers, scaled by what was seen before."""

import itertools
import math
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, NamedTuple, Self

from bighub_langgraph.local.scoring.action import Action, Past, names_a_thing
from bighub_langgraph.local.scoring.places import Place, place_of

_CLIP = 3.0
_EDGES = (-1.0, -0.4, 0.2, 0.8)
_SMALL = 12
_OFTEN = 3
_LEAST_SPREAD = 0.02  # what varies less than this, by proportion, is noise
_MOST_SCALES = 4_000
_UNSEEN = (0.0, 0.0, 0.0)


class Traits(NamedTuple):
    """What an action has, whatever was learned before: made once, to judge it and to learn of it.

    `names` are marks that name one thing, such as an order; `numbers` are on a scale where sizes
    compare by proportion.
    """

    own: str
    marks: list[str]
    names: tuple[str, ...]
    numbers: list[tuple[str, float]]
    place: Place


class Features(NamedTuple):
    """What an action has, by name, and its numbers in spreads from their mean."""

    marks: tuple[str, ...]
    names: tuple[str, ...]
    numbers: dict[str, float]

    @property
    def every_mark(self) -> tuple[str, ...]:
        """The marks, those that name one thing included."""
        return self.marks + self.names


class Scales:
    """The mean and spread of every number seen so far, by name."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, float, float]] = {}  # count, mean, sum of squares

    def add(self, numbers: Iterable[tuple[str, float]]) -> None:
        """Take an action's numbers into account."""
        for name, number in numbers:
            count, mean, squares = self._seen.get(name, _UNSEEN)
            if count or len(self._seen) < _MOST_SCALES:
                step = number - mean
                mean += step / (count + 1)
                self._seen[name] = (count + 1, mean, squares + step * (number - mean))

    def scaled(self, numbers: Iterable[tuple[str, float]]) -> dict[str, float]:
        """How many spreads each number lies from its mean; 0 while too little is known."""
        found = {}
        for name, number in numbers:
            count, mean, squares = self._seen.get(name, _UNSEEN)
            if squares <= 0:
                found[name] = 0.0
                continue
            spread = max(_LEAST_SPREAD, math.sqrt(squares / (count - 1)))
            spreads = (number - mean) / spread
            found[name] = spreads if -_CLIP < spreads < _CLIP else math.copysign(_CLIP, spreads)
        return found

    def state(self) -> dict[str, Any]:
        """Everything to keep, as plain JSON."""
        return {"seen": self._seen}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """The scales that `state` described."""
        scales = cls()
        scales._seen = {name: tuple(kept) for name, kept in state["seen"].items()}
        return scales


def traits_of(action: Action) -> Traits:
    """The traits of an action."""
    own = own_name(action)
    marks, names = [f"actor={action.actor}"], list[str]()
    numbers: list[tuple[str, float]] = []
    if action.target is not None:
        marks.append(f"{own}|target={action.target}")
    if action.value is not None:
        marks.append(size_mark(own, size_class(action.value)))
        numbers.append((f"{own}|value", compress(action.value)))
    for name, fact in action.facts.items():
        if isinstance(fact, str):
            (names if _about_one_thing(name, fact) else marks).append(f"{own}|{name}={fact}")
            continue
        numbers.append((f"{own}|{name}", compress(fact)))
        if abs(fact) <= _SMALL and fact == int(fact):
            marks.append(f"{own}|{name}={int(fact)}")
    if action.past.known:
        marks += _past_marks(action.past, own)
        numbers += _past_numbers(action.past, own)
    return Traits(own, marks, tuple(names), numbers, place_of(action))


def features(traits: Traits, scales: Scales) -> Features:
    """The features of an action with these traits."""
    scaled = scales.scaled(traits.numbers)
    bands = [f"{name}^{bisect_left(_EDGES, number)}" for name, number in scaled.items()]
    return Features((*traits.marks, *bands), traits.names, scaled)


def size_class(value: float) -> int:
    """The size of a value: one class for each doubling."""
    return round(math.log2(1 + max(0.0, value)))


def size_mark(own: str, size: int) -> str:
    """The mark of an action whose value has a size."""
    return f"{own}|size={size}"


def own_name(action: Action) -> str:
    """An action's name within its domain."""
    return f"{action.domain}/{action.name}"


def compress(number: float) -> float:
    """A logarithm that keeps the sign."""
    return math.copysign(math.log1p(abs(number)), number)


def _about_one_thing(name: str, fact: str) -> bool:
    return names_a_thing(fact) or ("[]" in name and names_a_thing(name.partition("=")[2]))


# Nothing is said of errors while no outcome of the session is known.
_EVENTS = (
    *("clean", "just_failed", "failed", "failed_often"),
    *("repeated", "same_action", "same_action_failed", "new_words"),
)


def _past_marks(past: Past, own: str) -> list[str]:
    happened = (
        past.outcomes and not past.errors,
        past.errors_in_a_row,
        past.errors,
        past.errors >= _OFTEN,
        past.repeats,
        past.same_action,
        past.same_action_errors,
        past.new_words,
    )
    marks = [f"{own}|after={past.last_action}"]
    for event in itertools.compress(_EVENTS, happened):
        marks += f"past.{event}", f"{own}|past.{event}"
    return marks


def _past_numbers(past: Past, own: str) -> list[tuple[str, float]]:
    return [
        (f"{own}|past.calls", compress(past.calls)),
        (f"{own}|past.total_value", compress(past.total_value)),
        (f"{own}|past.seconds_since_last", compress(past.seconds_since_last)),
        (f"{own}|past.new_words", past.new_words / max(1, past.new_words + past.known_words)),
    ]
