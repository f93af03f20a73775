"""From what the model expects to what the engine recommends."""

import math
from typing import NamedTuple

from bighub_langgraph.local.scoring.bounds import lower_bound, upper_bound
from bighub_langgraph.local.scoring.model import Assessment
from bighub_langgraph.local.settings import DomainSettings
from bighub_langgraph.local.words import Confidence, Health, Recommendation

_SEVERITY = list(Recommendation)
_SURE = 0.8  # the assurance of the interval that confidence is read from
_CERTAINTY, _MOSTLY = 0.95, 0.5  # a stop needs counts that leave no lower rate likely
_WIDE, _NARROW = 0.4, 0.15
_PLENTY = -2 * math.log(1 - _SURE) / _NARROW**2  # that many leave it narrow (Pinsker)
_NEAR_THE_LIMIT = 0.75


class Advice(NamedTuple):
    """A recommendation, how sure it is, and the reason in a sentence's half."""

    recommendation: Recommendation
    confidence: Confidence
    reason: str

    def at_least(self, recommendation: Recommendation, reason: str) -> "Advice":
        """The stricter of this advice and another."""
        if _SEVERITY.index(recommendation) <= _SEVERITY.index(self.recommendation):
            return self
        return Advice(recommendation, self.confidence, reason)


def advise(seen: Assessment, health: Health | None, settings: DomainSettings) -> Advice:
    """Recommend what the evidence allows: ask until there is some, run what keeps the promise."""
    advice = _by_risk(seen, settings)
    if health is Health.POOR:
        return advice.at_least(Recommendation.REVIEW, "its session goes badly")
    if health is Health.STRAINED:
        return advice.at_least(Recommendation.CAUTION, "its session has had trouble")
    return advice


def _by_risk(seen: Assessment, settings: DomainSettings) -> Advice:
    sure = confidence_of(seen)
    if seen.risk >= settings.block_above and _certainly_bad(seen):
        return _stopped(seen, sure, settings)
    if (reason := _reason_to_ask(seen, settings)) is not None:
        return Advice(Recommendation.REVIEW, sure, reason)
    if seen.risk > _NEAR_THE_LIMIT * min(seen.cutoff, settings.affordable_risk):
        return Advice(Recommendation.CAUTION, sure, "it lies close to the limit")
    return Advice(Recommendation.PROCEED, sure, "calls like it have gone well")


def _stopped(seen: Assessment, sure: Confidence, settings: DomainSettings) -> Advice:
    # A stopped call has no outcome: without a second look, a stop could never be unlearned.
    if seen.age > settings.look_again_after:
        return Advice(Recommendation.REVIEW, sure, "it went badly, but that was some time ago")
    return Advice(Recommendation.STOP, sure, f"a risk of {seen.risk:.2f} is too high")


def _reason_to_ask(seen: Assessment, settings: DomainSettings) -> str | None:
    if seen.novelties:
        return seen.novelties[0]
    if seen.risk > settings.affordable_risk:
        return f"at a risk of {seen.risk:.2f} asking is cheaper than running"
    if seen.risk > seen.cutoff:
        return f"the evidence does not yet bound bad outcomes at {settings.max_bad_rate or 1:.0%}"
    return None


def _certainly_bad(seen: Assessment) -> bool:
    return lower_bound(seen.bad, seen.evidence, _CERTAINTY) > _MOSTLY


def confidence_of(seen: Assessment) -> Confidence:
    """How sure the counts are: by the width of the interval around the bad rate."""
    if seen.novelties:
        return Confidence.LOW
    width = 0.0
    if seen.evidence < _PLENTY:
        upper = upper_bound(seen.bad, seen.evidence, _SURE)
        width = upper - lower_bound(seen.bad, seen.evidence, _SURE)
    if width > _WIDE:
        return Confidence.LOW
    return Confidence.MEDIUM if width > _NARROW or seen.drifting else Confidence.HIGH
