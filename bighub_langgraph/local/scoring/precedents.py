"""Nearest precedents: what became of the calls most like this one."""

import math
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from zlib import crc32

import numpy as np

from bighub_langgraph.local.scoring.action import Action, Fact, describe, names_a_thing
from bighub_langgraph.local.scoring.evidence import Evidence, Label
from bighub_langgraph.local.scoring.features import own_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEPT = 512
_MOST_ACTIONS = 64
_WIDTH = 128
_NEAREST = 40
_SHARPNESS = 12
_PRIOR_WEIGHT = 1.0


class Precedent(NamedTuple):
    """An earlier call, how like this one it was, and what became of it."""

    request_id: str
    similarity: float
    label: Label
    at: float
    target: str | None
    summary: str


class Kept(NamedTuple):
    """What is remembered of a labelled call."""

    request_id: str
    label: Label
    at: float
    target: str | None
    summary: str


class Neighbours(NamedTuple):
    """The calls most like an action, the most alike first; `slots` are their places in `kept`."""

    kept: list[Kept]
    slots: "NDArray[np.intp]"
    likeness: "NDArray[np.float32]"
    bad: "NDArray[np.float32]"

    @property
    def closest(self) -> float:
        """How like the action the most alike is."""
        return float(self.likeness[0]) if len(self.slots) else 0.0

    def risk(self, prior: float) -> float:
        """The bad rate among them, weighted by likeness, with the prior where there are few."""
        weights = self.likeness**_SHARPNESS
        total = float(weights.sum()) + _PRIOR_WEIGHT
        return (float(weights @ self.bad) + _PRIOR_WEIGHT * prior) / total

    def shown(self, most: int) -> list[Precedent]:
        """The first of them, as precedents to show."""
        nearest = zip(self.slots[:most].tolist(), self.likeness[:most].tolist(), strict=True)
        return [_precedent(self.kept[slot], near) for slot, near in nearest]


def _precedent(kept: Kept, near: float) -> Precedent:
    name, label, at, target, summary = kept
    return Precedent(name, round(near, 4), label, at, target, summary)


class Precedents:
    """The latest labelled calls of each action, found again by likeness; older ones make room."""

    def __init__(self) -> None:
        self._shelves: dict[str, _Shelf] = {}

    def __len__(self) -> int:
        return sum(len(shelf.kept) for shelf in self._shelves.values())

    def remember(self, evidence: Evidence) -> None:
        """Keep a labelled call; a later label of the same call replaces the earlier one."""
        own = own_name(evidence.action)
        shelf = self._shelves.pop(own, None) or _Shelf()
        self._shelves[own] = shelf  # last, so that the first is the one not used for longest
        shelf.remember(evidence)
        if len(self._shelves) > _MOST_ACTIONS:
            del self._shelves[next(iter(self._shelves))]

    def nearest(self, action: Action, most: int = _NEAREST) -> Neighbours:
        """The calls of the same action that are most like this one."""
        shelf = self._shelves.get(own_name(action)) or _EMPTY
        return shelf.nearest(action, most)

    def state(self) -> dict[str, Any]:
        """Everything to keep, as plain JSON."""
        return {own: shelf.state() for own, shelf in self._shelves.items()}

    def restored(self, state: dict[str, Any]) -> Self:
        """These precedents with what `state` described."""
        self._shelves = {own: _Shelf().restored(kept) for own, kept in state.items()}
        return self


class _Shelf:
    """One action's calls; the newest take the places of the oldest."""

    def __init__(self) -> None:
        self.kept: list[Kept] = []
        # A column for each call: only the rows of what an action has need to be looked at.
        self._vectors: NDArray[np.float32] = np.zeros((_WIDTH, 16), dtype=np.float32)
        self._bad: NDArray[np.float32] = np.zeros(16, dtype=np.float32)
        self._slots: dict[str, int] = {}
        self._next = 0

    def remember(self, evidence: Evidence) -> None:
        kept = Kept(
            evidence.request_id,
            evidence.label,
            evidence.decided_at,
            evidence.action.target,
            describe(evidence.action),
        )
        slot = self._slots.get(kept.request_id)
        if slot is None:
            slot = self._free_slot(kept)
            self._vectors[:, slot] = embed(evidence.action)
        self.kept[slot] = kept
        self._bad[slot] = evidence.label.bad

    def nearest(self, action: Action, most: int) -> Neighbours:
        count = len(self.kept)
        place = _place(action)
        rows = self._vectors.take(list(place), axis=0)
        likeness = (np.array(list(place.values()), dtype=np.float32) @ rows)[:count]
        if count > most:
            picked = np.argpartition(likeness, count - most)[count - most :]
        else:
            picked = np.arange(count)
        ordered = picked[np.argsort(-likeness[picked], kind="stable")]
        near = np.minimum(np.maximum(likeness[ordered], 0.0), 1.0)
        return Neighbours(self.kept, ordered, near, self._bad[ordered])

    def state(self) -> dict[str, Any]:
        vectors = self._vectors[:, : len(self.kept)].T.astype(np.float16, order="C")
        return {
            "kept": [list(each) for each in self.kept],
            "vectors": b64encode(vectors.tobytes()).decode(),
            "next": self._next,
        }

    def restored(self, state: dict[str, Any]) -> Self:
        self.kept = [Kept(name, Label(label), *more) for name, label, *more in state["kept"]]
        self._slots = {each.request_id: slot for slot, each in enumerate(self.kept)}
        packed = np.frombuffer(b64decode(state["vectors"]), dtype=np.float16)
        room = max(16, len(self.kept))
        self._vectors = np.zeros((_WIDTH, room), dtype=np.float32)
        self._vectors[:, : len(self.kept)] = packed.reshape(-1, _WIDTH).T
        self._bad = np.zeros(room, dtype=np.float32)
        self._bad[: len(self.kept)] = [each.label.bad for each in self.kept]
        self._next = state["next"]
        return self

    def _free_slot(self, kept: Kept) -> int:
        if len(self.kept) < KEPT:
            slot = len(self.kept)
            self.kept.append(kept)
            if slot == len(self._bad):
                self._vectors = np.hstack([self._vectors, np.zeros_like(self._vectors)])
                self._bad = np.concatenate([self._bad, np.zeros_like(self._bad)])
        else:
            slot, self._next = self._next, (self._next + 1) % KEPT
            del self._slots[self.kept[slot].request_id]
        self._slots[kept.request_id] = slot
        return slot


_EMPTY = _Shelf()


def embed(action: Action) -> "NDArray[np.float32]":
    """Place an action among others of its name: like ones point the same way."""
    vector = np.zeros(_WIDTH, dtype=np.float32)
    for spot, part in _place(action).items():
        vector[spot] = part
    return vector


def _place(action: Action) -> dict[int, float]:
    """Where an action lies, by the axes on which it lies at all."""
    parts: dict[int, float] = {}
    for token, weight in _tokens(action):
        spot = crc32(token.encode("utf-8", "surrogatepass"))
        axis = spot % _WIDTH
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
