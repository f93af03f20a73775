"""The response to an evaluation in BIGHUB's format: the recommendation, and older fields.

A response repeats itself. An `EvaluationResult` has each fact once: it is what is stored, and the
response is built from it whenever it is needed.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, NamedTuple, Self

from bighub_langgraph.core.models import Mode, Recommendation
from bighub_langgraph.local.schemas.wire_format import format_timestamp, load_json
from bighub_langgraph.local.scoring.features import Label, describe_call
from bighub_langgraph.local.scoring.precedents import Precedent

CONTRACT_VERSION = "2026-05-13"
_MIN_SIMILARITY = 0.5
_MIN_EVIDENCE = 0.5

# recommendation: verdict, the mode in which the action runs, the older mode of the gate
_VERDICTS: Mapping[str, tuple[str, str, str]] = {
    Recommendation.PROCEED: ("allowed", "autonomous", "FULL"),
    Recommendation.CAUTION: ("allowed", "constrained", "FULL"),
    Recommendation.REVIEW: ("requires_approval", "review", "CONDITIONAL"),
    Recommendation.STOP: ("blocked", "blocked", "DENIED"),
}
_CONFIDENCE_SCORES: Mapping[str, float] = {"high": 0.9, "medium": 0.6, "low": 0.3}
_EVIDENCE_STATUSES = ((100, "strong"), (20, "moderate"), (_MIN_EVIDENCE, "sparse"))


class EvaluationResult(NamedTuple):
    """Everything that a response says. The first fields are columns of the stored decision."""

    request_id: str
    action: str
    target: str | None
    value: float | None
    risk: float
    recommendation: str
    confidence: str
    reason: str
    health: str | None
    parts: Mapping[str, float]
    blocked_by: str | None
    mode: str
    regret: float
    evidence: int
    bad: int
    precedents: list[Precedent]
    novelties: tuple[str, ...]
    is_drifting: bool
    smaller_value: float | None
    objective: Any
    trajectory_id: Any
    denials: int = 0
    novelty_kinds: tuple[str, ...] = ()
    needs_label_delay: bool = False

    def to_stored_fields(self) -> tuple[Any, ...]:
        """Return what has no column of its own, apart from what the caller may change."""
        changes: dict[str, Any] = {
            "objective": deepcopy(self.objective),
            "precedents": [
                (each.request_id, each.similarity, each.label, each.at, each.summary)
                for each in self.precedents
            ],
        }
        return self._replace(**changes)[_FIRST_STORED:]

    @classmethod
    def from_row(cls, row: Any) -> Self:
        """Return the result in a row of the store."""
        columns = (row.request_id, row.action, row.target, row.value, row.risk, row.recommendation)
        result = cls(*columns, *load_json(row.reply))
        precedents: list[Any] = result.precedents
        return result._replace(
            precedents=[
                Precedent(request_id, similarity, Label(label), at, None, summary)
                for request_id, similarity, label, at, summary in precedents
            ],
            novelties=tuple(result.novelties),
            novelty_kinds=tuple(result.novelty_kinds),
        )


_FIRST_STORED = EvaluationResult._fields.index("confidence")


def load_response(row: Any) -> dict[str, Any]:
    """Return the response of a stored decision."""
    return build_response(EvaluationResult.from_row(row))


def build_response(result: EvaluationResult, *, dry_run: bool = False) -> dict[str, Any]:
    """Return the body of the response to `POST /actions/evaluate`."""
    rationale, alternatives = _build_rationale(result), _find_alternatives(result)
    verdict, execution_mode, gate_mode = _VERDICTS[result.recommendation]
    is_allowed, needs_review = verdict == "allowed", execution_mode == "review"
    warnings = _build_warnings(result)
    return {
        "recommendation": result.recommendation,
        "recommendation_confidence": result.confidence,
        "risk_score": _round_risk(result),
        "enforcement_mode": result.mode,
        "enforced_verdict": verdict if result.mode == Mode.ENFORCED else None,
        "decision_intelligence": _build_decision_intelligence(result, rationale, alternatives),
        "allowed": is_allowed,
        "result": verdict,
        "reason": rationale,
        "blocked_by": result.blocked_by,
        "requires_approval": needs_review,
        "human_review": needs_review,
        "mode": gate_mode,
        "gate_version": "embedded-1",
        "better_decision_contract_version": CONTRACT_VERSION,
        "proposed_action": describe_call(result.action, result.value, result.target),
        "better_action": alternatives[0]["action"] if alternatives else None,
        "execution_mode": execution_mode,
        "risk": _round_risk(result),
        "confidence": _CONFIDENCE_SCORES[result.confidence],
        "expected_regret": result.regret,
        "can_run": is_allowed,
        "needs_review": needs_review,
        "needs_more_context": False,
        "should_not_run": execution_mode == "blocked",
        "decision_brain": {
            "recommendation": result.recommendation,
            "reasoning_summary": rationale,
            "confidence": _CONFIDENCE_SCORES[result.confidence],
            "expected_regret": result.regret,
            "precedent_count": len(result.precedents),
            "review_reason": result.reason if needs_review else None,
            "recommended_execution_mode": execution_mode,
        },
        "model_selection": {"review_required": needs_review},
        "request_id": result.request_id,
        "validation_id": result.request_id,
        "dry_run": dry_run,
        "warnings": warnings,
        "usage": {},
        "learning_influenced": result.evidence > 0,
        "intelligence": _build_intelligence(result),
        "decision_packet": _build_decision_packet(result, warnings, alternatives),
    }


def _build_decision_intelligence(
    result: EvaluationResult, rationale: str, alternatives: list[dict[str, Any]]
) -> dict[str, Any]:
    statuses = (name for least, name in _EVIDENCE_STATUSES if result.evidence >= least)
    return {
        "rationale": rationale,
        "evidence_status": next(statuses, "none"),
        "trajectory_health": result.health,
        "projected_regret": result.regret,
        "alternatives": alternatives,
        "rule_basis": result.blocked_by,
        "precedents": [show_precedent(precedent) for precedent in result.precedents],
        "evidence_count": result.evidence,
        "drift": result.is_drifting,
        "model_parts": {name: round(part, 6) for name, part in result.parts.items()},
    }


def _build_intelligence(result: EvaluationResult) -> dict[str, Any]:
    novelty = result.novelties[0] if result.novelties else None
    return {
        "confidence": {
            "score": _CONFIDENCE_SCORES[result.confidence],
            "level": result.confidence,
            "novel_situation": novelty is not None,
            "reason": novelty or result.reason,
        },
        "precedents": count_precedents(result.precedents),
        "trajectory_id": result.trajectory_id,
    }


def _build_decision_packet(
    result: EvaluationResult, warnings: list[str], alternatives: list[dict[str, Any]]
) -> dict[str, Any]:
    proposal = describe_call(result.action, result.value, result.target)
    return {
        "version": 1,
        "signal": {
            "recommendation": result.recommendation,
            "risk_score": _round_risk(result),
            "confidence_zone": "novel" if result.novelties else "known",
        },
        "intent": result.objective,
        "action_type": result.action,
        "candidate_actions": [proposal, *[option["action"] for option in alternatives]],
        "risk_factors": warnings,
    }


def _build_warnings(result: EvaluationResult) -> list[str]:
    warnings = [*result.novelties]
    if result.is_drifting:
        warnings.append("outcomes have become worse lately")
    if result.needs_label_delay:
        warnings.append("label_delay is not set: losses that are reported late are not foreseen")
    return warnings


def _round_risk(result: EvaluationResult) -> float:
    return round(result.risk, 6)


def show_precedent(precedent: Precedent) -> dict[str, Any]:
    """Return the JSON of a similar call."""
    return {
        "request_id": precedent.request_id,
        "similarity": precedent.similarity,
        "outcome": precedent.label.name,
        "at": format_timestamp(precedent.at),
        "summary": precedent.summary,
    }


def count_precedents(precedents: list[Precedent]) -> dict[str, Any]:
    """Return how many precedents there are, and how they ended."""
    bad = [precedent for precedent in precedents if precedent.label.bad]
    total = len(precedents)
    return {
        "total_precedents": total,
        "with_outcomes": sum(precedent.label.outcome for precedent in precedents),
        "success_rate": round(1 - len(bad) / total, 4) if total else 0.0,
        "negative_rate": round(len(bad) / total, 4) if total else 0.0,
        "warnings": [each.summary for each in bad if each.similarity > _MIN_SIMILARITY],
    }


def _build_rationale(result: EvaluationResult) -> str:
    """Return the reason in one sentence, with its numbers."""
    counts = "no outcome like it is known"
    if result.evidence:
        counts = f"{result.bad} of {result.evidence} known outcomes of {result.action} went wrong"
        labels = [
            each.label
            for each in result.precedents
            if each.similarity >= _MIN_SIMILARITY and each.label.outcome
        ]
        if labels:
            counts += f", {sum(label.bad for label in labels)} of the {len(labels)} most alike"
    if result.denials:
        counts += f"; {result.denials} denials"
    return f"risk {result.risk:.2f}: {result.reason}; {counts}."


def _find_alternatives(result: EvaluationResult) -> list[dict[str, Any]]:
    """Return what has gone better: a smaller value. Another target is another person's affair."""
    if result.recommendation == Recommendation.PROCEED or result.smaller_value is None:
        return []
    return [
        {
            "action": f"{result.action} of at most {result.smaller_value:g}",
            "rationale": "smaller values have done clearly better",
            "estimated_risk": round(result.risk / 2, 4),
        }
    ]
