"""Precedents: the labelled calls that are most similar to an action, found by its vector."""

import math
from collections.abc import Sequence
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
from bighub_langgraph.local.scoring.rate_changes import MAX_OUTCOMES
from bighub_langgraph.local.settings import DomainSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DIMENSIONS = 128
MAX_PRECEDENTS = MAX_OUTCOMES  # of an action
_FIRST_COLUMNS = 16
_SQUARINGS = 4  # the weight of a precedent is its similarity to the power of 3 * 2**4
# How many precedents the regression may weigh as much as, and how much more where calls name no
# subject: then those that are most alike tell less.
_STRENGTHS = (0.1, 1.0, 10.0, 100.0)
_UNNAMED_WEIGHT = 6.0
_SAMPLE_EVERY = 4  # every such call tells how well the strengths fit; more would tell little more
_MIN_RISK = 1e-4


class ActionVector(NamedTuple):
    """A sparse vector of length one: the dimensions in which an action has a value."""

    indices: "NDArray[np.intp]"
    values: "NDArray[np.float32]"


class Precedent(NamedTuple):
    """An earlier call, its similarity to an action, and what became of it."""

    request_id: str
    similarity: float
    label: Label
    at: float
    target: str | None
    summary: str
    value: float | None = None

    def with_similarity(self, similarity: float) -> "Precedent":
        """Return the call with another similarity."""
        return Precedent(self.request_id, similarity, *self[2:])


class Comparison(NamedTuple):
    """What an action's earlier calls add up to, each weighted by its likeness to a call.

    Attributes:
        bad: The weight of those with a bad outcome.
        total: The weight of those with an outcome.
        denials: The weight of those a person refused, which fades.
        nearest: The most similar ones, the most similar first.
        agreement: For each strength, how well it fits the action's outcomes, as a log likelihood.
    """

    bad: float
    total: float
    denials: float
    nearest: list[Precedent]
    agreement: Sequence[float] = (0.0,) * len(_STRENGTHS)

    def estimate_risk(self, regression: float, *, is_named: bool, denials: float = 0.0) -> float:
        """The mean bad rate of calls like this one, given their outcomes and the regression.

        The rate has a Beta distribution about the regression's probability, whose width is one of
        the strengths. How likely the outcomes of similar calls are, here and elsewhere in the
        action, tells which. Such a mean rises with each bad outcome and falls with each good one.
        Denials count as bad outcomes here, but do not tell the width.
        """
        fits, risks = self.fit_strengths(regression, is_named=is_named, denials=denials)
        logs = [fit + agreement for fit, agreement in zip(fits, self.agreement, strict=True)]
        highest = max(logs)
        weights = [math.exp(log - highest) for log in logs]
        terms = [weight * risk for weight, risk in zip(weights, risks, strict=True)]
        return sum(terms) / sum(weights)

    def fit_strengths(
        self, regression: float, *, is_named: bool, denials: float = 0.0
    ) -> tuple[list[float], list[float]]:
        """For each strength, the log likelihood of the outcomes, and the risk that follows."""
        bad, good = self.bad, self.total - self.bad
        chance = min(1 - _MIN_RISK, max(_MIN_RISK, regression))
        fits, risks = [], []
        for named_strength in _STRENGTHS:
            strength = named_strength if is_named else named_strength * _UNNAMED_WEIGHT
            a, b = strength * chance, strength - strength * chance
            fits.append(_log_beta(a + bad, b + good) - _log_beta(a, b))
            risks.append((a + bad + denials) / (strength + bad + denials + good))
        return fits, risks


@dataclass(slots=True)
class Precedents:
    """The latest labelled calls of an action; when it is full, the newest replaces the oldest."""

    calls: list[Precedent] = field(default_factory=list)
    slots: dict[str, int] = field(default_factory=dict)
    oldest: int = 0
    complete_after: float = -math.inf  # when the latest call was decided that has been dropped
    # One column for each call: a search reads only the rows of the vector's dimensions.
    vectors: "NDArray[np.float32]" = field(default_factory=lambda: _make_columns(_DIMENSIONS, "f4"))
    # For each call: whether it went bad, has an outcome, was denied; the times of the label and of
    # the decision.
    labels: "NDArray[np.float64]" = field(default_factory=lambda: _make_columns(5, "f8"))
    # For each call that is sampled, how well each strength fits it; and their sum.
    fits: "NDArray[np.float64]" = field(
        default_factory=lambda: _make_columns(len(_STRENGTHS), "f8")
    )
    agreement: list[float] = field(default_factory=lambda: [0.0] * len(_STRENGTHS))
    # Whether each sampled call names a subject; the one that was compared longest ago comes first.
    samples: dict[str, bool] = field(default_factory=dict)

    @property
    def columns(self) -> int:
        """How many calls there is memory for."""
        return int(self.vectors.shape[1])

    def add(self, evidence: Evidence, vector: ActionVector) -> None:
        """Add a labelled call; a later label of the same call replaces the earlier one."""
        action, label, request_id = evidence.action, evidence.label, evidence.request_id
        if (slot := self.slots.get(request_id)) is None:
            if label is Label.NOTHING:
                return
            slot = self._find_slot()
            self.slots[request_id] = slot
            indices, values = vector
            self.vectors[:, slot] = self.fits[:, slot] = 0.0
            self.vectors[indices, slot] = values
            summary = describe_call(action.name, action.value, action.target)
            about = evidence.decided_at, action.target, summary, action.value
            self.calls[slot] = Precedent(request_id, 1.0, label, *about)
        self.calls[slot] = self.calls[slot]._replace(label=label)
        times = evidence.at, evidence.decided_at
        self.labels[:, slot] = label.bad, label.outcome, label is Label.DENIED, *times

    def compare(
        self,
        vector: ActionVector,
        at: float,
        settings: DomainSettings,
        limit: int,
        *,
        since: float = -math.inf,
    ) -> Comparison:
        """Compare the calls with a call of the same action; earlier outcomes do not count."""
        count = len(self.calls)
        if not count:
            return Comparison(0.0, 0.0, 0.0, [])
        indices, values = vector
        similarities = values.dot(self.vectors.take(indices, axis=0))[:count].clip(0.0, 1.0)
        bad, outcome, is_denial, times, decided_at = self.labels[:, :count]
        minus_ages = np.minimum(times - at, 0.0)
        weights = similarities * similarities * similarities
        for _ in range(_SQUARINGS):
            weights *= weights
        denials, has_label = 0.0, outcome
        if np.count_nonzero(is_denial):
            has_label = outcome + is_denial
            denials = float(
                weights.dot(is_denial * np.exp2(minus_ages / settings.reevaluate_after))
            )
        weights = weights * np.exp2(minus_ages / settings.half_life)
        if since > -math.inf:
            weights *= decided_at >= since
        nearest = limit and self._list_nearest(similarities * has_label, limit)
        sums = float(weights.dot(bad)), float(weights.dot(outcome)), denials
        return Comparison(*sums, nearest or [], self.agreement)

    def is_sampled(self, request_id: str) -> bool:
        """Whether a call tells how well the strengths fit."""
        return self.slots.get(request_id, 1) % _SAMPLE_EVERY == 0

    def update_agreement(
        self, request_id: str, near: Comparison, regression: float, *, is_named: bool
    ) -> Comparison:
        """Include how well each strength fits a comparison with a call, in place of its last one.

        Return the comparison with the new agreement.

        Both the outcomes and the regression are those of this moment. What was expected before a
        label was known says little: labels that come late or are corrected would mislead it.
        """
        slot = self.slots[request_id]
        self.samples.pop(request_id, None)
        self.samples[request_id] = is_named
        self.fits[:, slot] = 0.0
        if near.total:
            fits, _ = near.fit_strengths(regression, is_named=is_named)
            # Each outcome is part of as many comparisons as it has weight in one.
            self.fits[:, slot] = np.array(fits) * (_SAMPLE_EVERY / near.total)
        self.agreement = self.fits.sum(axis=1).tolist()
        return near._replace(agreement=self.agreement)

    def get_vector(self, request_id: str) -> ActionVector:
        """Return the vector of a call that is kept."""
        values = self.vectors[:, self.slots[request_id]]
        (indices,) = values.nonzero()
        return ActionVector(indices, values[indices])

    def list_outcomes(self, until: float) -> tuple["NDArray[Any]", "NDArray[Any]"]:
        """Whether the calls decided until a moment went bad, and when they were decided.

        Labels come in another order than decisions: from where some calls have been dropped
        already, none is returned.
        """
        bad, outcome, _, _, decided_at = self.labels[:, : len(self.calls)]
        mask = (outcome > 0) & (decided_at > self.complete_after) & (decided_at <= until)
        return bad[mask], decided_at[mask]

    def find_largest_good_value(self) -> float:
        """The largest value that went well; minus infinity if there is none."""
        good = [call.value for call in self.calls if call.label is Label.GOOD]
        return max((value for value in good if value is not None), default=-math.inf)

    def _find_slot(self) -> int:
        slot = len(self.calls)
        if slot == MAX_PRECEDENTS:
            slot, self.oldest = self.oldest, (self.oldest + 1) % MAX_PRECEDENTS
            request_id = self.calls[slot].request_id
            del self.slots[request_id]
            self.samples.pop(request_id, None)
            self.complete_after = max(self.complete_after, self.calls[slot].at)
            return slot
        if slot == self.columns:
            self.vectors = np.concatenate([self.vectors, np.zeros_like(self.vectors)], axis=1)
            self.labels = np.concatenate([self.labels, np.zeros_like(self.labels)], axis=1)
            self.fits = np.concatenate([self.fits, np.zeros_like(self.fits)], axis=1)
        self.calls.append(_NONE)
        return slot

    def _list_nearest(self, similarities: "NDArray[Any]", limit: int) -> list[Precedent]:
        count = len(similarities)
        if count > limit:
            nearest = similarities.argpartition(count - limit)[count - limit :]
            nearest = nearest[(-similarities[nearest]).argsort(kind="stable")]
        else:
            nearest = (-similarities).argsort(kind="stable")
        return [
            self.calls[slot].with_similarity(round(similarity, 4))
            for slot, similarity in zip(
                nearest.tolist(), similarities[nearest].tolist(), strict=True
            )
            if similarity > 0
        ]


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _make_columns(rows: int, dtype: str) -> "NDArray[Any]":
    return np.zeros((rows, _FIRST_COLUMNS), dtype)


_NONE = Precedent("", 0.0, Label.NOTHING, 0.0, None, "")


def embed_action(action: Action) -> ActionVector:
    """Return the vector of an action.

    Similar actions have a similar direction: each token adds to one dimension, with a sign.
    """
    vector: dict[int, float] = {}
    for token, weight in _tokenize(action):
        code = crc32(token.encode("utf-8", "surrogatepass"))
        index = code % _DIMENSIONS
        vector[index] = vector.get(index, 0.0) + (weight if code & 0x10000 else -weight)
    length = math.sqrt(sum([value * value for value in vector.values()])) or 1.0
    values = np.array([value / length for value in vector.values()], dtype=np.float32)
    return ActionVector(np.array(list(vector), dtype=np.intp), values)


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
