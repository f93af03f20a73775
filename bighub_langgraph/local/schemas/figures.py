"""The responses that are computed for one request: figures, reports and confirmations.

As in `responses`, a model names the fields that callers can rely on.
"""

from typing import Any, Literal

from pydantic import create_model

from bighub_langgraph.local.schemas.responses import JsonResponse, Verdict
from bighub_langgraph.local.schemas.wire_format import Fraction

Rows = list[JsonResponse]
Counts = dict[str, int]


def _model(title: str, /, **fields: Any) -> Any:
    definitions: dict[str, Any] = {field: (kind, ...) for field, kind in fields.items()}
    return create_model(title, **definitions)


Verification = _model(
    "Verification",
    valid=bool,
    validation_id=str,
    validation_hash=str,
    computed_hash=str,
    validated_at=str,
    allowed=bool,
    result=Verdict,
    message=str,
)
MemoryIngested = _model("MemoryIngested", accepted=int, total_stored=int, source=str)
MemoryContext = _model(
    "MemoryContext",
    window_hours=int,
    filters=dict[str, str],
    total_events=int,
    avg_risk_score=float | None,
    top_tools=Rows,
    top_block_reasons=Rows,
    recent_events=Rows,
)
MemoryRecommendations = _model(
    "MemoryRecommendations",
    window_hours=int,
    generated_at=str,
    filters=dict[str, str],
    summary=Counts,
    recommendations=Rows,
)
MemoryRefreshed = _model("MemoryRefreshed", refreshed=bool, mode=str)
Taxonomy = _model("Taxonomy", statuses=Rows, aliases=dict[str, str])
OutcomeSummary = _model(
    "OutcomeSummary",
    total_decisions=int,
    total_outcomes=int,
    by_status=Counts,
    negative_rate=Fraction,
    by_domain=Rows,
)
RecommendationQuality = _model(
    "RecommendationQuality",
    total_with_outcome=int,
    follow_rate=Fraction | None,
    positive_after_following=Fraction | None,
    quadrants=JsonResponse,
    by_domain=Rows,
    by_actor=Rows,
    trend=Rows,
    examples=dict[str, Rows],
)
PartnerView = _model(
    "PartnerView", domain=str, outcomes=OutcomeSummary, quality=RecommendationQuality
)
PrecedentSignals = _model(
    "PrecedentSignals",
    total_precedents=int,
    with_outcomes=int,
    success_rate=Fraction,
    negative_rate=Fraction,
    warnings=list[str],
    risk_level=Literal["low", "medium", "high"],
)
PrecedentCount = _model("PrecedentCount", total_precedents=int)
_FIELDS_OF_BIN = ("from", "to", "predicted", "observed", "brier")
Bins: Any = list[_model("Bin", count=int, **dict.fromkeys(_FIELDS_OF_BIN, float))]  # type: ignore[misc]
CalibrationReport = _model(
    "CalibrationReport",
    domain=str | None,
    tool=str | None,
    total=int,
    mean_predicted=float,
    mean_observed=float,
    expected_calibration_error=float,
    brier_score=float,
    tolerance=float,
    bins=Bins,
)
ReliabilityCurve = _model("ReliabilityCurve", bins=Bins)
Drift = _model("Drift", drift_detected=bool, window_days=int, domains=Rows)
QualityHistory: Any = list[  # type: ignore[misc]
    _model("QualityOfDay", date=str, total=int, positive_rate=float, quality_score=float)
]
Comparison = _model(
    "Comparison",
    case_id=str | None,
    predicted_risk=float,
    outcome_status=str,
    error=float | None,
    prediction_correct=bool | None,
    observed_at=str,
)
Breakdown = _model("Breakdown", by=Literal["domain", "tool", "actor"], groups=Rows)
Feedback = _model("Feedback", domain=str | None, bias=float, message=str)
EventCounts = _model("EventCounts", total=int, by_type=Counts, by_recommendation=Counts)
ConstraintPreview = _model("ConstraintPreview", valid=bool, dry_run=bool, rule=JsonResponse)
ConstraintRuling = _model(
    "ConstraintRuling",
    allowed=bool,
    result=Verdict,
    requires_approval=bool,
    reason=str,
    blocked_by=str | None,
    dry_run=bool,
)
DomainList: Any = list[_model("DomainResponse", id=str, name=str, unit=str)]  # type: ignore[misc]
ConstraintDeleted = _model("ConstraintDeleted", deleted=bool, rule_id=str)
ResponsesPurged = _model("ResponsesPurged", purged=int)
ConstraintVersions: Any = list[  # type: ignore[misc]
    _model("ConstraintVersion", name=str, version=int, updated_at=str)
]
