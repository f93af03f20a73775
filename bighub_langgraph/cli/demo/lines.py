"""The lines that the demo prints while it runs; they fit 80 columns."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from bighub_langgraph.cli.console import COLOURS
from bighub_langgraph.cli.demo.requests import Later, Request
from bighub_langgraph.cli.demo.seen import Seen

TITLES = ("tool", "on", "value", "recommendation", "conf.", "risk", "verdict", "outcome")
WIDTHS = (14, 6, 7, 20, 6, 4, 8, 8)
OUTCOMES = {"SUCCESS": "green", "FAILURE": "red", "BLOCKED": "yellow"}


def print_line(console: Console, line: Text) -> None:
    """Print a line as one, cut where the terminal ends."""
    console.print(line, no_wrap=True, overflow="ellipsis")


def titles() -> Text:
    """The titles of the columns."""
    return _line([Text(title, "dim") for title in TITLES])


def request_line(number: int, total: int, request: Request) -> Text:
    """Who asks what."""
    line = Text.assemble((f"{number:>2}/{total} ", "dim"), (f"{request.customer}: ", "bold cyan"))
    return line.append(request.text)


def call_line(call: Seen) -> Text:
    """A call: what BIGHUB recommends, what is done about it and how it ended."""
    on = next((str(v) for key, v in call.arguments.items() if key.endswith("_id")), "")
    outcome = Text(call.outcome, OUTCOMES.get(call.outcome, ""))
    if call.verdict is None:
        read = Text.assemble((f" {call.tool} {on}  not asked about", "dim"))
        return read.append("  FAILURE", "red") if call.outcome == "FAILURE" else read
    amount = call.arguments.get("amount")
    answered = {None: "", True: " ✓", False: " ✗"}[call.approved]
    cells = (
        Text(call.tool),
        Text(on, "cyan"),
        Text(f"{amount:.2f}" if isinstance(amount, int | float) else ""),
        Text(call.recommendation, COLOURS.get(call.recommendation, "")),
        Text(call.confidence),
        Text("" if call.risk is None else f"{call.risk:.2f}"),
        Text(f"{call.verdict}{answered}", COLOURS.get(call.verdict, "")),
        outcome,
    )
    return _line(cells)


def later_line(call: Seen, trouble: Later) -> Text:
    """What came to light about an earlier call."""
    line = Text.assemble(("  ↯ ", "red"), (trouble.status, "bold red"))
    return line.append(f" {call.tool} of request {call.request}: {trouble.because}")


def _line(cells: Sequence[Text]) -> Text:
    line = Text.assemble((" ", ""))
    for title, width, cell in zip(TITLES, WIDTHS, cells, strict=True):
        cell.truncate(width, overflow="ellipsis")
        cell.align("right" if title in {"value", "risk"} else "left", width)
        line.append_text(cell).append(" ")
    line.rstrip()
    return line
