"""Embeddings of actions: similar actions have vectors with a similar direction."""

import math
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import numpy as np

from bighub_langgraph.local.scoring.features import Action, looks_like_identifier

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIMENSIONS = 128
_Token = tuple[str, float]  # a property of an action, and its weight


class Embedding(NamedTuple):
    """A sparse vector of length one."""

    indices: "NDArray[np.intp]"
    values: "NDArray[np.float32]"

    def to_dense(self) -> "NDArray[np.float32]":
        """Return the vector with all dimensions."""
        vector = np.zeros(DIMENSIONS, dtype=np.float32)
        vector[self.indices] = self.values
        return vector


def embed_action(action: Action) -> Embedding:
    """Embed an action by feature hashing: each token adds to one dimension, with a sign."""
    vector: dict[int, float] = {}
    for token, weight in _tokenize(action):
        code = crc32(token.encode("utf-8", "surrogatepass"))
        index = code % DIMENSIONS
        vector[index] = vector.get(index, 0.0) + (weight if code & 0x10000 else -weight)
    length = math.sqrt(sum([value * value for value in vector.values()])) or 1.0
    return Embedding(
        np.array(list(vector), dtype=np.intp),
        np.array([value / length for value in vector.values()], dtype=np.float32),
    )


def _tokenize(action: Action) -> list[_Token]:
    tokens = [("action", 1.0), (f"actor={action.actor}", 0.5)]
    if action.target is not None:
        tokens.append((f"target={action.target}", 2.5))
    if action.value is not None:
        tokens += _number_tokens("value", action.value, 1.5)
    weight = 3.0 / math.sqrt(max(1, len(action.facts)))
    for name, fact in action.facts.items():
        if not isinstance(fact, str):
            tokens += _number_tokens(name, fact, weight)
        else:
            # An identifier says more about the subject of a call than a setting does.
            share = 2.0 if looks_like_identifier(fact) else 1.0
            tokens.append((f"{name}={fact}", weight * share))
    if action.history.outcomes:
        tokens += _number_tokens("past.errors", action.history.errors, 0.4)
    return tokens


def _number_tokens(name: str, number: float, weight: float) -> tuple[_Token, _Token]:
    """Spread a number over two neighboring sizes, so that close numbers are similar."""
    size = 2 * math.copysign(math.log2(1 + abs(number)), number)
    low = math.floor(size)
    fraction = size - low
    return (
        (f"{name}~{low}", weight * math.sqrt(1 - fraction)),
        (f"{name}~{low + 1}", weight * math.sqrt(fraction)),
    )
