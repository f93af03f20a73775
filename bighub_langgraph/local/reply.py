"""The reply to an evaluation in BIGHUB's words: advice, older fields, newer flags."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from bighub_langgraph.local.scoring.action import Action, describe
from bighub_langgraph.local.scoring.evidence import Label
from bighub_langgraph.local.scoring.model import Assessment
from bighub_langgraph.local.scoring.policy import Advice
from bighub_langgraph.local.scoring.precedents import Precedent
from bighub_langgraph.local.settings import DomainSettings
from bighub_langgraph.local.times import iso
from bighub_langgraph.local.words import Confidence, Health, Mode, Recommendation

CONTRACT = "2026-05-13"
_ALIKE = 0.5
_SOME = 0.5

_RESULTS = {
    Recommendation.PROCEED: "allowed",
    Recommendation.CAUTION: "allowed",
    Recommendation.REVIEW: "requires_approval",
    Recommendation.STOP: "blocked",
}
_MODES = {
    Recommendation.PROCEED: "autonomous",
    Recommendation.CAUTION: "constrained",
    Recommendation.REVIEW: "review",
    Recommendation.STOP: "blocked",
}
_SCORES = {Confidence.HIGH: 0.9, Confidence.MEDIUM: 0.6, Confidence.LOW: 0.3}


class Judgement(NamedTuple):
    """Everything a reply tells about an action."""

    action: Action
    at: float
    seen: Assessment
    advice: Advice
    health: Health | None
    settings: DomainSettings
    blocked_by: str | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What deserves a second look."""
        drift = "outcomes have become worse lately"
        return (*self.seen.novelties, drift) if self.seen.drifting else self.seen.novelties


def reply(
    judgement: Judgement, *, request_id: str, context: Mapping[str, Any], dry_run: bool
) -> dict[str, Any]:
    """Write a judgement as BIGHUB's answer to `POST /actions/evaluate`."""
    told = _Told(
        describe(judgement.action),
        list(judgement.warnings),
        rationale(judgement),
        _alternatives(judgement),
        [_precedent(each) for each in judgement.seen.precedents],
        round(judgement.seen.risk, 6),
        _regret(judgement),
    )
    return {
        **_advice(judgement, told),
        **_older(judgement, told),
        **_newer(judgement, told),
        "request_id": request_id,
        "validation_id": request_id,
        "dry_run": dry_run,
        "warnings": told.warnings,
        "usage": {},
        "learning_influenced": judgement.seen.evidence > 0,
        "intelligence": _intelligence(judgement, context),
        "decision_packet": _packet(judgement, told, context),
    }


def rationale(judgement: Judgement) -> str:
    """The reason in one sentence with its numbers."""
    seen, reason = judgement.seen, judgement.advice.reason
    if seen.evidence < _SOME:
        return f"risk {seen.risk:.2f}: {reason}; nothing like it is known."
    name = judgement.action.name
    counted = f"{seen.bad:.0f} of {seen.evidence:.0f} known outcomes of {name} went wrong"
    like = [each for each in seen.precedents if each.similarity >= _ALIKE]
    wrong = sum(each.label.bad for each in like)
    nearest = f", {wrong} of the {len(like)} most alike" if like else ""
    return f"risk {seen.risk:.2f}: {reason}; {counted}{nearest}."


class _Told(NamedTuple):
    proposed: str
    warnings: list[str]
    rationale: str
    alternatives: list[dict[str, Any]]
    precedents: list[dict[str, Any]]
    risk: float
    regret: float


def _advice(judgement: Judgement, told: _Told) -> dict[str, Any]:
    advice, seen, settings = judgement.advice, judgement.seen, judgement.settings
    enforced = settings.enforcement_mode is Mode.ENFORCED
    return {
        "recommendation": advice.recommendation.value,
        "recommendation_confidence": advice.confidence.value,
        "risk_score": told.risk,
        "enforcement_mode": settings.enforcement_mode.value,
        "enforced_verdict": _RESULTS[advice.recommendation] if enforced else None,
        "decision_intelligence": {
            "rationale": told.rationale,
            "evidence_status": _evidence_status(seen.evidence),
            "trajectory_health": judgement.health and judgement.health.value,
            "projected_regret": told.regret,
            "alternatives": told.alternatives,
            "rule_basis": judgement.blocked_by,
            "precedents": told.precedents,
            "evidence_count": round(seen.evidence, 2),
            "drift": seen.drifting,
            "model_parts": {name: round(part, 6) for name, part in seen.parts.items()},
        },
    }


def _older(judgement: Judgement, told: _Told) -> dict[str, Any]:
    result = _RESULTS[judgement.advice.recommendation]
    review = result == "requires_approval"
    return {
        "allowed": result == "allowed",
        "result": result,
        "reason": told.rationale,
        "blocked_by": judgement.blocked_by,
        "requires_approval": review,
        "human_review": review,
        "mode": {"allowed": "FULL", "blocked": "DENIED"}.get(result, "CONDITIONAL"),
        "gate_version": "embedded-1",
    }


def _newer(judgement: Judgement, told: _Told) -> dict[str, Any]:
    mode = _MODES[judgement.advice.recommendation]
    return {
        "better_decision_contract_version": CONTRACT,
        "proposed_action": told.proposed,
        "better_action": told.alternatives[0]["action"] if told.alternatives else None,
        "execution_mode": mode,
        "risk": told.risk,
        "confidence": _SCORES[judgement.advice.confidence],
        "expected_regret": told.regret,
        "can_run": mode in ("autonomous", "constrained"),
        "needs_review": mode == "review",
        "needs_more_context": False,
        "should_not_run": mode == "blocked",
        "decision_brain": _brain(judgement, told, mode),
        "model_selection": {"review_required": mode == "review"},
    }


def _intelligence(judgement: Judgement, context: Mapping[str, Any]) -> dict[str, Any]:
    seen, advice, found = judgement.seen, judgement.advice, judgement.seen.precedents
    bad = [each for each in found if each.label.bad]
    rate = len(bad) / len(found) if found else 0.0
    return {
        "confidence": {
            "score": _SCORES[advice.confidence],
            "level": advice.confidence.value,
            "novel_situation": bool(seen.novelties),
            "reason": next(iter(seen.novelties), advice.reason),
        },
        "precedents": {
            "total_precedents": len(found),
            "with_outcomes": sum(each.label.outcome for each in found),
            "success_rate": round(1 - rate, 4) if found else 0.0,
            "negative_rate": round(rate, 4),
            "warnings": [each.summary for each in bad if each.similarity > _ALIKE],
        },
        "trajectory_id": context.get("trajectory_id") or context.get("session_id"),
    }


def _packet(judgement: Judgement, told: _Told, context: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "version": 1,
        "signal": {
            "recommendation": judgement.advice.recommendation.value,
            "risk_score": told.risk,
            "confidence_zone": "novel" if judgement.seen.novelties else "known",
        },
        "intent": context.get("objective"),
        "action_type": judgement.action.name,
        "candidate_actions": [told.proposed, *(each["action"] for each in told.alternatives)],
        "risk_factors": told.warnings,
    }


def _brain(judgement: Judgement, told: _Told, mode: str) -> dict[str, Any]:
    return {
        "recommendation": judgement.advice.recommendation.value,
        "reasoning_summary": told.rationale,
        "confidence": _SCORES[judgement.advice.confidence],
        "expected_regret": told.regret,
        "precedent_count": len(told.precedents),
        "review_reason": judgement.advice.reason if mode == "review" else None,
        "recommended_execution_mode": mode,
    }


def _alternatives(judgement: Judgement) -> list[dict[str, Any]]:
    """What has done better: a smaller value, or another target."""
    seen, action = judgement.seen, judgement.action
    if judgement.advice.recommendation is Recommendation.PROCEED:
        return []
    found = []
    if seen.smaller_value is not None:
        found.append(
            {
                "action": f"{action.name} of at most {seen.smaller_value:g}",
                "rationale": "smaller values have done clearly better",
                "estimated_risk": round(seen.risk / 2, 4),
            }
        )
    better = next((each for each in seen.precedents if _did_well_elsewhere(each, action)), None)
    if better is not None:
        found.append(
            {
                "action": better.summary,
                "rationale": f"{better.request_id} was like it and went well with another target",
                "estimated_risk": round(min(seen.risk, 1 - better.similarity), 4),
            }
        )
    return found


def _did_well_elsewhere(precedent: Precedent, action: Action) -> bool:
    return precedent.label is Label.GOOD and precedent.target not in (None, action.target)


def _precedent(precedent: Precedent) -> dict[str, Any]:
    return {
        "request_id": precedent.request_id,
        "similarity": precedent.similarity,
        "outcome": precedent.label.name,
        "at": iso(precedent.at),
        "summary": precedent.summary,
    }


def _regret(judgement: Judgement) -> float:
    """What running it is expected to cost, on the scale of the domain's worst case."""
    settings = judgement.settings
    worst = max(settings.bad_cost, settings.review_cost)
    return round(judgement.seen.risk * settings.bad_cost / worst, 6)


def _evidence_status(evidence: float) -> str:
    for least, status in ((100, "strong"), (20, "moderate"), (0.5, "sparse")):
        if evidence >= least:
            return status
    return "none"
