"""Precedents: the labelled calls that are most similar to an action, found by its embedding."""

import math
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

import numpy as np

from bighub_langgraph.local.scoring.features import (
    Action,
    Evidence,
    Label,
    describe_call,
    looks_like_identifier,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DIMENSIONS = 128
MAX_PRECEDENTS = 512  # of an action
_MAX_ACTIONS = 64
_NEIGHBORS = 40
_SHARPNESS = 12
_PRIOR_WEIGHT = 1.0


class Precedent(NamedTuple):
    """An earlier call, its similarity to an action, and what became of it."""

    request_id: str
    similarity: float
    label: Label
    at: float
    target: str | None
    summary: str


class Neighbors(NamedTuple):
    """The calls most similar to an action, the most similar first."""

    calls: list[Precedent]
    similarities: "NDArray[np.float32]"

    def estimate_risk(self, prior: float) -> float:
        """Return their bad rate, weighted by similarity, and the prior where there are few."""
        weights = self.similarities**_SHARPNESS
        total = float(np.add.reduce(weights)) + _PRIOR_WEIGHT
        bad = np.array([call.label.bad for call in self.calls], dtype=np.float32)
        return (float(weights @ bad) + _PRIOR_WEIGHT * prior) / total

    def to_precedents(self, limit: int) -> list[Precedent]:
        """Return the first of them, as precedents to show."""
        nearest = zip(self.calls[:limit], self.similarities[:limit].tolist(), strict=True)
        return [call._replace(similarity=round(by, 4)) for call, by in nearest]


class PrecedentIndex:
    """The latest labelled calls of each action; the oldest calls and actions are dropped."""

    def __init__(self) -> None:
        self._actions: dict[str, _ActionIndex] = {}  # the one not used for longest comes first

    def __len__(self) -> int:
        return sum(len(index.calls) for index in self._actions.values())

    def add(self, evidence: Evidence) -> None:
        """Add a labelled call; a later label of the same call replaces the earlier one."""
        key = evidence.action.key
        self._actions[key] = self._actions.pop(key) if key in self._actions else _ActionIndex()
        self._actions[key].add(evidence)
        if len(self._actions) > _MAX_ACTIONS:
            del self._actions[next(iter(self._actions))]

    def find_nearest(self, action: Action, limit: int = _NEIGHBORS) -> Neighbors:
        """Return the calls of the same action that are most similar to this one."""
        index = self._actions.get(action.key) or _EMPTY
        return index.find_nearest(action, limit)

    def dump_state(self) -> dict[str, Any]:
        """Return the state as JSON-compatible data."""
        return {key: index.dump_state() for key, index in self._actions.items()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Replace the state by one that `dump_state` returned."""
        self._actions = {key: _ActionIndex() for key in state}
        for key, index in self._actions.items():
            index.load_state(state[key])


class _ActionIndex:
    """The calls of one action; when it is full, the newest replaces the oldest."""

    def __init__(self) -> None:
        self.calls: list[Precedent] = []
        self._slots: dict[str, int] = {}
        self._oldest = 0
        # One column for each call: a search reads only the rows of the embedding's dimensions.
        shape = (_DIMENSIONS, MAX_PRECEDENTS)
        self._vectors: NDArray[np.float32] = np.zeros(shape, dtype=np.float32)

    def add(self, evidence: Evidence) -> None:
        action, request_id = evidence.action, evidence.request_id
        summary = describe_call(action.name, action.value, action.target)
        call = Precedent(
            request_id, 1.0, evidence.label, evidence.decided_at, action.target, summary
        )
        if (slot := self._slots.get(request_id)) is not None:
            self.calls[slot] = call
            return
        slot = len(self.calls)
        if slot < MAX_PRECEDENTS:
            self.calls.append(call)
        else:
            slot, self._oldest = self._oldest, (self._oldest + 1) % MAX_PRECEDENTS
            del self._slots[self.calls[slot].request_id]
            self.calls[slot] = call
        self._slots[request_id] = slot
        indices, values = _embed_action(action)
        self._vectors[:, slot] = 0.0
        self._vectors[indices, slot] = values.astype(np.float16)  # the precision of a snapshot

    def find_nearest(self, action: Action, limit: int) -> Neighbors:
        count = len(self.calls)
        indices, values = _embed_action(action)
        products = values @ self._vectors.take(indices, axis=0)
        similarities, nearest = products[:count], np.arange(count)
        if count > limit:
            nearest = similarities.argpartition(count - limit)[count - limit :]
        order = nearest[(-similarities[nearest]).argsort(kind="stable")]
        calls = [self.calls[slot] for slot in order.tolist()]
        return Neighbors(calls, similarities[order].clip(0.0, 1.0))

    def dump_state(self) -> dict[str, Any]:
        vectors = self._vectors[:, : len(self.calls)].T.astype(np.float16, order="C")
        return {
            "calls": [list(call) for call in self.calls],
            "vectors": b64encode(vectors.tobytes()).decode(),
            "oldest": self._oldest,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        calls = [Precedent(*fields) for fields in state["calls"]]
        self.calls = [call._replace(label=Label(call.label)) for call in calls]
        self._slots = {call.request_id: slot for slot, call in enumerate(self.calls)}
        self._oldest, count = state["oldest"], len(self.calls)
        vectors = np.frombuffer(b64decode(state["vectors"]), dtype=np.float16)
        self._vectors[:, :count] = vectors.reshape(-1, _DIMENSIONS).T


def _embed_action(action: Action) -> tuple["NDArray[np.intp]", "NDArray[np.float32]"]:
    """Return the indices and values of a sparse vector of length one.

    Similar actions have a similar direction: each token adds to one dimension, with a sign.
    """
    vector: dict[int, float] = {}
    for token, weight in _tokenize(action):
        code = crc32(token.encode("utf-8", "surrogatepass"))
        index = code % _DIMENSIONS
        vector[index] = vector.get(index, 0.0) + (weight if code & 0x10000 else -weight)
    length = math.sqrt(sum([value * value for value in vector.values()])) or 1.0
    values = np.array([value / length for value in vector.values()], dtype=np.float32)
    return np.array(list(vector), dtype=np.intp), values


def _tokenize(action: Action) -> list[tuple[str, float]]:
    """Return the properties of an action as tokens with weights."""
    weight = 3.0 / math.sqrt(max(1, len(action.facts)))
    facts = [(name, fact, weight) for name, fact in action.facts.items()]
    if action.value is not None:
        facts.insert(0, ("value", action.value, 1.5))
    if action.history.outcomes:
        facts.append(("past.errors", action.history.errors, 0.4))
    tokens = [("action", 1.0), (f"actor={action.actor}", 0.5)]
    if action.target is not None:
        tokens.append((f"target={action.target}", 2.5))
    for name, fact, weight in facts:
        if isinstance(fact, str):
            # An identifier says more about the subject of a call than a setting does.
            share = 2.0 if looks_like_identifier(fact) else 1.0
            tokens.append((f"{name}={fact}", weight * share))
            continue
        # A number is spread over two neighboring sizes, so that close numbers are similar.
        size = 2 * math.copysign(math.log2(1 + abs(fact)), fact)
        low = math.floor(size)
        tokens.append((f"{name}~{low}", weight * math.sqrt(1 - (size - low))))
        tokens.append((f"{name}~{low + 1}", weight * math.sqrt(size - low)))
    return tokens


_EMPTY = _ActionIndex()
