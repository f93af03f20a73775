"""What the commands print with: results on stdout, everything about the run on stderr."""

from typing import NoReturn

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

BAD_USAGE = 2

COLOURS = {
    "proceed": "green",
    "proceed_with_caution": "yellow",
    "review_recommended": "dark_orange",
    "do_not_proceed": "red",
    "execute": "green",
    "review": "dark_orange",
    "block": "red",
}


def stdout() -> Console:
    """A console for results."""
    return Console(highlight=False)


def stderr() -> Console:
    """A console for progress, warnings and errors."""
    return Console(stderr=True, highlight=False)


def progress(console: Console, *, wanted: bool = True) -> Progress:
    """A progress bar that is gone when it is done; where there is no terminal, nothing."""
    shown = wanted and console.is_terminal
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    if not shown:  # older releases of rich end a disabled bar with an empty line
        console = Console(quiet=True)
    return Progress(*columns, console=console, transient=True, disable=not shown)


def plain_table(title: str) -> Table:
    """A table without walls, 80 columns wide."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=False,
        width=80,
    )


def stop(reason: str, code: int = BAD_USAGE) -> NoReturn:
    """Say what is wrong and what to change, and leave; with exit code 2 unless told otherwise."""
    stderr().print(f"[bold red]error:[/] {escape(reason)}", soft_wrap=True)
    raise typer.Exit(code)
