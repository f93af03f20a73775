"""How the commands print: results go to stdout, progress and errors to stderr.

What comes from calls, people and files is data: it is printed as it is, never read as markup, and
its control characters are shown as escapes.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn
from unicodedata import category

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

NOT_DONE = 1
BAD_USAGE = 2
# The extra that a package belongs to, for commands that need one.
EXTRAS = {"argon2": "inbox", "jinja2": "inbox", "fastapi": "server", "uvicorn": "server"}
SHORT_KEY = 12  # characters that suffice to find a call


def stdout() -> Console:
    """A console for results."""
    return Console(highlight=False)


def stderr() -> Console:
    """A console for progress, warnings and errors."""
    return Console(stderr=True, highlight=False)


def to_visible(text: str) -> str:
    """Replace what a terminal would obey or hide (control, bidi and invisible characters)."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or category(character) == "Zs"
        else character.encode("unicode_escape").decode()
        for character in text
    )


def print_line(*parts: str | tuple[str, str], to: Console | None = None) -> None:
    """Print one line of data; a part may have a style. The terminal wraps it."""
    styled_parts = [(part, "") if isinstance(part, str) else part for part in parts]
    line = Text.assemble(*((to_visible(text), style) for text, style in styled_parts))
    (to or stdout()).print(line, soft_wrap=True)


def print_fields(fields: Mapping[str, object]) -> None:
    """Print one line for each field that is not empty, with its name."""
    for name, value in fields.items():
        if value not in (None, ""):
            print_line(f"{name:>12}  {value}")


def create_table(title: str) -> Table:
    """A table without borders, 80 columns wide."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=False,
        width=80,
    )


def print_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a table of data; None is an empty cell."""
    table = create_table(title)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(to_visible("" if cell is None else str(cell))) for cell in row))
    stdout().print(table)


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(json.dumps(value, indent=2))


def format_time(timestamp: float) -> str:
    """Format seconds since the epoch as a date and time in UTC."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S")


def shorten_key(key: str) -> str:
    """Return the first characters of a call's key."""
    return key[:SHORT_KEY]


def fail(message: str, code: int = BAD_USAGE) -> NoReturn:
    """Print an error to stderr and exit, by default with the code for bad usage."""
    print_line(("error:", "bold red"), f" {message}", to=stderr())
    raise typer.Exit(code)


@contextmanager
def exit_on_error() -> Iterator[None]:
    """End with a sentence and an exit code where a person can do something about an error."""
    from bighub_langgraph.core.errors import BighubGuardError

    try:
        yield
    except ImportError as error:
        if (extra := EXTRAS.get((error.name or "").partition(".")[0])) is None:
            raise
        fail(f"this needs the {extra} extra: pip install 'bighub-langgraph[{extra}]'")
    except BighubGuardError as error:
        fail(*_describe(error))
    except UnicodeError as error:
        fail(f"a text that was passed is not UTF-8: {error}")
    except OverflowError as error:
        fail(f"a number that was passed is too large: {error}")
    except OSError as error:
        if error.filename is None:  # not of a file, but of the output
            raise
        fail(str(error))


def _describe(error: Exception) -> tuple[str, int]:
    """Return an error's sentence and exit code."""
    from bighub_langgraph.approvals.inbox import ApprovalError, ApprovalNotFound
    from bighub_langgraph.core.approval_answers import InvalidApprovalResponse

    match error:
        case ApprovalNotFound():
            return f"{error}; see `approvals list` or `calls list`", BAD_USAGE
        case ApprovalError() | InvalidApprovalResponse():
            return str(error), NOT_DONE
        case _:
            return str(error), BAD_USAGE
