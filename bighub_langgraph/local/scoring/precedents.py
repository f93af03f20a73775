"""Precedents: the labelled calls that are most similar to an action, found by its embedding."""

import math
from dataclasses import dataclass, field
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
from bighub_langgraph.local.settings import DomainSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DIMENSIONS = 128
MAX_PRECEDENTS = 512  # of an action
_FIRST_COLUMNS = 16
_SQUARINGS = 4  # the weight of a precedent is its similarity to the power of 3 * 2**4
# How many precedents the regression may weigh as much as: which, each action's outcomes tell. Those
# of calls that name their subject tell more.
_STRENGTHS = np.array([0.03, 0.3, 3.0, 30.0, 300.0])
_UNNAMED = 20.0
_FIT_SHARE = 0.3  # labels that arrive late arrive out of order, and say less than they seem to
_MIN_RISK = 1e-4


class Precedent(NamedTuple):
    """An earlier call, its similarity to an action, and what became of it."""

    request_id: str
    similarity: float
    label: Label
    at: float
    target: str | None
    summary: str
    value: float | None = None


class Comparison(NamedTuple):
    """What an action's earlier calls add up to, each weighted by its likeness to a call.

    Attributes:
        bad: The weight of those with a bad outcome.
        total: The weight of those with an outcome.
        denied: The weight of those a person refused, which fades.
        nearest: The most similar ones, the most similar first.
        trust: The weight of each strength of the regression, by how well they foretold outcomes.
    """

    bad: float
    total: float
    denied: float
    nearest: list[Precedent]
    trust: "NDArray[np.float64]" = np.full(len(_STRENGTHS), 1 / len(_STRENGTHS))

    def estimate_risks(
        self, regression: float, *, is_named: bool, denied: float = 0.0
    ) -> "NDArray[np.float64]":
        """The risk at each strength of the regression, if denials count as bad outcomes."""
        strengths = _STRENGTHS if is_named else _STRENGTHS * _UNNAMED
        risks = self.bad + denied + strengths * regression
        return (risks / (self.total + denied + strengths)).clip(_MIN_RISK, 1 - _MIN_RISK)


@dataclass(slots=True)
class Precedents:
    """The latest labelled calls of an action; when it is full, the newest replaces the oldest."""

    calls: list[Precedent] = field(default_factory=list)
    slots: dict[str, int] = field(default_factory=dict)
    oldest: int = 0
    # One column for each call: a search reads only the rows of the embedding's dimensions.
    vectors: "NDArray[np.float32]" = field(default_factory=lambda: _make_columns(_DIMENSIONS, "f4"))
    # For each call: whether it went bad, has an outcome, was denied; and the time.
    labels: "NDArray[np.float64]" = field(default_factory=lambda: _make_columns(4, "f8"))
    # For each call and strength: the log of the risk it was given before its outcome was known,
    # and of the chance that it goes well; 0 once its label was corrected.
    logs: "NDArray[np.float64]" = field(
        default_factory=lambda: _make_columns(2 * len(_STRENGTHS), "f8")
    )

    @property
    def columns(self) -> int:
        """How many calls there is memory for."""
        return int(self.vectors.shape[1])

    def add(self, evidence: Evidence, risks: "NDArray[np.float64] | None" = None) -> None:
        """Add a labelled call; a later label of the same call replaces the earlier one.

        `risks` are those that were expected of it, at each strength of the regression.
        """
        action, label, request_id = evidence.action, evidence.label, evidence.request_id
        if (slot := self.slots.get(request_id)) is None:
            if label is Label.NOTHING:
                return
            slot = self._find_slot()
            self.slots[request_id] = slot
            indices, values = _embed_action(action)
            self.vectors[:, slot] = 0.0
            self.vectors[indices, slot] = values
            summary = describe_call(action.name, action.value, action.target)
            about = evidence.decided_at, action.target, summary, action.value
            self.calls[slot] = Precedent(request_id, 1.0, label, *about)
        # What was expected while others had labels that are corrected since says nothing.
        self.logs[:, slot] = 0.0 if risks is None else np.log(np.concatenate([risks, 1 - risks]))
        self.calls[slot] = self.calls[slot]._replace(label=label)
        self.labels[:, slot] = label.bad, label.outcome, label is Label.DENIED, evidence.at

    def compare(
        self, action: Action, at: float, settings: DomainSettings, limit: int
    ) -> Comparison:
        """Compare the calls with a call of the same action."""
        count = len(self.calls)
        if not count:
            return Comparison(0.0, 0.0, 0.0, [])
        indices, values = _embed_action(action)
        similarities = (values @ self.vectors.take(indices, axis=0))[:count].clip(0.0, 1.0)
        bad, outcome, denied, times = self.labels[:, :count]
        ages = np.maximum(0.0, at - times)
        weights = similarities * similarities * similarities
        for _ in range(_SQUARINGS):
            weights *= weights
        refused = 0.0
        if denied.any():
            refused = float(weights @ (denied * np.exp2(-ages / settings.reevaluate_after)))
        weights = weights * np.exp2(-ages / settings.half_life)
        nearest = limit and self._list_nearest(similarities * (outcome + denied), limit)
        logs = self.logs[:, :count]
        fit = logs[: len(_STRENGTHS)] @ bad + logs[len(_STRENGTHS) :] @ (outcome - bad)
        trust = np.exp(_FIT_SHARE * (fit - fit.max()))
        sums = float(weights @ bad), float(weights @ outcome), refused
        return Comparison(*sums, nearest or [], trust / trust.sum())

    def find_largest_good_value(self) -> float:
        """The largest value that went well; minus infinity if there is none."""
        good = [call.value for call in self.calls if call.label is Label.GOOD]
        return max((value for value in good if value is not None), default=-math.inf)

    def _find_slot(self) -> int:
        slot = len(self.calls)
        if slot == MAX_PRECEDENTS:
            slot, self.oldest = self.oldest, (self.oldest + 1) % MAX_PRECEDENTS
            del self.slots[self.calls[slot].request_id]
            return slot
        if slot == self.columns:
            self.vectors = np.concatenate([self.vectors, np.zeros_like(self.vectors)], axis=1)
            self.labels = np.concatenate([self.labels, np.zeros_like(self.labels)], axis=1)
            self.logs = np.concatenate([self.logs, np.zeros_like(self.logs)], axis=1)
        self.calls.append(_NONE)
        return slot

    def _list_nearest(self, similarities: "NDArray[Any]", limit: int) -> list[Precedent]:
        count = len(similarities)
        nearest = np.arange(count)
        if count > limit:
            nearest = similarities.argpartition(count - limit)[count - limit :]
        order = nearest[(-similarities[nearest]).argsort(kind="stable")].tolist()
        return [
            self.calls[slot]._replace(similarity=round(float(similarities[slot]), 4))
            for slot in order
            if similarities[slot] > 0
        ]


def _make_columns(rows: int, dtype: str) -> "NDArray[Any]":
    return np.zeros((rows, _FIRST_COLUMNS), dtype)


_NONE = Precedent("", 0.0, Label.NOTHING, 0.0, None, "")


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
