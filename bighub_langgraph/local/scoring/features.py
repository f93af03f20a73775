"""Features of an action: what it has, and its numbers, scaled by what was seen before."""

import math
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple, Self

from bighub_langgraph.local.scoring.action import Action, Past, names_a_thing
from bighub_langgraph.local.scoring.places import Place, place_of

_CLIP = 3.0
_EDGES = (-1.0, -0.4, 0.2, 0.8)
_SMALL = 12
_OFTEN = 3
_LEAST_SPREAD = 0.02  # what varies less than this, by proportion, is noise
_MOST_SCALES = 4_000


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

    @property
    def sparse(self) -> dict[str, float]:
        """Marks and numbers as one sparse vector, without what is about one thing only."""
        return {**dict.fromkeys(self.marks, 1.0), **self.numbers}


class Scales:
    """The mean and spread of every number seen so far, by name."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, float, float]] = {}  # count, mean, sum of squares

    def add(self, numbers: Iterable[tuple[str, float]]) -> None:
        """Take an action's numbers into account."""
        for name, number in numbers:
            count, mean, squares = self._seen.get(name, (0.0, 0.0, 0.0))
            if count or len(self._seen) < _MOST_SCALES:
                step = number - mean
                mean += step / (count + 1)
                self._seen[name] = (count + 1, mean, squares + step * (number - mean))

    def scaled(self, name: str, number: float) -> float:
        """How many spreads a number lies from the mean; 0 while too little is known."""
        count, mean, squares = self._seen.get(name, (0.0, 0.0, 0.0))
        if squares <= 0:
            return 0.0
        spread = max(_LEAST_SPREAD, math.sqrt(squares / (count - 1)))
        return max(-_CLIP, min(_CLIP, (number - mean) / spread))

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
    facts = action.facts.items()
    words = [(name, fact) for name, fact in facts if isinstance(fact, str)]
    things = {name for name, fact in words if _about_one_thing(name, fact)}
    return Traits(
        own,
        list(_marks(action, own, things)),
        tuple([f"{own}|{name}={fact}" for name, fact in words if name in things]),
        list(_numbers(action, own)),
        place_of(action),
    )


def features(traits: Traits, scales: Scales) -> Features:
    """The features of an action with these traits."""
    scaled = {name: scales.scaled(name, number) for name, number in traits.numbers}
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


def _numbers(action: Action, own: str) -> Iterator[tuple[str, float]]:
    past = action.past
    if action.value is not None:
        yield f"{own}|value", compress(action.value)
    for name, fact in action.facts.items():
        if not isinstance(fact, str):
            yield f"{own}|{name}", compress(fact)
    if past.known:
        yield f"{own}|past.calls", compress(past.calls)
        yield f"{own}|past.total_value", compress(past.total_value)
        yield f"{own}|past.seconds_since_last", compress(past.seconds_since_last)
        yield f"{own}|past.new_words", past.new_words / max(1, past.new_words + past.known_words)


def _marks(action: Action, own: str, things: Collection[str]) -> Iterator[str]:
    yield f"actor={action.actor}"
    if action.target is not None:
        yield f"{own}|target={action.target}"
    if action.value is not None:
        yield size_mark(own, size_class(action.value))
    for name, fact in action.facts.items():
        if isinstance(fact, str):
            if name not in things:
                yield f"{own}|{name}={fact}"
        elif abs(fact) <= _SMALL and fact == int(fact):
            yield f"{own}|{name}={int(fact)}"
    if action.past.known:
        yield from _past_marks(action.past, own)


def _about_one_thing(name: str, fact: str) -> bool:
    return names_a_thing(fact) or ("[]" in name and names_a_thing(name.partition("=")[2]))


def _past_marks(past: Past, own: str) -> Iterator[str]:
    yield f"{own}|after={past.last_action}"
    for name, happened in (
        # Nothing is said of errors while no outcome of the session is known.
        ("clean", past.outcomes and not past.errors),
        ("just_failed", past.errors_in_a_row),
        ("failed", past.errors),
        ("failed_often", past.errors >= _OFTEN),
        ("repeated", past.repeats),
        ("same_action", past.same_action),
        ("same_action_failed", past.same_action_errors),
        ("new_words", past.new_words),
    ):
        if happened:
            yield f"past.{name}"
            yield f"{own}|past.{name}"
