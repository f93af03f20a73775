"""How the commands print: results go to stdout, progress and errors to stderr."""

import json
from datetime import UTC, datetime
from typing import Any, NoReturn

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

BAD_USAGE = 2
SHORT_KEY = 12  # characters that suffice to find a call


def stdout() -> Console:
    """A console for results."""
    return Console(highlight=False)


def stderr() -> Console:
    """A console for progress, warnings and errors."""
    return Console(stderr=True, highlight=False)


def create_table(title: str, *columns: str) -> Table:
    """A table without borders, 80 columns wide."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=False,
        width=80,
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(json.dumps(value, indent=2))


def format_time(timestamp: float) -> str:
    """Format seconds since the epoch as a date and time in UTC."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S")


def fail(message: str, code: int = BAD_USAGE) -> NoReturn:
    """Print an error to stderr and exit, by default with the code for bad usage."""
    stderr().print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    raise typer.Exit(code)
