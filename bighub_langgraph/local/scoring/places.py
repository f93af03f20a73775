"""Where an action lies among others of its name: like ones lie in the same direction."""

import math
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import numpy as np

from bighub_langgraph.local.scoring.action import Action, Fact, names_a_thing

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 128  # the number of axes
_Token = tuple[str, float]  # something an action has, and how much it counts


class Place(NamedTuple):
    """How far along it an action lies, for the axes on which it lies at all."""

    axes: "NDArray[np.intp]"
    parts: "NDArray[np.float32]"


def place_of(action: Action) -> Place:
    """Where an action lies, at a distance of one."""
    parts: dict[int, float] = {}
    for token, weight in _tokens(action):
        spot = crc32(token.encode("utf-8", "surrogatepass"))
        axis = spot % WIDTH
        parts[axis] = parts.get(axis, 0.0) + (weight if spot & 0x10000 else -weight)
    length = math.sqrt(sum([part * part for part in parts.values()])) or 1.0
    return Place(
        np.array(list(parts), dtype=np.intp),
        np.array([part / length for part in parts.values()], dtype=np.float32),
    )


def _tokens(action: Action) -> list[_Token]:
    tokens = [("action", 1.0), (f"actor={action.actor}", 0.5)]
    if action.target is not None:
        tokens.append((f"target={action.target}", 2.5))
    if action.value is not None:
        tokens += _number("value", action.value, 1.5)
    share = 3.0 / math.sqrt(max(1, len(action.facts)))
    for name, fact in action.facts.items():
        tokens += _fact(name, fact, share)
    if action.past.outcomes:
        tokens += _number("past.errors", action.past.errors, 0.4)
    return tokens


def _fact(name: str, fact: Fact, weight: float) -> tuple[_Token, ...]:
    if isinstance(fact, str):
        # What names a thing tells more about what a call is about than a setting does.
        return ((f"{name}={fact}", weight * (2.0 if names_a_thing(fact) else 1.0)),)
    return _number(name, fact, weight)


def _number(name: str, number: float, weight: float) -> tuple[_Token, ...]:
    """Spread a number over two neighbouring sizes, so that close numbers look alike."""
    size = 2 * math.copysign(math.log2(1 + abs(number)), number)
    low = math.floor(size)
    near = size - low
    return (
        (f"{name}~{low}", weight * math.sqrt(1 - near)),
        (f"{name}~{low + 1}", weight * math.sqrt(near)),
    )
