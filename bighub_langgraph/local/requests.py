"""What callers may send, checked strictly before anything is decided or learned."""

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from bighub_langgraph.local.checking import (
    Amount,
    Body,
    Count,
    Json,
    Number,
    Share,
    Text,
    Word,
    plain,
)
from bighub_langgraph.local.words import TAXONOMY


class Evaluate(Body):
    """A proposed action."""

    action: Word
    actor: Word = "AI_AGENT"
    domain: Word | None = None
    target: Word | None = None
    value: Amount | None = None
    context: Json = Field(default_factory=dict)
    metadata: Json = Field(default_factory=dict)
    dry_run: bool = False

    @property
    def circumstances(self) -> dict[str, Any]:
        """Context and metadata together, as the SDK merges them."""
        return {**self.metadata, **self.context}


class EvaluateBatch(Body):
    """Several proposed actions that share a domain and an actor unless they name their own."""

    actions: Annotated[list[Json], Field(min_length=1, max_length=100)]
    domain: Word | None = None
    actor: Word = "AI_AGENT"


def _known_status(status: str) -> str:
    word = status.strip().upper()
    if word not in TAXONOMY:
        raise ValueError(f"{status!r} is no outcome status; see GET /outcomes/taxonomy")
    return word


class Outcome(Body):
    """What really happened after a decision."""

    status: Annotated[str, Field(max_length=50), AfterValidator(_known_status)]
    request_id: Word | None = None
    case_id: Word | None = None
    validation_id: Word | None = None
    description: Text = ""
    details: Json = Field(default_factory=dict)
    actual_impact: Json = Field(default_factory=dict)
    correction_needed: bool = False
    correction_description: Text = ""
    correction_cost: Number | None = None
    time_to_detect_s: Amount | None = None
    time_to_resolve_s: Amount | None = None
    rollback_performed: bool = False
    revenue_impact: Number | None = None
    customer_impact_count: Count = 0
    support_tickets_created: Count = 0
    observed_at: Word | None = None
    reported_by: Text = ""
    tags: Annotated[list[Word], Field(max_length=100)] = Field(default_factory=list)
    recommendation_followed: bool | None = None
    production_action: Text = ""
    human_final_action: Text = ""
    outcome_label_quality: Text = ""
    decision_snapshot: Json = Field(default_factory=dict)

    @property
    def idempotency_key(self) -> str | None:
        """What makes a repeated report count once."""
        key = self.details.get("idempotency_key")
        return key if isinstance(key, str) and key else None


class OutcomeBatch(Body):
    """Up to a hundred outcomes, each judged by itself."""

    outcomes: Annotated[list[Any], Field(min_length=1, max_length=100)]


class Resolution(Body):
    """A person's answer to an approval."""

    resolution: Annotated[str, Field(pattern="^(approved|denied)$")]
    comment: Text | None = None
    better_action: Text | None = None


class MemoryEvent(Body):
    """One tool call as an adapter remembers it."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    tool: Word
    status: Word
    event_id: Word | None = None
    timestamp: Word | None = None


class MemoryBatch(Body):
    """The events of one tool round."""

    events: Annotated[list[Json], Field(min_length=1, max_length=1_000)]
    source: Word = "adapter"
    source_version: Word | None = None
    actor: Word | None = None
    domain: Word | None = None
    model: Word | None = None
    trace_id: Word | None = None
    redact: bool = True
    redaction_policy: Word = "default"


class MemoryAdvice(Body):
    """From when on a tool's record is worth a recommendation."""

    window_hours: Annotated[int, Field(ge=1, le=24 * 366)] = 24
    scope: Json = Field(default_factory=dict)
    tool: Word | None = None
    domain: Word | None = None
    actor: Word | None = None
    source: Word | None = None
    min_events: Count = 20
    min_blocked_rate: Share = 0.15
    min_approval_rate: Share = 0.10
    min_tool_error_rate: Share = 0.05
    limit_recommendations: Annotated[int, Field(ge=0, le=1_000)] = 10
    include_examples: bool = True
    auto_apply: bool = False


class Switch(Body):
    """What a kill switch stops: a domain, or everything."""

    domain: Word | None = None
    reason: Text = ""


Hour = Annotated[int, Field(ge=0, le=24)]


class Limits(Body):
    """A body whose every field limits something: one that is misspelt must not be passed over."""

    model_config = ConfigDict(extra="forbid")


class RuleChange(Limits):
    """The fields of a constraint that change."""

    name: Word | None = None
    domain: Word | None = None
    max_per_day: Count | None = None
    max_value: Amount | None = None
    require_approval_above: Amount | None = None
    min_value: Amount | None = None
    max_per_hour: Count | None = None
    cooldown_seconds: Count | None = None
    allowed_hours_start: Hour | None = None
    allowed_hours_end: Hour | None = None
    status: Annotated[str, Field(pattern="^(active|paused)$")] | None = None
    tags: Annotated[list[Word], Field(max_length=100)] | None = None
    metadata: Json | None = None


class Rule(Limits):
    """A constraint; what it does not name it does not limit."""

    name: Word
    domain: Word
    max_per_day: Count | None = None
    max_value: Amount | None = None
    require_approval_above: Amount | None = None
    min_value: Amount | None = None
    max_per_hour: Count | None = None
    cooldown_seconds: Count | None = None
    allowed_hours_start: Hour | None = None
    allowed_hours_end: Hour | None = None
    tags: Annotated[list[Word], Field(max_length=100)] = Field(default_factory=list)
    metadata: Json = Field(default_factory=dict)


class RuleTrial(Body):
    """An action to be held against the constraints alone."""

    action: Word
    actor: Word = "AI_AGENT"
    value: Amount | None = None
    domain: Word | None = None
    rule_id: Word | None = None


class PrecedentQuery(Body):
    """An action to which precedents are wanted."""

    domain: Word
    action: Word
    tool: Word | None = None
    actor_type: Word = "AI_AGENT"
    axes: Json = Field(default_factory=dict)
    risk_score: Share | None = None
    intent: Text | None = None
    min_similarity: Share = 0.0
    max_results: Annotated[int, Field(ge=1, le=100)] = 10
    require_outcome: bool = False


class CaseAction(Body):
    """The action of a case."""

    action: Word
    tool: Word | None = None
    target: Word | None = None
    value: Amount | None = None
    arguments: Json = Field(default_factory=dict)


class CasePrecedents(Body):
    """A proposed case to which precedents are wanted."""

    domain: Annotated[str, Field(max_length=500), AfterValidator(plain)] = ""
    action: CaseAction
    context: Json = Field(default_factory=dict)
    min_similarity: Share = 0.5
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class Case(Body):
    """A decision made elsewhere."""

    domain: Word
    action: CaseAction
    verdict: Json
    context: Json = Field(default_factory=dict)
    goal_summary: Text = ""
    actor_type: Word = "AI_AGENT"
    actor_id: Annotated[str, Field(max_length=500), AfterValidator(plain)] = ""
    tags: Annotated[list[Word], Field(max_length=100)] = Field(default_factory=list)


class Observation(Body):
    """A prediction and what happened."""

    case_id: Word
    predicted_risk: Share
    outcome_status: Annotated[str, Field(max_length=50), AfterValidator(_known_status)]
