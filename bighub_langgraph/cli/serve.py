"""`serve` and `keys`: the embedded engine over HTTP, and who may ask it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bighub_langgraph.cli.console import plain_table, stdout, stop
from bighub_langgraph.cli.database import database_url

if TYPE_CHECKING:
    from bighub_langgraph.local import Engine

Database = Annotated[
    str,
    typer.Option("--db", help="What the engine knows: the path of a SQLite file, or a URL."),
]


def serve(
    db: Database = "bighub.db",
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")] = 8787,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve the embedded engine by BIGHUB's own API, until Ctrl-C.

    Other programs ask it with `BIGHUB_BASE_URL=http://127.0.0.1:8787`. An address that other
    machines can reach is refused until a key was made with `bighub-langgraph keys create`.

    **Examples**

    ```
    bighub-langgraph serve
    bighub-langgraph serve --db postgresql+psycopg://me@db/bighub --host 0.0.0.0 --port 80
    ```
    """
    try:
        from bighub_langgraph.local.server import PublicWithoutKeys
        from bighub_langgraph.local.server import serve as run
    except ImportError:
        stop("serving needs the server extra: pip install 'bighub-langgraph[server]'")
    if log_level not in _LOG_LEVELS:
        stop(f"--log-level is one of {', '.join(_LOG_LEVELS)}, not {log_level!r}")
    try:
        with _database(db), suppress(KeyboardInterrupt):
            run(database_url(db), host=host, port=port, log_level=log_level)
    except PublicWithoutKeys as error:
        stop(str(error))


keys = typer.Typer(help="Make, list and revoke the keys of `serve`.", no_args_is_help=True)

_LOG_LEVELS = ("debug", "info", "warning", "error")


@keys.command("create")
def create(
    label: Annotated[str, typer.Argument(help="What the key is for.")],
    db: Database = "bighub.db",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="read, decide or control; several times for several. All by default."),
    ] = None,
    days: Annotated[float | None, typer.Option(help="How long it is good, in days.")] = None,
) -> None:
    """Make a key and print it: the only time that it can be read.

    **Example**

    ```
    bighub-langgraph keys create "support desk" --scope decide --scope read --days 90
    ```
    """
    from bighub_langgraph.local.keys import SCOPES, create_key

    with _opened(db) as engine:
        try:
            made = create_key(engine, label=label, scopes=tuple(scope or SCOPES), days=days)
        except ValueError as error:
            stop(str(error))
    print(made["key"])


@keys.command("list")
def listed(
    db: Database = "bighub.db",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """List the keys, without their secrets.

    **Example**

    ```
    bighub-langgraph keys list --db bighub.db
    ```
    """
    from bighub_langgraph.local.keys import list_keys

    with _opened(db) as engine:
        found = list_keys(engine)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    table = plain_table("Keys")
    names = list(found[0]) if found else ["key_id"]
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for one in found:
        table.add_row(*[_cell(one[name]) for name in names])
    stdout().print(table)


@keys.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `keys list` shows it.")],
    db: Database = "bighub.db",
) -> None:
    """End a key at once.

    **Example**

    ```
    bighub-langgraph keys revoke key_0123456789ab
    ```
    """
    from bighub_langgraph.local.faults import Refused
    from bighub_langgraph.local.keys import revoke_key

    with _opened(db) as engine:
        try:
            revoke_key(engine, key_id)
        except Refused:
            stop(f"no key has the id {key_id!r}; see `bighub-langgraph keys list`")
    print(f"{key_id} is revoked")


@contextmanager
def _opened(db: str) -> "Iterator[Engine]":
    from bighub_langgraph.local import Engine

    with _database(db), Engine(database_url(db)) as engine:
        yield engine


@contextmanager
def _database(db: str) -> Iterator[None]:
    """Turn what a database refuses into one line and exit code 2."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, ImportError, OSError) as error:
        stop(f"--db {db}: {str(error).splitlines()[0]}")


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return "" if value is None else str(value)
