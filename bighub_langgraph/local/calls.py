"""How a request becomes a call of the engine."""

from collections.abc import Callable
from typing import Any

from bighub_langgraph.local import (
    analytics,
    approvals,
    calibration,
    cases,
    deciding,
    events,
    idempotency,
    memory,
    outcomes,
    reading,
    rules,
)
from bighub_langgraph.local.answering import Request
from bighub_langgraph.local.engine import Engine

Call = Callable[[Engine, Request], Any]


def evaluate(engine: Engine, request: Request) -> Any:
    """Decide, with the request's idempotency key."""
    return deciding.evaluate(engine, request.body, request.idempotency_key)


def memory_context(engine: Engine, request: Request) -> Any:
    """What adapters remember of a stretch of time."""
    names = ("tool", "domain", "actor", "source")
    return memory.context(
        engine,
        window_hours=request.number("window_hours", default=24, least=1, most=24 * 366),
        limit_recent=request.number("limit_recent", default=25),
        filters={name: word for name in names if (word := request.word(name)) is not None},
    )


def refreshed(_engine: Engine, _request: Request) -> Any:
    """Aggregates are computed when asked for, so there is nothing to refresh."""
    return {"refreshed": True, "mode": "always fresh"}


def pending(engine: Engine, request: Request) -> Any:
    """Decisions without an outcome."""
    return reading.pending(
        engine,
        min_age_hours=request.number("min_age_hours", default=0, most=24 * 3_660),
        limit=request.number("limit", default=50),
    )


def summary(engine: Engine, request: Request) -> Any:
    """Outcomes of a stretch of time."""
    return analytics.summary(engine, **_stretch(request))


def quality(engine: Engine, request: Request) -> Any:
    """What following the advice brought."""
    return analytics.recommendation_quality(engine, **_stretch(request))


def _stretch(request: Request) -> dict[str, str | None]:
    return {name: request.word(name) for name in ("domain", "since", "until")}


def list_approvals(engine: Engine, request: Request) -> Any:
    """What waits for a person."""
    status = request.word("status") or "pending"
    limit = request.number("limit", default=100)
    return approvals.list_approvals(engine, status=status, limit=limit)


def list_cases(engine: Engine, request: Request) -> Any:
    """A page of cases."""
    names = ("domain", "tool", "action", "verdict", "outcome_status")
    filters: dict[str, Any] = {name: request.word(name) for name in names}
    filters["has_outcome"] = request.flag("has_outcome")
    for name in ("min_risk_score", "max_risk_score"):
        filters[name] = request.share(name)
    return cases.list_cases(engine, filters=filters, **_page(request))


def list_events(engine: Engine, request: Request) -> Any:
    """A page of events."""
    return events.list_events(
        engine,
        event_type=request.word("event_type"),
        severity=request.word("severity"),
        **_page(request),
    )


def list_rules(engine: Engine, request: Request) -> Any:
    """A page of constraints."""
    return rules.list_rules(
        engine, status=request.word("status"), domain=request.word("domain"), **_page(request)
    )


def _page(request: Request) -> dict[str, int]:
    return {
        "limit": request.number("limit", default=50),
        "offset": request.number("offset", default=0, most=10**9),
    }


def rule_versions(engine: Engine, request: Request) -> Any:
    """What a constraint was before."""
    limit = request.number("limit", default=50, least=1)
    return rules.versions(engine, request.names["rule_id"], limit=limit)


def purge(engine: Engine, request: Request) -> Any:
    """Forget answers that are kept for requests which come again."""
    hours = request.number("older_than_hours", default=24, most=24 * 3_660)
    return idempotency.purge(
        engine,
        only_expired=request.flag("only_expired") is not False,
        older_than=hours * 3_600.0,
        limit=request.number("limit", default=1_000, least=1),
    )


def report(engine: Engine, request: Request) -> Any:
    """Calibration figures."""
    return calibration.report(
        engine,
        domain=request.word("domain"),
        tool=request.word("tool"),
        risk_band=request.word("risk_band"),
    )


def reliability(engine: Engine, request: Request) -> Any:
    """The reliability curve."""
    return calibration.reliability(engine, domain=request.word("domain"), tool=request.word("tool"))


def drift(engine: Engine, request: Request) -> Any:
    """Drift by domain."""
    days = request.number("window_days", default=30, least=1, most=3_660)
    return calibration.drift(engine, domain=request.word("domain"), window_days=days)


def history(engine: Engine, request: Request) -> Any:
    """Calibration day by day."""
    days = request.number("days", default=30, least=1, most=3_660)
    return calibration.quality_history(engine, domain=request.word("domain"), days=days)


def breakdown(engine: Engine, request: Request) -> Any:
    """Calibration by domain, tool or actor."""
    return calibration.breakdown(engine, by=request.word("by") or "domain")


def feedback(engine: Engine, request: Request) -> Any:
    """Calibration in a sentence."""
    return calibration.feedback(engine, domain=request.word("domain"))


def taxonomy(_engine: Engine, _request: Request) -> Any:
    """What may be reported."""
    return outcomes.taxonomy()


def trial(_engine: Engine, request: Request) -> Any:
    """A constraint on trial."""
    return rules.trial(request.body)


def plain(call: Callable[[Engine], Any]) -> Call:
    """A call that needs the engine alone."""
    return lambda engine, _request: call(engine)


def with_body(call: Callable[[Engine, Any], Any]) -> Call:
    """A call with the request's body."""
    return lambda engine, request: call(engine, request.body)


def named(name: str, call: Callable[[Engine, str], Any]) -> Call:
    """A call with a name from the path."""
    return lambda engine, request: call(engine, request.names[name])


def named_body(name: str, call: Callable[[Engine, str, Any], Any]) -> Call:
    """A call with a name from the path and the body."""
    return lambda engine, request: call(engine, request.names[name], request.body)
