"""The reply to an evaluation in BIGHUB's words: advice, older fields, newer flags.

A reply says many things more than once. What is `Told` has each of them once; that is stored, and
the reply is written from it when it is given and whenever it is asked for again.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from bighub_langgraph.local.checking import written
from bighub_langgraph.local.scoring.action import describe_call
from bighub_langgraph.local.scoring.evidence import Label
from bighub_langgraph.local.scoring.precedents import Precedent
from bighub_langgraph.local.times import iso
from bighub_langgraph.local.words import Confidence, Mode, Recommendation

CONTRACT = "2026-05-13"
_ALIKE = 0.5
_SOME = 0.5

_RESULTS: Mapping[str, str] = {
    Recommendation.PROCEED: "allowed",
    Recommendation.CAUTION: "allowed",
    Recommendation.REVIEW: "requires_approval",
    Recommendation.STOP: "blocked",
}
_MODES: Mapping[str, str] = {
    Recommendation.PROCEED: "autonomous",
    Recommendation.CAUTION: "constrained",
    Recommendation.REVIEW: "review",
    Recommendation.STOP: "blocked",
}
_OLDER_MODES = {"allowed": "FULL", "requires_approval": "CONDITIONAL", "blocked": "DENIED"}
_SCORES: Mapping[str, float] = {Confidence.HIGH: 0.9, Confidence.MEDIUM: 0.6, Confidence.LOW: 0.3}
_OUTCOMES: Mapping[int, str] = {label: label.name for label in Label}
_WENT_WELL = Label.GOOD
_HAPPENED = frozenset(label for label in Label if label.outcome)
_BAD = frozenset(label for label in Label if label.bad)


class Told(NamedTuple):
    """Everything that a reply says. The first fields are columns of the decision."""

    request_id: str
    action: str
    target: str | None
    value: float | None
    risk: float
    recommendation: str
    parts: Mapping[str, float]
    confidence: str
    reason: str
    health: str | None
    blocked_by: str | None
    mode: str
    regret: float
    evidence: float
    bad: float
    precedents: list[Precedent]
    novelties: tuple[str, ...]
    drifting: bool
    smaller_value: float | None
    objective: Any
    trajectory_id: Any

    def to_text(self) -> str:
        """What has no column of its own, as it is stored."""
        # Plain tuples are written in a quarter of the time that named ones take.
        found = [
            (request_id, near, int(label), at, target, summary)
            for request_id, near, label, at, target, summary in self.precedents
        ]
        return written((*self[_COLUMNS:_FOUND], found, *self[_FOUND + 1 :]))

    @classmethod
    def stored(cls, row: Any) -> Self:
        """What a row of the store told."""
        columns = [row.request_id, row.action, row.target, row.value, row.risk, row.recommendation]
        told = cls._make([*columns, json.loads(row.parts), *json.loads(row.reply)])
        return told._replace(
            precedents=[Precedent(*each) for each in told.precedents],
            novelties=tuple(told.novelties),
        )


_COLUMNS = Told._fields.index("confidence")
_FOUND = Told._fields.index("precedents")


def stored_reply(row: Any) -> dict[str, Any]:
    """The reply of a decision in the store."""
    if row.reply.startswith("{"):  # stored whole, as earlier versions did
        whole: dict[str, Any] = json.loads(row.reply)
        return whole
    return reply(Told.stored(row))


def reply(told: Told, *, dry_run: bool = False) -> dict[str, Any]:
    """Write what is told as BIGHUB's answer to `POST /actions/evaluate`."""
    said, proposed = rationale(told), describe_call(told.action, told.value, told.target)
    word, score, risk = told.recommendation, _SCORES[told.confidence], round(told.risk, 6)
    result, mode = _RESULTS[word], _MODES[word]
    drift = ("outcomes have become worse lately",) if told.drifting else ()
    alternatives, review = _alternatives(told), mode == "review"
    warnings = [*told.novelties, *drift]
    return {
        "recommendation": word,
        "recommendation_confidence": told.confidence,
        "risk_score": risk,
        "enforcement_mode": told.mode,
        "enforced_verdict": result if told.mode == _ENFORCED else None,
        "decision_intelligence": {
            "rationale": said,
            "evidence_status": _evidence_status(told.evidence),
            "trajectory_health": told.health,
            "projected_regret": told.regret,
            "alternatives": alternatives,
            "rule_basis": told.blocked_by,
            "precedents": _shown(told.precedents),
            "evidence_count": round(told.evidence, 2),
            "drift": told.drifting,
            "model_parts": {name: round(part, 6) for name, part in told.parts.items()},
        },
        "allowed": result == "allowed",
        "result": result,
        "reason": said,
        "blocked_by": told.blocked_by,
        "requires_approval": review,
        "human_review": review,
        "mode": _OLDER_MODES[result],
        "gate_version": "embedded-1",
        "better_decision_contract_version": CONTRACT,
        "proposed_action": proposed,
        "better_action": alternatives[0]["action"] if alternatives else None,
        "execution_mode": mode,
        "risk": risk,
        "confidence": score,
        "expected_regret": told.regret,
        "can_run": result == "allowed",
        "needs_review": review,
        "needs_more_context": False,
        "should_not_run": mode == "blocked",
        "decision_brain": {
            "recommendation": word,
            "reasoning_summary": said,
            "confidence": score,
            "expected_regret": told.regret,
            "precedent_count": len(told.precedents),
            "review_reason": told.reason if review else None,
            "recommended_execution_mode": mode,
        },
        "model_selection": {"review_required": review},
        "request_id": told.request_id,
        "validation_id": told.request_id,
        "dry_run": dry_run,
        "warnings": warnings,
        "usage": {},
        "learning_influenced": told.evidence > 0,
        "intelligence": {
            "confidence": {
                "score": score,
                "level": told.confidence,
                "novel_situation": bool(told.novelties),
                "reason": told.novelties[0] if told.novelties else told.reason,
            },
            "precedents": _counted(told.precedents),
            "trajectory_id": told.trajectory_id,
        },
        "decision_packet": {
            "version": 1,
            "signal": {
                "recommendation": word,
                "risk_score": risk,
                "confidence_zone": "novel" if told.novelties else "known",
            },
            "intent": told.objective,
            "action_type": told.action,
            "candidate_actions": [proposed, *[each["action"] for each in alternatives]],
            "risk_factors": warnings,
        },
    }


_ENFORCED, _PROCEED = Mode.ENFORCED.value, Recommendation.PROCEED.value


def rationale(told: Told) -> str:
    """The reason in one sentence with its numbers."""
    if told.evidence < _SOME:
        return f"risk {told.risk:.2f}: {told.reason}; nothing like it is known."
    counted = f"{told.bad:.0f} of {told.evidence:.0f} known outcomes of {told.action} went wrong"
    like = [each.label for each in told.precedents if each.similarity >= _ALIKE]
    wrong = len([label for label in like if label in _BAD])
    nearest = f", {wrong} of the {len(like)} most alike" if like else ""
    return f"risk {told.risk:.2f}: {told.reason}; {counted}{nearest}."


def _counted(found: list[Precedent]) -> dict[str, Any]:
    bad = [each for each in found if each.label in _BAD]
    rate = len(bad) / len(found) if found else 0.0
    return {
        "total_precedents": len(found),
        "with_outcomes": len([each for each in found if each.label in _HAPPENED]),
        "success_rate": round(1 - rate, 4) if found else 0.0,
        "negative_rate": round(rate, 4),
        "warnings": [each.summary for each in bad if each.similarity > _ALIKE],
    }


def _alternatives(told: Told) -> list[dict[str, Any]]:
    """What has done better: a smaller value, or another target."""
    if told.recommendation == _PROCEED:
        return []
    found = []
    if told.smaller_value is not None:
        found.append(
            {
                "action": f"{told.action} of at most {told.smaller_value:g}",
                "rationale": "smaller values have done clearly better",
                "estimated_risk": round(told.risk / 2, 4),
            }
        )
    for each in told.precedents:
        if each.label == _WENT_WELL and each.target not in (None, told.target):
            better = f"{each.request_id} was like it and went well with another target"
            risk = round(min(told.risk, 1 - each.similarity), 4)
            found.append({"action": each.summary, "rationale": better, "estimated_risk": risk})
            break
    return found


def _shown(found: list[Precedent]) -> list[dict[str, Any]]:
    return [
        {
            "request_id": request_id,
            "similarity": similarity,
            "outcome": _OUTCOMES[label],
            "at": iso(at),
            "summary": summary,
        }
        for request_id, similarity, label, at, _target, summary in found
    ]


def _evidence_status(evidence: float) -> str:
    for least, status in ((100, "strong"), (20, "moderate"), (0.5, "sparse")):
        if evidence >= least:
            return status
    return "none"
