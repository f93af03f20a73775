"""Nearest precedents: what became of the calls most like this one."""

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from bighub_langgraph.local.scoring.action import Action, describe
from bighub_langgraph.local.scoring.evidence import Evidence, Label
from bighub_langgraph.local.scoring.features import own_name
from bighub_langgraph.local.scoring.places import WIDTH, Place, place_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEPT = 512
_MOST_ACTIONS = 64
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
        total = float(np.add.reduce(weights)) + _PRIOR_WEIGHT
        return (float(weights @ self.bad) + _PRIOR_WEIGHT * prior) / total

    def shown(self, most: int) -> list[Precedent]:
        """The first of them, as precedents to show."""
        kept = map(self.kept.__getitem__, self.slots[:most].tolist())
        nearest = zip(kept, self.likeness[:most].tolist(), strict=True)
        return [
            Precedent(name, round(near, 4), label, at, target, summary)
            for (name, label, at, target, summary), near in nearest
        ]


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
        return self.around(own_name(action), place_of(action), most)

    def around(self, own: str, place: Place, most: int = _NEAREST) -> Neighbours:
        """The calls of an action, by its name within its domain, that are nearest to a place."""
        return (self._shelves.get(own) or _EMPTY).nearest(place, most)

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
        self._vectors: NDArray[np.float32] = np.zeros((WIDTH, 16), dtype=np.float32)
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
            traits = evidence.traits
            place = traits.place if traits else place_of(evidence.action)
            self._vectors[:, slot] = _vector(place).astype(np.float16)  # as a snapshot keeps it
        self.kept[slot] = kept
        self._bad[slot] = evidence.label.bad

    def nearest(self, place: Place, most: int) -> Neighbours:
        count = len(self.kept)
        likeness = (place.parts @ self._vectors.take(place.axes, axis=0))[:count]
        if count > most:
            picked = likeness.argpartition(count - most)[count - most :]
            ordered = picked[(-likeness[picked]).argsort(kind="stable")]
        else:
            ordered = (-likeness).argsort(kind="stable")
        near = likeness[ordered]
        np.maximum(near, 0.0, out=near)
        np.minimum(near, 1.0, out=near)
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
        self._vectors = np.zeros((WIDTH, room), dtype=np.float32)
        self._vectors[:, : len(self.kept)] = packed.reshape(-1, WIDTH).T
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
    return _vector(place_of(action))


def _vector(place: Place) -> "NDArray[np.float32]":
    vector = np.zeros(WIDTH, dtype=np.float32)
    vector[place.axes] = place.parts
    return vector
