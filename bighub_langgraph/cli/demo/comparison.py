"""What changed because of outcomes, as a table."""

from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from bighub_langgraph.cli.console import plain_table
from bighub_langgraph.cli.demo.seen import Measures, Seen, measure


def comparison(
    first: Sequence[Seen], last: Sequence[Seen], unlearned: Sequence[Seen]
) -> RenderableType:
    """Set the first third beside the last, and the last beside an engine that learned nothing."""
    table = plain_table("What the outcomes changed")
    table.add_column("", ratio=1)
    for title in (
        _requests("first third", first),
        _requests("last third", last),
        "last third,\nunlearned",
    ):
        table.add_column(title, justify="right", min_width=16)
    groups = (first, last, unlearned)
    for name, show in _ROWS.items():
        table.add_row(name, *(show(measure(calls)) for calls in groups))
    table.add_section()
    for tool in _tools([*first, *last]):
        table.add_row(Text(f"risk of {tool}"), *(_risks(tool, calls) for calls in groups))
    return Group(table, "", Text(_LEGEND, "dim"))


_ROWS: dict[str, Callable[[Measures], str]] = {
    "calls BIGHUB was asked about": lambda m: str(m.calls),
    "ran without a person": lambda m: str(m.unasked),
    "a person was asked": lambda m: str(m.asked),
    "blocked at once": lambda m: str(m.blocked),
    "bad ones that ran unasked": lambda m: f"{m.bad_unasked} of {m.bad}",
    "mean risk of good ones": lambda m: _shown(m.risk_of_good),
    "mean risk of bad ones": lambda m: _shown(m.risk_of_bad),
}

_LEGEND = (
    "Unlearned: the same calls put to an engine that was told no outcome. Bad: it failed, or it was"
    " found out later to be fraud or a mistake, or would have been had it run."
)


def _requests(title: str, calls: Sequence[Seen]) -> str:
    numbers = [call.request for call in calls]
    return f"{title},\nrequests {min(numbers)}-{max(numbers)}" if numbers else title


def _tools(calls: Sequence[Seen]) -> list[str]:
    return list(dict.fromkeys(call.tool for call in calls if call.verdict is not None))


def _risks(tool: str, calls: Sequence[Seen]) -> str:
    risks = [call.risk for call in calls if call.tool == tool and call.risk is not None]
    if not risks:
        return "."
    low, high = min(risks), max(risks)
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"


def _shown(risk: float | None) -> str:
    return "." if risk is None else f"{risk:.2f}"
