"""What a run of the demo comes to: approvals by week, bad calls, and costs. All is counted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

from bighub_langgraph.cli.demo.support_desk import DemoCall, SimulatedPerson
from bighub_langgraph.cli.demo.world import DAY
from bighub_langgraph.core.models import Verdict

WEEK = 7 * DAY
REVIEW_COST = 4.0  # of a person's time, for an approval, or to do by hand what was held up
RECOMMENDATIONS = ("proceed", "proceed_with_caution", "review_recommended", "do_not_proceed")
STATUSES = ("executed", "blocked", "approval_required", "tool_error")


@dataclass(frozen=True, slots=True)
class WeekSummary:
    """What a week's evaluated calls came to.

    Attributes:
        approvals: Approvals that were asked for.
        automatic: Calls executed without approval.
        bad_automatic: Those of them that went wrong, at once or later.
    """

    calls: int
    approvals: int
    automatic: int
    bad_automatic: int
    blocked: int

    @property
    def approvals_per_hundred(self) -> float:
        """How many approvals were asked for a hundred calls."""
        return 100 * self.approvals / self.calls if self.calls else 0.0


@dataclass(frozen=True, slots=True)
class Costs:
    """What people's time and bad calls cost: with the guard, and without it in two ways."""

    guard: float
    ask_always: float
    ask_never: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What all calls came to.

    Attributes:
        recommendations: How many calls had each of the four recommendations.
        statuses: How many calls had each of the four statuses, at some time.
        cost_series: The costs up to each call, by the fields of `Costs`.
    """

    requests: int
    weeks: Sequence[WeekSummary]
    total: WeekSummary
    bad: int
    recommendations: Mapping[str, int]
    statuses: Mapping[str, int]
    cost_series: Mapping[str, Sequence[float]]

    @property
    def costs(self) -> Costs:
        """The costs of all calls."""
        return Costs(**{name: each[-1] if each else 0.0 for name, each in self.cost_series.items()})

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON-compatible values."""
        weeks = [
            {**asdict(week), "approvals_per_hundred": round(week.approvals_per_hundred, 1)}
            for week in (*self.weeks, self.total)
        ]
        costs = {name: round(cost, 2) for name, cost in asdict(self.costs).items()}
        return {
            "requests": self.requests,
            "weeks": weeks[:-1],
            "total": weeks[-1],
            "bad_calls": self.bad,
            "recommendations": dict(self.recommendations),
            "statuses": dict(self.statuses),
            "costs": {**costs, "review": REVIEW_COST},
        }


def summarize(calls: Sequence[DemoCall], person: SimulatedPerson, requests: int) -> Summary:
    """Summarize the evaluated calls of a run."""
    evaluated_calls = [call for call in calls if call.verdict is not None]
    weeks: dict[int, list[DemoCall]] = {}
    for call in evaluated_calls:
        weeks.setdefault(int(call.request.at // WEEK), []).append(call)
    recommendations = Counter(call.recommendation for call in evaluated_calls)
    statuses = Counter(status for call in evaluated_calls for status in set(call.statuses))
    return Summary(
        requests=requests,
        weeks=[_summarize_week(weeks.get(week, [])) for week in range(max(weeks, default=-1) + 1)],
        total=_summarize_week(evaluated_calls),
        bad=sum(call.is_bad for call in evaluated_calls),
        recommendations={name: recommendations[name] for name in RECOMMENDATIONS},
        statuses={name: statuses[name] for name in STATUSES},
        cost_series=_accumulate_costs(evaluated_calls, person),
    )


def _summarize_week(calls: Sequence[DemoCall]) -> WeekSummary:
    automatic = [call for call in calls if call.is_automatic]
    return WeekSummary(
        calls=len(calls),
        approvals=sum(call.verdict is Verdict.REVIEW for call in calls),
        automatic=len(automatic),
        bad_automatic=sum(call.is_bad for call in automatic),
        blocked=sum(call.verdict is Verdict.BLOCK for call in calls),
    )


def _accumulate_costs(calls: Sequence[DemoCall], person: SimulatedPerson) -> dict[str, list[float]]:
    costs = {
        "guard": [
            _compute_cost(
                call, is_asked=call.verdict is Verdict.REVIEW, runs=call.status != "blocked"
            )
            for call in calls
        ],
        "ask_always": [
            _compute_cost(call, is_asked=True, runs=person.approves(call.request)) for call in calls
        ],
        "ask_never": [_compute_cost(call, is_asked=False, runs=True) for call in calls],
    }
    return {name: list(accumulate(each)) for name, each in costs.items()}


def _compute_cost(call: DemoCall, *, is_asked: bool, runs: bool) -> float:
    """The cost of a call: of a person who is asked, and of a bad call run or a good one held up."""
    held_up = 0.0 if call.is_bad else REVIEW_COST
    return REVIEW_COST * is_asked + (call.loss if runs else held_up)
