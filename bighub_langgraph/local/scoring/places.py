"""Where an action lies among others of its name: like ones lie in the same direction."""

import math
from collections.abc import Iterator
from zlib import crc32

from bighub_langgraph.local.scoring.action import Action, Fact, names_a_thing

WIDTH = 128  # the number of axes
Place = dict[int, float]  # axis -> how far along it, for the axes on which an action lies at all


def place_of(action: Action) -> Place:
    """Where an action lies, at a distance of one."""
    parts: Place = {}
    for token, weight in _tokens(action):
        spot = crc32(token.encode("utf-8", "surrogatepass"))
        axis = spot % WIDTH
        parts[axis] = parts.get(axis, 0.0) + (weight if spot & 0x10000 else -weight)
    length = math.sqrt(sum(part * part for part in parts.values())) or 1.0
    return {axis: part / length for axis, part in parts.items()}


def _tokens(action: Action) -> Iterator[tuple[str, float]]:
    yield "action", 1.0
    yield f"actor={action.actor}", 0.5
    if action.target is not None:
        yield f"target={action.target}", 2.5
    if action.value is not None:
        yield from _number("value", action.value, 1.5)
    share = 3.0 / math.sqrt(max(1, len(action.facts)))
    for name, fact in action.facts.items():
        yield from _fact(name, fact, share)
    if action.past.outcomes:
        yield from _number("past.errors", action.past.errors, 0.4)


def _fact(name: str, fact: Fact, weight: float) -> Iterator[tuple[str, float]]:
    if isinstance(fact, str):
        # What names a thing tells more about what a call is about than a setting does.
        yield f"{name}={fact}", weight * (2.0 if names_a_thing(fact) else 1.0)
    else:
        yield from _number(name, fact, weight)


def _number(name: str, number: float, weight: float) -> Iterator[tuple[str, float]]:
    """Spread a number over two neighbouring sizes, so that close numbers look alike."""
    size = 2 * math.copysign(math.log2(1 + abs(number)), number)
    low = math.floor(size)
    near = size - low
    yield f"{name}~{low}", weight * math.sqrt(1 - near)
    yield f"{name}~{low + 1}", weight * math.sqrt(near)
