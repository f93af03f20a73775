"""The policy: from the expected risk to the engine's recommendation."""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from bighub_langgraph.core.models import Recommendation
from bighub_langgraph.local.scoring.risk_limit import (
    estimate_interval,
    estimate_outcomes_needed,
)
from bighub_langgraph.local.scoring.risk_model import Assessment
from bighub_langgraph.local.scoring.session import Health
from bighub_langgraph.local.settings import DomainSettings

_SEVERITY = list(Recommendation)
_INTERVAL_SPREADS = 1.28  # of the interval whose width gives the confidence
_WIDE, _NARROW = 0.4, 0.15
_STOP_SPREADS, _STOP_RATE = 2.2, 0.5  # a stop needs counts that exclude a lower bad rate
_CAUTION_SHARE = 0.75  # of the limit
_HOUR = 3_600.0
_UNHEALTHY = {
    Health.POOR: (Recommendation.REVIEW, "its session goes badly"),
    Health.STRAINED: (Recommendation.CAUTION, "its session has had trouble"),
}


class Confidence(StrEnum):
    """How sure the engine is of its recommendation."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Advice(NamedTuple):
    """A recommendation, its confidence, the reason as a clause, and the constraint behind it."""

    recommendation: Recommendation
    confidence: Confidence
    reason: str
    blocked_by: str | None = None

    def at_least(
        self, recommendation: Recommendation, reason: str, blocked_by: str | None = None
    ) -> "Advice":
        """Return the stricter of this advice and another."""
        if _SEVERITY.index(recommendation) <= _SEVERITY.index(self.recommendation):
            return self
        return Advice(recommendation, self.confidence, reason, blocked_by)


def recommend(
    assessment: Assessment, health: Health | None, settings: DomainSettings, at: float
) -> Advice:
    """Return what the evidence and the session's health allow at a moment."""
    recommendation, reason = _recommend_by_risk(assessment, settings, at)
    advice = Advice(recommendation, _rate_confidence(assessment), reason)
    if health in _UNHEALTHY:
        return advice.at_least(*_UNHEALTHY[health])
    return advice


def _recommend_by_risk(
    assessment: Assessment, settings: DomainSettings, at: float
) -> tuple[Recommendation, str]:
    risk = assessment.risk
    if risk >= settings.block_above and (
        estimate_interval(assessment.bad, assessment.total, _STOP_SPREADS)[0] > _STOP_RATE
    ):
        # A stopped call has no outcome: without another review a stop could never be unlearned.
        if assessment.age > settings.reevaluate_after:
            return Recommendation.REVIEW, "it went badly, but that was some time ago"
        return Recommendation.STOP, f"a risk of {risk:.2f} is too high"
    if (reason := next(_find_review_reasons(assessment, settings, at), None)) is not None:
        return Recommendation.REVIEW, reason
    if risk > _CAUTION_SHARE * min(assessment.risk_limit, settings.affordable_risk):
        return Recommendation.CAUTION, "it lies close to the limit"
    return Recommendation.PROCEED, "calls like it have gone well"


def _find_review_reasons(
    assessment: Assessment, settings: DomainSettings, at: float
) -> Iterator[str]:
    risk, limit, max_rate = assessment.risk, assessment.risk_limit, settings.max_bad_rate
    highest_risk, total = min(limit, settings.affordable_risk), assessment.total
    if total < settings.min_evidence or (assessment.novelties and risk > highest_risk):
        yield assessment.novelties[0].reason
    if at < assessment.paused_until:
        hours = (assessment.paused_until - at) / _HOUR
        yield f"too many calls that ran without approval went wrong: paused for {hours:.0f} hours"
    if risk > settings.affordable_risk:
        yield f"at a risk of {risk:.2f} asking is cheaper than running"
    if max_rate is not None and risk > limit:
        minimum = estimate_outcomes_needed(max_rate, settings.confidence_level)
        if total < minimum and not assessment.bad:  # with bad ones it takes more
            history = f"{total} of about {minimum} good outcomes needed"
            yield f"not enough history to run without approval: {history}"
        yield f"a risk of {risk:.2f} is above the limit of {limit:.2f} that past outcomes allow"
    if assessment.concern > highest_risk:
        yield "people have refused calls like it lately"


def _rate_confidence(assessment: Assessment) -> Confidence:
    """Return the confidence in the counts: from the width of the interval of the bad rate."""
    if assessment.novelties:
        return Confidence.LOW
    lowest, highest = estimate_interval(assessment.bad, assessment.total, _INTERVAL_SPREADS)
    if highest - lowest > _WIDE:
        return Confidence.LOW
    if highest - lowest > _NARROW or assessment.drifting:
        return Confidence.MEDIUM
    return Confidence.HIGH
