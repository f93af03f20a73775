"""What the demo shows: a live view on a terminal, plain lines elsewhere, and a closing panel."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bighub_langgraph.cli.console import create_table, to_visible
from bighub_langgraph.cli.demo.demo_run import DemoRun
from bighub_langgraph.cli.demo.summary import (
    RECOMMENDATIONS,
    REVIEW_COST,
    STATUSES,
    Summary,
    WeekSummary,
)
from bighub_langgraph.cli.demo.support_desk import DemoCall
from bighub_langgraph.cli.demo.world import DAY
from bighub_langgraph.core.models import Verdict
from bighub_langgraph.local import DomainSettings

WIDTH = 80
RECENT = 8
REFRESH = 0.1  # seconds between two pictures
STYLES = {
    **dict.fromkeys(("proceed", "executed"), "green"),
    **dict.fromkeys(("proceed_with_caution", "approval_required"), "yellow"),
    **dict.fromkeys(("review_recommended", "blocked"), "dark_orange"),
    **dict.fromkeys(("do_not_proceed", "tool_error"), "red"),
}


class View:
    """Shows a run while it goes on; this one shows nothing."""

    def update(self, run: DemoRun) -> None:
        """Show the run after one more request."""

    def pause(self) -> AbstractContextManager[None]:
        """Show nothing meanwhile, as a person is asked at the terminal."""
        return nullcontext()


class LinesView(View):
    """Prints a line for each day, and for each recommendation and status its first call."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._labels: set[str] = set()
        self._day, self._day_start, self._call_count = 0, 0, 0

    def update(self, run: DemoRun) -> None:
        """Print what is new after a request."""
        day = int(run.clock.seconds // DAY)
        if day > self._day:
            self._print_day(run.calls[self._day_start : self._call_count], run)
            self._day, self._day_start = day, self._call_count
        for call in run.calls[self._call_count :]:
            new = {call.recommendation, *call.statuses} - self._labels
            if call.verdict is not None and new:
                self._labels |= new
                print_line(self._console, format_call(call))
        self._call_count = len(run.calls)
        if run.served_count == len(run.world.requests):
            self._print_day(run.calls[self._day_start :], run)

    def _print_day(self, calls: list[DemoCall], run: DemoRun) -> None:
        counts = Counter(call.verdict for call in calls if call.verdict is not None)
        line = (
            f"day {self._day + 1:>2}: {counts.total():>2} calls, "
            f"{counts[Verdict.REVIEW]:>2} approvals asked, {counts[Verdict.BLOCK]:>2} blocked; "
            f"at risk {run.at_risk:>7.2f}, lost {run.losses:>7.2f}"
        )
        print_line(self._console, Text(line))


class LiveView(View):
    """Redraws the run's state and its latest calls on a terminal."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._next = 0.0

    def update(self, run: DemoRun) -> None:
        """Redraw, unless that was just done."""
        is_last = run.served_count == len(run.world.requests)
        if is_last or time.monotonic() >= self._next:
            self._next = time.monotonic() + REFRESH
            self._live.update(draw(run), refresh=True)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Take the picture away while a person is asked."""
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()


@contextmanager
def open_view(console: Console, *, is_silent: bool) -> Iterator[View]:
    """Open the view that fits the console."""
    if is_silent:
        yield View()
    elif console.is_terminal and not console.is_dumb_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield LiveView(live)
    else:
        yield LinesView(console)


def draw(run: DemoRun) -> RenderableType:
    """Draw the state of a run: how far it is, what was asked, the money, and the latest calls."""
    calls = [call for call in run.calls if call.verdict is not None]
    approvals = [call.verdict is Verdict.REVIEW for call in calls]
    latest_approvals = approvals[-50:]
    rate = f"{100 * sum(latest_approvals) / len(latest_approvals):.0f}" if calls else ""
    automatic = [call for call in calls if call.is_automatic]
    bad = sum(call.is_bad for call in automatic)
    grid = Table.grid(padding=(0, 2))
    for _ in range(2):
        grid.add_column(style="dim")
        grid.add_column(justify="right", min_width=9)
    grid.add_row("day", f"{int(run.clock.seconds // DAY) + 1}", "calls", f"{len(calls)}")
    grid.add_row("approvals asked", f"{sum(approvals)}", "of the last 50, per hundred", rate)
    grid.add_row("without approval", f"{len(automatic)}", "bad ones among them", f"{bad}")
    grid.add_row("money at risk", f"{run.at_risk:.2f}", "lost so far", f"{run.losses:.2f}")
    outer = Table.grid()  # in a table, as a bar alone ends without a line break
    outer.add_row(ProgressBar(len(run.world.requests), run.served_count, width=WIDTH - 4))
    outer.add_row(grid)
    lines = [format_call(call, WIDTH - 4) for call in calls[-RECENT:]]
    content = Group(outer, Text(), *lines)
    return Panel(content, title="a support desk's month", width=WIDTH)


def print_line(console: Console, line: Text) -> None:
    """Print one line, cut at the width of the terminal."""
    console.print(line, no_wrap=True, overflow="ellipsis")


def format_call(call: DemoCall, width: int = WIDTH) -> Text:
    """Format a call: the money, BIGHUB's recommendation and risk, and the statuses."""
    ids = (str(value) for key, value in call.arguments.items() if key.endswith("_id"))
    risk = "" if call.risk is None else f"{call.risk:.2f}"
    line = Text.assemble(
        f"{to_visible(call.tool):<14.14} ",
        (f"{to_visible(next(ids, '')):<7.7} ", "cyan"),
        f"{call.stake:>6.2f} ",
        (f"{to_visible(call.recommendation):<20.20} ", STYLES.get(call.recommendation, "")),
        f"{risk:>4} ",
    )
    answer = {None: "", True: "approved, ", False: "rejected, "}[call.is_approved]
    line.append(answer + call.status, STYLES.get(call.status, ""))
    line.truncate(width)
    return line


# -- the closing panel -----------------------------------------------------------------------------


def format_introduction(
    *, days: int, requests: int, model: str | None, person: str, limit: DomainSettings
) -> Text:
    """Get the text that explains the run."""
    share = "any share" if limit.max_bad_rate is None else f"at most {limit.max_bad_rate:.0%}"
    return Text.assemble(
        ("A support desk that learns\n", "bold"),
        f"{requests} requests in {days} simulated days, from honest and dishonest customers.\n"
        "The embedded BIGHUB evaluates each call that changes something, and receives its\n"
        "outcome afterwards, of frauds days later. It lets calls run without approval\n"
        f"while it is {limit.confidence_level:.0%} confident that {share} of them go wrong.\n\n",
        ("model     ", "dim"),
        f"{model}\n" if model else "a script, no LLM\n",
        ("approvals ", "dim"),
        f"{person}\n",
    )


def format_summary(summary: Summary, limit: DomainSettings) -> RenderableType:
    """Format the closing panel, in 80 columns."""
    table = create_table("Week by week")
    table.add_column("")
    for number in range(1, len(summary.weeks) + 1):
        table.add_column(f"week {number}", justify="right", min_width=8)
    table.add_column("all", justify="right", min_width=8)
    weeks = [*summary.weeks, summary.total]
    for title, count in _ROWS.items():
        table.add_row(title, *(count(week) for week in weeks))
    total, costs = summary.total, summary.costs
    share = f" ({total.bad_automatic / total.automatic:.1%})" if total.automatic else ""
    risk_limit = "no limit is set"
    if limit.max_bad_rate is not None:
        risk_limit = f"the limit is {limit.max_bad_rate:.0%} at {limit.confidence_level:.0%}"
    lines = Text.assemble(
        *_format_counts("recommendations", RECOMMENDATIONS, summary.recommendations),
        *_format_counts("statuses", STATUSES, summary.statuses),
        f"\nBad calls executed without approval: {total.bad_automatic} of {total.automatic}{share}",
        f"; {risk_limit}.\n",
        f"Cost of people's time and bad calls: {costs.guard:.2f}.\n",
        *_format_saving("always", costs.ask_always, costs.guard),
        *_format_saving("never", costs.ask_never, costs.guard),
        (f"An approval costs {REVIEW_COST:.2f}, so does a good call that is held up.\n", "dim"),
        ("A fraud or a mistake costs what it lost.", "dim"),
    )
    return Group(table, Text(), lines)


Part = str | tuple[str, str]

_ROWS: dict[str, Callable[[WeekSummary], str]] = {
    "calls evaluated": lambda week: f"{week.calls}",
    "approvals asked": lambda week: f"{week.approvals}",
    "approvals per 100 calls": lambda week: f"{week.approvals_per_hundred:.0f}",
    "executed without approval": lambda week: f"{week.automatic}",
    "bad ones among these": lambda week: f"{week.bad_automatic}",
    "blocked": lambda week: f"{week.blocked}",
}


def _format_counts(title: str, names: tuple[str, ...], counts: Mapping[str, int]) -> Iterator[Part]:
    yield (f"{title}\n", "bold")
    for name in names:
        yield (f"  {name} ", STYLES[name])
        yield f"{counts[name]}"
    yield "\n"


def _format_saving(name: str, cost: float, guard: float) -> Iterator[str]:
    word = "saved" if cost >= guard else "more"
    yield f"  asking {name:<6} {cost:>9.2f}   {word} {abs(cost - guard):>9.2f}\n"
