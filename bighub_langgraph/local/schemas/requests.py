"""Request bodies. They are validated strictly before anything is decided or learned."""

import re
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, AliasChoices, ConfigDict, Field

from bighub_langgraph.local.schemas.wire_format import (
    Amount,
    Body,
    Count,
    Fraction,
    JsonObject,
    LongText,
    Number,
    OptionalText,
    ShortText,
    Timestamp,
)


class EvaluateRequest(Body):
    """A proposed action."""

    action: ShortText
    actor: ShortText = "AI_AGENT"
    domain: ShortText | None = None
    target: ShortText | None = None
    value: Amount | None = None
    context: JsonObject = Field(default_factory=dict)
    metadata: JsonObject = Field(default_factory=dict)
    dry_run: bool = False

    @property
    def merged_context(self) -> dict[str, Any]:
        """Context and metadata in one mapping, as the SDK merges them."""
        return {**self.metadata, **self.context}


class EvaluateBatchRequest(Body):
    """Proposed actions that share a domain and an actor unless they name their own."""

    actions: Annotated[list[JsonObject], Field(min_length=1, max_length=100)]
    domain: ShortText | None = None
    actor: ShortText = "AI_AGENT"


class OutcomeMeaning(NamedTuple):
    """What a reported status means for the decision; `bad` is None where it means nothing."""

    category: str
    severity: float
    bad: bool | None


_NEUTRAL = OutcomeMeaning("neutral", 0.0, bad=None)
_BAD_SEVERITIES = {
    "FAILURE": 0.3,
    "TIMEOUT": 0.3,
    "REJECTED": 0.4,
    "ESCALATION": 0.4,
    "COMPLAINT": 0.4,
    "ROLLBACK": 0.6,
    "CHURN": 0.7,
    "DISPUTE": 0.7,
    "CHARGEBACK": 0.8,
    "POLICY_VIOLATION": 0.8,
    "INCIDENT": 0.9,
    "DATA_LOSS": 0.9,
    "SECURITY_INCIDENT": 1.0,
    "FRAUD": 1.0,
}
TAXONOMY: dict[str, OutcomeMeaning] = {
    "SUCCESS": OutcomeMeaning("positive", 0.0, bad=False),
    "PARTIAL_SUCCESS": OutcomeMeaning("positive", 0.1, bad=False),
    **dict.fromkeys(("BLOCKED", "CANCELLED", "EXPIRED", "PENDING", "UNKNOWN"), _NEUTRAL),
    **{name: OutcomeMeaning("negative", how, bad=True) for name, how in _BAD_SEVERITIES.items()},
}


# Other words for them: those of the SDK's README and of the adapters' events, and near ones.
STATUS_ALIASES = {
    **dict.fromkeys(("COMPLETED", "EXECUTED", "SUCCEEDED"), "SUCCESS"),
    **dict.fromkeys(("FAILED", "ERROR", "TOOL_ERROR"), "FAILURE"),
    **dict.fromkeys(("APPROVAL_REQUIRED", "IN_PROGRESS"), "PENDING"),
    "PARTIAL": "PARTIAL_SUCCESS",
    "TIMED_OUT": "TIMEOUT",
    "ROLLED_BACK": "ROLLBACK",
    "CANCELED": "CANCELLED",
    "DENIED": "BLOCKED",
}


def _parse_outcome_status(status: str) -> str:
    name = re.sub(r"[\s-]+", "_", status.strip().upper())
    name = STATUS_ALIASES.get(name, name)
    if name not in TAXONOMY:
        raise ValueError(f"{status!r} is not an outcome status; see GET /outcomes/taxonomy")
    return name


OutcomeStatus = Annotated[str, Field(max_length=50), AfterValidator(_parse_outcome_status)]
Tags = Annotated[list[ShortText], Field(max_length=100)]


class OutcomeReport(Body):
    """What really happened after a decision."""

    status: OutcomeStatus
    request_id: ShortText | None = None
    case_id: ShortText | None = None
    validation_id: ShortText | None = None
    description: LongText = ""
    details: JsonObject = Field(default_factory=dict)
    actual_impact: JsonObject = Field(default_factory=dict)
    correction_needed: bool = False
    correction_description: LongText = ""
    correction_cost: Number | None = None
    time_to_detect_s: Amount | None = None
    time_to_resolve_s: Amount | None = None
    rollback_performed: bool = False
    revenue_impact: Number | None = None
    customer_impact_count: Count = 0
    support_tickets_created: Count = 0
    observed_at: ShortText | None = None
    reported_by: LongText = ""
    tags: Tags = Field(default_factory=list)
    recommendation_followed: bool | None = None
    production_action: LongText = ""
    human_final_action: LongText = ""
    outcome_label_quality: LongText = ""
    decision_snapshot: JsonObject = Field(default_factory=dict)

    @property
    def idempotency_key(self) -> str | None:
        """The key under which a repeated report counts once."""
        key = self.details.get("idempotency_key")
        return key if isinstance(key, str) and key else None

    @property
    def is_automatic(self) -> bool:
        """Whether an adapter reports the end of the execution, and nobody what came of it."""
        return bool(self.idempotency_key and self.production_action)


class OutcomeReportBatch(Body):
    """Up to a hundred outcomes; each is accepted or refused on its own."""

    outcomes: Annotated[list[Any], Field(min_length=1, max_length=100)]


class ApprovalResolution(Body):
    """A person's answer to an approval."""

    resolution: Literal["approved", "denied"]
    comment: LongText | None = None
    modified_action: LongText | None = Field(
        None, validation_alias=AliasChoices("modified_action", "better_action")
    )
    review_decision: ShortText | None = None


class MemoryEvent(Body):
    """One tool call as an adapter reports it."""

    model_config = ConfigDict(extra="allow")

    tool: ShortText
    status: ShortText
    event_id: ShortText | None = None
    timestamp: Timestamp | None = None


class MemoryBatch(Body):
    """The events of one round of tool calls."""

    events: Annotated[list[JsonObject], Field(min_length=1, max_length=1_000)]
    source: ShortText = "adapter"
    source_version: ShortText | None = None
    actor: ShortText | None = None
    domain: ShortText | None = None
    model: ShortText | None = None
    trace_id: ShortText | None = None
    redact: bool = True
    redaction_policy: ShortText = "default"


class MemoryRecommendationsRequest(Body):
    """The thresholds from which a tool's history is worth a recommendation."""

    window_hours: Annotated[int, Field(ge=1, le=24 * 366)] = 24
    scope: JsonObject = Field(default_factory=dict)
    tool: ShortText | None = None
    domain: ShortText | None = None
    actor: ShortText | None = None
    source: ShortText | None = None
    min_events: Count = 20
    min_blocked_rate: Fraction = 0.15
    min_approval_rate: Fraction = 0.10
    min_tool_error_rate: Fraction = 0.05
    limit_recommendations: Annotated[int, Field(ge=0, le=1_000)] = 10
    include_examples: bool = True
    auto_apply: bool = False


class KillSwitchActivation(Body):
    """What a kill switch stops: one domain, or everything."""

    domain: ShortText | None = None
    reason: LongText = ""


Hour = Annotated[int, Field(ge=0, le=24)]


class ConstraintLimits(Body):
    """The limits of a constraint. A misspelt one is refused, not ignored."""

    model_config = ConfigDict(extra="forbid")

    max_per_day: Count | None = None
    max_value: Amount | None = None
    require_approval_above: Amount | None = None
    min_value: Amount | None = None
    max_per_hour: Count | None = None
    cooldown_seconds: Count | None = None
    allowed_hours_start: Hour | None = None
    allowed_hours_end: Hour | None = None


class ConstraintChange(ConstraintLimits):
    """The fields of a constraint that change."""

    name: ShortText | None = None
    domain: ShortText | None = None
    status: Literal["active", "paused"] | None = None
    tags: Tags | None = None
    metadata: JsonObject | None = None


class Constraint(ConstraintLimits):
    """A constraint of a domain."""

    name: ShortText
    domain: ShortText
    tags: Tags = Field(default_factory=list)
    metadata: JsonObject = Field(default_factory=dict)


class ConstraintCheck(Body):
    """An action to be checked against the constraints alone."""

    action: ShortText
    actor: ShortText = "AI_AGENT"
    value: Amount | None = None
    domain: ShortText | None = None
    rule_id: ShortText | None = None


class PrecedentQuery(Body):
    """An action whose precedents are wanted."""

    domain: ShortText
    action: ShortText
    tool: ShortText | None = None
    actor_type: ShortText = "AI_AGENT"
    axes: JsonObject = Field(default_factory=dict)
    risk_score: Fraction | None = None
    intent: LongText | None = None
    min_similarity: Fraction = 0.0
    max_results: Annotated[int, Field(ge=1, le=100)] = 10
    require_outcome: bool = False


class CaseAction(Body):
    """The action of a case."""

    action: ShortText
    tool: ShortText | None = None
    target: ShortText | None = None
    value: Amount | None = None
    arguments: JsonObject = Field(default_factory=dict)


class CasePrecedentQuery(Body):
    """A proposed case whose precedents are wanted."""

    domain: OptionalText = ""
    action: CaseAction
    context: JsonObject = Field(default_factory=dict)
    min_similarity: Fraction = 0.5
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class CaseRequest(Body):
    """A decision made elsewhere."""

    domain: ShortText
    action: CaseAction
    verdict: JsonObject
    context: JsonObject = Field(default_factory=dict)
    goal_summary: LongText = ""
    actor_type: ShortText = "AI_AGENT"
    actor_id: OptionalText = ""
    tags: Tags = Field(default_factory=list)


class Observation(Body):
    """A prediction and what happened."""

    case_id: ShortText
    predicted_risk: Fraction
    outcome_status: OutcomeStatus
