"""A replay's counts as tables for people; they fit 80 columns."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bighub_langgraph.cli.console import plain_table
from bighub_langgraph.cli.replay.shadow import Judged
from bighub_langgraph.cli.replay.tally import POLICIES, Tally, by_effect, by_tool, tally


def tables(calls: Sequence[Judged]) -> RenderableType:
    """What would have happened by tool, and against executing or reviewing everything."""
    return Group(_by_tool(calls), "", _against(calls), "", _legend(calls))


def _by_tool(calls: Sequence[Judged]) -> Table:
    trajectories = len({judged.call.trajectory for judged in calls})
    table = plain_table(f"{len(calls)} calls of {trajectories} trajectories; none was executed")
    table.add_column("tool", overflow="fold", ratio=1)
    for title, colour in _COLUMNS.items():
        table.add_column(title, justify="right", style=colour, min_width=6)
    groups = by_effect(calls)
    for title, group in groups.items():
        for tool, made in by_tool(group).items():
            table.add_row(Text(tool), *_counts(tally(made)))
        table.add_section()
        table.add_row(f"all that {title}", *_counts(tally(group)), style="bold")
        table.add_section()
    return table


_COLUMNS = {
    "calls": "",
    "execute": "green",
    "review": "dark_orange",
    "block": "red",
    "bad\ncaught": "",
    "good\nheld up": "",
}


def _counts(counted: Tally) -> Iterable[str]:
    for count in (counted.calls, counted.execute, counted.review, counted.block):
        yield str(count or ".")
    yield _share(counted.caught, counted.bad)
    yield _share(counted.held_up, counted.good)


def _against(calls: Sequence[Judged]) -> Table:
    table = plain_table("Against plain policies")
    table.add_column("policy", ratio=1)
    for title in ("bad run\nunasked", "good\nheld up", "good\nblocked", "a person\nasked"):
        table.add_column(title, justify="right")
    for title, group in by_effect(calls).items():
        table.add_row(f"{len(group)} that {title}", style="bold")
        for name, policy in POLICIES.items():
            table.add_row(f"  {name}", *_costs(tally(group, policy)))
        table.add_section()
    return table


def _costs(counted: Tally) -> Iterable[str]:
    yield _share(counted.let_through, counted.bad)
    yield _share(counted.held_up, counted.good)
    yield _share(counted.good_blocked, counted.good)
    yield str(counted.review or ".")


def _legend(calls: Sequence[Judged]) -> Text:
    untold = sum(call.bad is None for call in calls)
    told = f" {untold} calls have no recorded outcome and count as neither." if untold else ""
    return Text(
        "Bad: the recording says that it failed or was not as intended. Caught: it would not have"
        f" run unasked. Held up: it would have waited for a person or been blocked.{told}",
        style="dim",
    )


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}" if whole else "."
