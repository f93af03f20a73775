"""Every endpoint of BIGHUB's API that the engine offers, in one table, and how it is called.

The in-process client and the HTTP server call the same functions through this table.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from pydantic import create_model

from bighub_langgraph.local import (
    analytics,
    calibration,
    cases,
    constraints,
    decision_memory,
    idempotency,
    outcomes,
    precedent_queries,
)
from bighub_langgraph.local import evaluate as evaluation
from bighub_langgraph.local.api_keys import APPROVE, CONTROL, DECIDE, IN_PROCESS, READ, Caller
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.errors import ApiError, invalid_field, store_unavailable
from bighub_langgraph.local.schemas import figures
from bighub_langgraph.local.schemas.responses import (
    ApprovalResponse,
    CaseListResponse,
    CaseResponse,
    ConstraintResponse,
    EvaluationResponse,
    EventListResponse,
    KillSwitchResponse,
    KillSwitchStatusResponse,
    OutcomeBatchResponse,
    OutcomeResponse,
    PendingResponse,
    PrecedentsResponse,
    StatusResponse,
    TimelineResponse,
)
from bighub_langgraph.local.schemas.wire_format import Body, Query, validate

Handler = Callable[..., Any]


class Route:
    """One endpoint.

    The handler takes the engine, the variable parts of the path, a `body`, and query parameters by
    keyword. `body` and `query` are the models that validate the latter, if it takes any.
    """

    def __init__(self, method: str, path: str, scope: str, handler: Handler, response: Any) -> None:
        self.method = method
        self.path = path
        self.scope = scope
        self.handler = handler
        self.response = response
        self.path_names = re.findall(r"{(\w+)}", path)
        self.pattern = re.compile(re.sub(r"{\w+}", "([^/]+)", path))
        parameters = inspect.signature(handler).parameters
        self.takes_idempotency_key = "idempotency_key" in parameters
        self.takes_caller = "caller" in parameters
        self.body: type[Body] | None = None
        if "body" in parameters:
            self.body = parameters["body"].annotation
        self.query: type[Query] | None = None
        options: dict[str, Any] = {
            name: (parameter.annotation, parameter.default)
            for name, parameter in parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }
        if options:
            self.query = create_model(f"{handler.__name__} query", __base__=Query, **options)


def handle_request(engine: Engine, method: str, path: str, **request: Any) -> Any:
    """Return the response's JSON to a request, or raise an `ApiError`; see `call_route`."""
    if (route := _ROUTES_WITHOUT_NAMES.get((method, path))) is not None:
        return call_route(engine, route, (), **request)
    for route in ROUTES:
        if route.method == method and (match := route.pattern.fullmatch(path)):
            return call_route(engine, route, match.groups(), **request)
    raise not_offered_error(method, path)


def call_route(
    engine: Engine,
    route: Route,
    path_values: Iterable[str],
    *,
    params: Mapping[str, Any] | None = None,
    body: object = None,
    idempotency_key: str | None = None,
    caller: Caller = IN_PROCESS,
) -> Any:
    """Validate a request to an endpoint, and return the response's JSON."""
    path = tuple(path_values)
    arguments: list[Any] = [*path]
    for name, value in zip(route.path_names, path, strict=True):
        if not value.isprintable():
            raise invalid_field(f"path.{name}", "must be printable")
    options: dict[str, Any] = {}
    if route.query is not None:
        present = {name: value for name, value in (params or {}).items() if value is not None}
        options = dict(validate(route.query, present, "query"))
    model = route.body and validate(route.body, body)
    if model is not None:
        arguments.append(model)
    request = [route.method, route.path, *path, options, model]
    if route.takes_caller:
        options, request = {**options, "caller": caller}, [*request, caller.key_id]
    try:
        if route.takes_idempotency_key:
            return route.handler(engine, *arguments, idempotency_key=idempotency_key, **options)
        if idempotency_key is None or route.scope == READ:
            return route.handler(engine, *arguments, **options)
        change = partial(route.handler, engine, *arguments, **options)
        return idempotency.run_once(engine, idempotency_key, request, change)
    except engine.store.faults as error:
        raise store_unavailable(f"{route.method} {route.path}", error) from error


def not_offered_error(method: str, path: str) -> ApiError:
    """Return the error for an endpoint that the engine does not have."""
    if not path.isprintable():
        return invalid_field("path", "must be printable")
    return ApiError(501, f"the embedded engine does not offer {method} {path}")


_get = partial(Route, "GET")
_post = partial(Route, "POST")

ROUTES = (
    _post("/actions/evaluate", DECIDE, evaluation.evaluate, EvaluationResponse),
    _post("/actions/evaluate/batch", DECIDE, evaluation.evaluate_batch, list[EvaluationResponse]),
    _get("/actions/status", READ, outcomes.get_status, StatusResponse),
    _get(
        "/actions/validations/{validation_id}/verify", READ, outcomes.verify, figures.Verification
    ),
    _post("/actions/memory/ingest", DECIDE, decision_memory.ingest, figures.MemoryIngested),
    _get("/actions/memory/context", READ, decision_memory.summarize, figures.MemoryContext),
    _post(
        "/actions/memory/recommendations",
        READ,
        decision_memory.recommend,
        figures.MemoryRecommendations,
    ),
    _post(
        "/actions/memory/refresh-aggregates", READ, decision_memory.refresh, figures.MemoryRefreshed
    ),
    _post("/outcomes/report", DECIDE, outcomes.report_outcome, OutcomeResponse),
    _post("/outcomes/report/batch", DECIDE, outcomes.report_outcomes, OutcomeBatchResponse),
    _get("/outcomes/taxonomy", READ, outcomes.list_statuses, figures.Taxonomy),
    _get("/outcomes/pending/list", READ, outcomes.list_pending, PendingResponse),
    _get("/outcomes/analytics/summary", READ, analytics.summarize, figures.OutcomeSummary),
    _get(
        "/outcomes/analytics/recommendation-quality",
        READ,
        analytics.compare_advice,
        figures.RecommendationQuality,
    ),
    _get(
        "/outcomes/analytics/partner-view/{domain}",
        READ,
        analytics.get_partner_view,
        figures.PartnerView,
    ),
    _get("/outcomes/by-validation/{request_id}", READ, outcomes.get_outcome, OutcomeResponse),
    _get("/outcomes/by-case/{case_id}", READ, outcomes.get_outcome, OutcomeResponse),
    _get("/outcomes/{request_id}", READ, outcomes.get_outcome, OutcomeResponse),
    _get("/outcomes/{request_id}/timeline", READ, outcomes.get_timeline, TimelineResponse),
    _get("/approvals", READ, cases.list_approvals, list[ApprovalResponse]),
    _post("/approvals/{request_id}/resolve", APPROVE, cases.resolve_approval, ApprovalResponse),
    _post("/precedents/query", READ, precedent_queries.query_precedents, PrecedentsResponse),
    _post("/precedents/signals", READ, precedent_queries.get_signals, figures.PrecedentSignals),
    _get("/precedents/stats", READ, precedent_queries.get_stats, figures.PrecedentCount),
    _get("/calibration/report", READ, calibration.get_report, figures.CalibrationReport),
    _get("/calibration/reliability", READ, calibration.get_curve, figures.ReliabilityCurve),
    _get("/calibration/drift", READ, calibration.get_drift, figures.Drift),
    _get("/calibration/quality-history", READ, calibration.get_history, figures.QualityHistory),
    _post("/calibration/observe", READ, calibration.compare_prediction, figures.Comparison),
    _get("/calibration/breakdown", READ, calibration.get_breakdown, figures.Breakdown),
    _get("/calibration/feedback", READ, calibration.get_feedback, figures.Feedback),
    _get("/cases", READ, cases.list_cases, CaseListResponse),
    _post("/cases", DECIDE, cases.create, CaseResponse),
    _post("/cases/precedents", READ, precedent_queries.find_for_case, PrecedentsResponse),
    _get("/cases/calibration", READ, calibration.get_report, figures.CalibrationReport),
    _get("/cases/{case_id}", READ, cases.get, CaseResponse),
    _post("/cases/{case_id}/outcome", DECIDE, cases.report_case_outcome, OutcomeResponse),
    _get("/events", READ, analytics.list_events, EventListResponse),
    _get("/events/stats", READ, analytics.count_events, figures.EventCounts),
    _get("/kill-switch/status", READ, constraints.get_kill_switches, KillSwitchStatusResponse),
    _post("/kill-switch/activate", CONTROL, constraints.activate_kill_switch, KillSwitchResponse),
    _post(
        "/kill-switch/deactivate/{switch_id}",
        CONTROL,
        constraints.deactivate_kill_switch,
        KillSwitchResponse,
    ),
    _get("/rules", READ, constraints.list_constraints, list[ConstraintResponse]),
    _post("/rules", CONTROL, constraints.create, ConstraintResponse),
    _post("/rules/dry-run", READ, constraints.preview, figures.ConstraintPreview),
    _post("/rules/validate", READ, constraints.check_action, figures.ConstraintRuling),
    _post("/rules/validate/dry-run", READ, constraints.check_action, figures.ConstraintRuling),
    _get("/rules/domains", READ, constraints.list_domains, figures.DomainList),
    _get("/rules/{rule_id}", READ, constraints.get, ConstraintResponse),
    Route("PATCH", "/rules/{rule_id}", CONTROL, constraints.change, ConstraintResponse),
    Route(
        "DELETE",
        "/rules/{rule_id}",
        CONTROL,
        constraints.delete_constraint,
        figures.ConstraintDeleted,
    ),
    _post("/rules/{rule_id}/pause", CONTROL, constraints.pause, ConstraintResponse),
    _post("/rules/{rule_id}/resume", CONTROL, constraints.resume, ConstraintResponse),
    _post("/rules/admin/idempotency/purge", CONTROL, idempotency.purge, figures.ResponsesPurged),
    _get("/rules/{rule_id}/versions", READ, constraints.list_versions, figures.ConstraintVersions),
)
# These come first, as in the table: `/rules/domains` is no rule.
_ROUTES_WITHOUT_NAMES = {
    (route.method, route.path): route for route in ROUTES if not route.path_names
}
