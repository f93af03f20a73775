"""The resources of the API as the OpenAPI document describes them.

A model names the fields that callers can rely on; a response may have more.
"""

from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from bighub_langgraph.local.schemas.wire_format import Fraction

JsonResponse: TypeAlias = dict[str, Any]
RecommendationWord = Literal[
    "proceed", "proceed_with_caution", "review_recommended", "do_not_proceed"
]
Verdict = Literal["allowed", "requires_approval", "blocked"]


class Resource(BaseModel):
    """A JSON object with the fields of its subclass, and others."""

    model_config = ConfigDict(extra="allow")


class FieldProblem(Resource):
    """What is wrong with one field of a request."""

    loc: list[str | int]
    msg: str
    type: str


class ErrorResponse(Resource):
    """Why a request was refused."""

    detail: str | list[FieldProblem]


class EvaluationResponse(Resource):
    """The engine's recommendation about one action."""

    request_id: str
    validation_id: str
    recommendation: RecommendationWord
    recommendation_confidence: Literal["high", "medium", "low"]
    risk_score: Fraction
    enforcement_mode: Literal["advisory", "review", "enforced"]
    enforced_verdict: Verdict | None
    result: Verdict
    allowed: bool
    requires_approval: bool
    reason: str
    blocked_by: str | None
    dry_run: bool
    warnings: list[str]
    decision_intelligence: JsonResponse


class OutcomeResponse(Resource):
    """One outcome of a decision."""

    request_id: str
    case_id: str
    status: str
    category: Literal["positive", "neutral", "negative"]
    severity: Fraction
    reported_at: str | None
    decision_context: JsonResponse
    calibration: JsonResponse


class ApprovalResponse(Resource):
    """An approval that is pending, or a person's answer to it."""

    request_id: str
    action: str
    status: str
    resolution: Literal["approved", "denied"] | None
    comment: str | None
    risk_score: Fraction
    recommendation: RecommendationWord
    reason: str
    created_at: str
    resolved_at: str | None


class CaseResponse(Resource):
    """A decision as a case."""

    case_id: str
    request_id: str
    domain: str
    action: JsonResponse
    verdict: JsonResponse
    outcome_status: str | None
    has_outcome: bool
    created_at: str


class KillSwitchResponse(Resource):
    """One kill switch."""

    switch_id: str
    active: bool
    domain: str | None
    reason: str
    activated_at: str
    deactivated_at: str | None


class ConstraintResponse(Resource):
    """A constraint in its current version."""

    rule_id: str
    name: str
    domain: str
    status: Literal["active", "paused"]
    version: int
    created_at: str
    updated_at: str
