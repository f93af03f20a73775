"""Compare the demo's first and last calls, and both with an engine without outcomes."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from rich.console import Group, RenderableType
from rich.text import Text

from bighub_langgraph import BighubGuard
from bighub_langgraph.cli.console import create_table
from bighub_langgraph.cli.demo.support_desk import DemoCall
from bighub_langgraph.core.decision import resolve_verdict
from bighub_langgraph.core.models import Verdict

Calls = Sequence[DemoCall]

LEGEND = (
    "No outcomes: the same calls, evaluated by an engine that received no outcomes. Bad: the call"
    " failed, or was fraud or a mistake, or would have been if it had been executed."
)


def compare_thirds(calls: Calls, requests: int, new_guard: BighubGuard) -> RenderableType:
    """Get a table of the requests' first third, their last, and the last without outcomes."""
    size = requests // 3
    evaluated = [call for call in calls if call.verdict is not None]
    first = [call for call in evaluated if call.request <= size]
    last = [call for call in evaluated if call.request > requests - size]
    groups = {
        f"first third,\nrequests 1-{size}": first,
        f"last third,\nrequests {requests - size + 1}-{requests}": last,
        "last third,\nno outcomes": [_evaluate_again(call, new_guard) for call in last],
    }
    table = create_table("What the outcomes changed")
    table.add_column("", ratio=1)
    for title in groups:
        table.add_column(title, justify="right", min_width=14)
    for name, summarize in ROWS.items():
        table.add_row(name, *map(summarize, groups.values()))
    return Group(table, "", Text(LEGEND, "dim"))


def _evaluate_again(call: DemoCall, guard: BighubGuard) -> DemoCall:
    decision = guard.evaluate(call.tool, call.arguments, session=f"no-outcomes-{call.request}")
    return replace(call, verdict=resolve_verdict(decision), risk=decision.risk_score)


def _count(verdict: Verdict) -> Callable[[Calls], str]:
    return lambda calls: str(sum(call.verdict is verdict for call in calls))


def _bad_without_approval(calls: Calls) -> str:
    bad = [call for call in calls if call.is_bad]
    return f"{sum(call.verdict is Verdict.EXECUTE for call in bad)} of {len(bad)}"


def _mean_risk(*, is_bad: bool) -> Callable[[Calls], str]:
    def mean(calls: Calls) -> str:
        risks = [call.risk for call in calls if call.risk is not None and call.is_bad is is_bad]
        return f"{sum(risks) / len(risks):.2f}" if risks else "."

    return mean


ROWS: dict[str, Callable[[Calls], str]] = {
    "calls evaluated": lambda calls: str(len(calls)),
    "executed without approval": _count(Verdict.EXECUTE),
    "reviewed by a person": _count(Verdict.REVIEW),
    "blocked": _count(Verdict.BLOCK),
    "bad calls executed without approval": _bad_without_approval,
    "mean risk of good calls": _mean_risk(is_bad=False),
    "mean risk of bad calls": _mean_risk(is_bad=True),
}
