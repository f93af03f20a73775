"""Options that several commands share, and how the databases that they name are opened."""

import getpass
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bighub_langgraph.cli.console import fail
from bighub_langgraph.json_logs import LogFormat

if TYPE_CHECKING:
    from bighub_langgraph.journal.sql import Journal
    from bighub_langgraph.local import DomainSettings, Settings

DEFAULT_JOURNAL = "calls.db"
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def parse_duration(text: str) -> float:
    """Return the seconds of an age such as 90s, 30m, 12h or 7d."""
    number, unit = text[:-1], text[-1:]
    if not number.isdecimal() or unit not in SECONDS:
        raise typer.BadParameter(f"{text!r} is not an age such as 90s, 30m, 12h or 7d")
    return int(number) * SECONDS[unit]


JournalOption = Annotated[
    str,
    typer.Option("--journal", "--db", envvar="BIGHUB_JOURNAL", help="A SQLite file or a URL."),
]
KeyArgument = Annotated[str, typer.Argument(help="The call's key, or its first characters.")]
ThreadOption = Annotated[str | None, typer.Option(help="Only calls of this thread.")]
ToolOption = Annotated[str | None, typer.Option(help="Only calls of this tool.")]
AgeOption = Annotated[
    float | None,
    typer.Option(parser=parse_duration, metavar="AGE", help="Waiting for 90s, 30m, 12h, 7d."),
]
LimitOption = Annotated[int, typer.Option(min=1, help="How many to list.")]
ByOption = Annotated[str, typer.Option(help="Who decides; your login by default.")]
ReasonOption = Annotated[str, typer.Option(help="Why; the model and BIGHUB read it.")]
BighubOption = Annotated[str | None, typer.Option(help="Instead of BIGHUB_BASE_URL.")]
HostOption = Annotated[str, typer.Option(help="The address to listen on.")]
PortOption = Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LogFormatOption = Annotated[
    LogFormat, typer.Option("--log-format", help="Of the log, which goes to stderr.")
]

# The risk limit of an embedded engine, for every command that starts one; see `read_settings`.
MaxBadRateOption = Annotated[
    float | None,
    typer.Option(help="The share of calls without approval that may go wrong.", show_default="0.1"),
]
ConfidenceLevelOption = Annotated[
    float | None,
    typer.Option(help="The confidence with which the share holds.", show_default="0.95"),
]
SettingsOption = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="The engine's settings, TOML or JSON: `default`, `domains.NAME`.",
    ),
]


def find_login_name() -> str:
    """Get the name of the person at the terminal; in a container without users, their number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def database_url(location: str | None) -> str:
    """Get the URL of a database: from a URL, a SQLite file, or None for a new one in memory."""
    if location is None:
        return "sqlite://"
    _check_location(location)
    return location if "://" in location else f"sqlite:///{location}"


@contextmanager
def open_journal(location: str) -> "Iterator[Journal]":
    """Open an existing journal; exit with code 2 if there is none, so a typo creates no file."""
    from bighub_langgraph.journal.sql import Journal

    _check_location(location)
    if file := find_missing_file(location):
        fail(f"there is no journal {file}; pass --journal or set BIGHUB_JOURNAL")
    with closing(Journal(location)) as journal:
        yield journal


def find_missing_file(location: str) -> str | None:
    """Get the path of a SQLite database whose file does not exist."""
    from bighub_langgraph.sql_engines import parse_location

    url = parse_location(location)
    file = url.database if url.get_backend_name() == "sqlite" else None
    return file if file and not Path(file).is_file() else None


def _check_location(location: str) -> None:
    location.encode()  # raises a `UnicodeEncodeError`, of which the command line tells
    if not location:  # an unset variable of a shell
        fail("the name of a database is empty; pass a SQLite file or a URL")


def read_settings(
    file: Path | None,
    max_bad_rate: float | None,
    confidence_level: float | None,
    *,
    default: "DomainSettings | None" = None,
) -> "Settings":
    """Get an engine's settings from the options; exit with code 2 if they are invalid.

    The two numbers replace those of the file's `default`. A domain in the file has what it does
    not set from `default`.
    """
    from bighub_langgraph.local import DomainSettings, Settings

    try:
        content = {} if file is None else _read_mapping(file)
        options = {"max_bad_rate": max_bad_rate, "confidence_level": confidence_level}
        overrides = {name: value for name, value in options.items() if value is not None}
        table = {**content.pop("default", {}), **overrides}
        base = _parse(DomainSettings, {**asdict(default or DomainSettings()), **table})
        domains = {
            name: _parse(DomainSettings, {**asdict(base), **domain})
            for name, domain in content.pop("domains", {}).items()
        }
        settings: Settings = _parse(Settings, {**content, "default": base, "domains": domains})
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        fail(f"{f'--settings {file}: ' if file else ''}{error}")
    return settings


def _read_mapping(file: Path) -> dict[str, Any]:
    text = file.read_text(encoding="utf-8")
    return dict(json.loads(text) if file.suffix == ".json" else tomllib.loads(text))


def _parse(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """Create a dataclass from values of the right types and no others."""
    from pydantic import TypeAdapter, ValidationError

    names = [field.name for field in fields(kind)]
    if unknown := [name for name in values if name not in names]:
        raise ValueError(f"no setting is called {unknown[0]!r}; settings are {', '.join(names)}")
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        fault = error.errors()[0]
        raise ValueError(": ".join([*map(str, fault["loc"]), fault["msg"]])) from error


@contextmanager
def exit_on_database_error(location: str | None) -> Iterator[None]:
    """Report a database error in one line and exit with code 2."""
    from sqlalchemy.exc import SQLAlchemyError

    from bighub_langgraph.core.errors import BighubGuardError
    from bighub_langgraph.core.redaction import mask_passwords

    try:
        yield
    except (BighubGuardError, SQLAlchemyError, ImportError) as error:
        option = "" if location is None else f"--db {location}: "
        fail(mask_passwords(f"{option}{str(error).splitlines()[0]}"))
