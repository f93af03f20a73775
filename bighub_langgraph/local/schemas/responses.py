"""The resources of the API: what the OpenAPI document describes, and how rows become JSON.

A model names the fields that callers can rely on; a response may have more.
"""

import json
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, Field
from sqlalchemy import Row

from bighub_langgraph.local.repository import DecisionRow
from bighub_langgraph.local.schemas.wire_format import Fraction, format_timestamp

JsonResponse: TypeAlias = dict[str, Any]
RecommendationWord = Literal[
    "proceed", "proceed_with_caution", "review_recommended", "do_not_proceed"
]
Verdict = Literal["allowed", "requires_approval", "blocked"]
Time = Annotated[str, BeforeValidator(format_timestamp)]  # ISO 8601, from a Unix time
OptionalTime = Annotated[str | None, BeforeValidator(format_timestamp)]


def _parse_json(text: str | None) -> JsonResponse | None:
    return None if text is None else json.loads(text)


class Resource(BaseModel):
    """A JSON object. An alias is the name of the column that a field comes from."""

    @classmethod
    def from_row(cls, row: DecisionRow | Row[Any], **others: object) -> JsonResponse:
        """Return the JSON of a row, with fields that are not columns."""
        return cls.model_validate({**row._asdict(), **others}).model_dump()


class FieldProblem(BaseModel):
    """What is wrong with one field of a request."""

    loc: list[str | int]
    msg: str
    type: str


class ErrorResponse(BaseModel):
    """Why a request was refused."""

    detail: str | list[FieldProblem]


class EvaluationResponse(BaseModel):
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


class OutcomeResponse(BaseModel):
    """One outcome of a decision."""

    request_id: str
    case_id: str
    status: str
    category: Literal["positive", "neutral", "negative"]
    severity: Fraction
    reported_at: str | None
    decision_context: JsonResponse
    calibration: JsonResponse


class OutcomeError(BaseModel):
    """Why one outcome of a batch was refused."""

    index: int
    status: int
    detail: str | list[FieldProblem]


class OutcomeBatchResponse(BaseModel):
    """What became of each outcome of a batch."""

    reported: int
    failed: int
    outcomes: list[OutcomeResponse]
    errors: list[OutcomeError]


class TimelineResponse(BaseModel):
    """What happened to a decision, in order; each event has a `type` and a time `at`."""

    request_id: str
    case_id: str
    current_status: str | None
    events: list[JsonResponse]


class PendingResponse(BaseModel):
    """Decisions without an outcome."""

    pending: list[JsonResponse]
    total: int
    limit: int


class StatusResponse(BaseModel):
    """The engine's state."""

    status: Literal["ok"]
    engine: Literal["embedded"]
    decisions: int
    evidence: int
    time: str


class EventListResponse(BaseModel):
    """Decisions as events."""

    events: list[JsonResponse]
    total: int
    limit: int
    offset: int


class PrecedentsResponse(BaseModel):
    """Similar calls, and how they ended."""

    precedents: list[JsonResponse]
    total_precedents: int
    with_outcomes: int
    success_rate: Fraction
    negative_rate: Fraction
    risk_level: Literal["low", "medium", "high"]
    warnings: list[str]


class ApprovalResponse(Resource):
    """An approval that is pending, or a person's answer to it."""

    request_id: str
    validation_id: str = Field(validation_alias="request_id")
    action: str
    actor: str
    target: str | None
    domain: str
    value: float | None
    status: str = Field(validation_alias="approval")
    resolution: Literal["approved", "denied"] | None
    comment: str | None
    modified_action: str | None
    agent_report: Annotated[JsonResponse | None, BeforeValidator(_parse_json)]
    risk_score: Fraction = Field(validation_alias="risk")
    recommendation: RecommendationWord
    reason: str
    created_at: Time = Field(validation_alias="at")
    resolved_at: OptionalTime


class CaseResponse(Resource):
    """A decision as a case."""

    case_id: str
    request_id: str
    domain: str
    action: JsonResponse
    actor_id: str = Field(validation_alias="actor")
    verdict: JsonResponse
    decision_context: JsonResponse
    approval: str | None
    outcome_status: str | None = Field(validation_alias="outcome")
    has_outcome: bool
    created_at: Time = Field(validation_alias="at")
    outcome_at: OptionalTime


class CaseListResponse(BaseModel):
    """Cases, newest first."""

    cases: list[CaseResponse]
    limit: int
    offset: int


class KillSwitchResponse(Resource):
    """One kill switch."""

    switch_id: str
    active: bool
    domain: str | None
    reason: str
    activated_at: Time = Field(validation_alias="at")
    deactivated_at: OptionalTime = Field(validation_alias="ended_at")


class KillSwitchStatusResponse(BaseModel):
    """Whether a kill switch is on, and which."""

    active: bool
    switches: list[KillSwitchResponse]


class ConstraintResponse(Resource):
    """A constraint in its current version, without its limits."""

    rule_id: str
    name: str
    domain: str
    status: Literal["active", "paused"]
    version: int
    created_at: Time
    updated_at: Time


class ApiKey(Resource):
    """An API key without its secret."""

    key_id: str
    label: str
    scopes: Annotated[list[str], BeforeValidator(str.split)]
    created_at: Time
    expires_at: OptionalTime
    revoked_at: OptionalTime
