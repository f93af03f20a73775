"""The `serve` and `keys` commands: the embedded engine over HTTP, and its API keys."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bighub_langgraph.cli import console, options

if TYPE_CHECKING:
    from bighub_langgraph.local import Engine

LogLevel = Literal["debug", "info", "warning", "error"]
DEFAULT_DATABASE = "bighub.db"
DatabaseOption = Annotated[str, typer.Option("--db", help="A SQLite file or a URL.")]

keys = typer.Typer(help="Create, list and revoke API keys for `serve`.", no_args_is_help=True)


def serve(  # noqa: PLR0917 - typer makes options of them
    location: DatabaseOption = DEFAULT_DATABASE,
    host: options.HostOption = "127.0.0.1",
    port: options.PortOption = 8787,
    max_bad_rate: options.MaxBadRateOption = None,
    confidence_level: options.ConfidenceLevelOption = None,
    settings: options.SettingsOption = None,
    log_level: Annotated[LogLevel, typer.Option(help="The server's log level.")] = "info",
    log_format: options.LogFormatOption = "text",
) -> None:
    """Serve the embedded engine over BIGHUB's HTTP API, until Ctrl-C.

    Other programs reach it with `BIGHUB_BASE_URL=http://127.0.0.1:8787`. To listen on an address
    that other machines can reach, first create a key with `bighub-langgraph keys create`.

    **Examples**

    ```
    bighub-langgraph serve
    bighub-langgraph serve --db postgresql+psycopg://me@db/bighub --host 0.0.0.0 --port 80
    bighub-langgraph serve --max-bad-rate 0.02 --settings engine.toml --log-format json
    ```
    """
    from bighub_langgraph.local.server import PublicWithoutKeys
    from bighub_langgraph.local.server import serve as run_server
    from bighub_langgraph.local.server.connections import check_address

    engine_settings = options.read_settings(settings, max_bad_rate, confidence_level)
    check_address(host, port)
    try:
        with options.exit_on_database_error(location), suppress(KeyboardInterrupt):
            run_server(
                options.database_url(location),
                host=host,
                port=port,
                settings=engine_settings,
                log_level=log_level,
                log_format=log_format,
            )
    except PublicWithoutKeys as error:
        console.fail(str(error))


@keys.command("create")
def create_api_key(
    label: Annotated[str, typer.Argument(help="What the key is for.")],
    location: DatabaseOption = DEFAULT_DATABASE,
    scope: Annotated[
        list[str] | None, typer.Option(help="read, decide, approve or control. All by default.")
    ] = None,
    days: Annotated[float | None, typer.Option(help="Days until the key expires.")] = None,
) -> None:
    """Create a key and print it. It cannot be shown again.

    **Example**

    ```
    bighub-langgraph keys create "support desk" --scope decide --scope read --days 90
    ```
    """
    from bighub_langgraph.local.api_keys import SCOPES, create_key

    with _open_engine(location) as engine:
        try:
            key = create_key(engine, label=label, scopes=tuple(scope or SCOPES), days=days)
        except ValueError as error:
            console.fail(str(error))
    if key["is_first"]:
        console.print_line(
            "this is the first key: from now on a server of this database refuses every request "
            "without a key; give it to the programs that use the server as BIGHUB_API_KEY",
            to=console.stderr(),
        )
    print(key["key"])


@keys.command("list")
def list_api_keys(
    location: DatabaseOption = DEFAULT_DATABASE, json: options.JsonOption = False
) -> None:
    """List the keys, without their secrets.

    **Example**

    ```
    bighub-langgraph keys list --db bighub.db
    ```
    """
    from bighub_langgraph.local.api_keys import list_keys

    with _open_engine(location) as engine:
        api_keys = list_keys(engine)
    if json:
        console.print_json(api_keys)
        return
    names = ("key_id", "label", "scopes", "created_at", "expires_at", "revoked_at")
    rows = (
        [{**key, "scopes": " ".join(key["scopes"])}[name] for name in names] for key in api_keys
    )
    console.print_table("Keys", [name.replace("_", " ") for name in names], rows)


@keys.command("revoke")
def revoke_api_key(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `keys list` shows it.")],
    location: DatabaseOption = DEFAULT_DATABASE,
) -> None:
    """Revoke a key, effective immediately.

    **Example**

    ```
    bighub-langgraph keys revoke key_0123456789ab
    ```
    """
    from bighub_langgraph.local.api_keys import revoke_key
    from bighub_langgraph.local.errors import ApiError

    with _open_engine(location) as engine:
        try:
            revoke_key(engine, key_id)
        except ApiError:
            console.fail(f"no key has the id {key_id!r}; see `bighub-langgraph keys list`")
    console.print_line(f"{key_id} is revoked")


@contextmanager
def _open_engine(location: str) -> "Iterator[Engine]":
    from bighub_langgraph.local import Engine

    with options.exit_on_database_error(location), Engine(options.database_url(location)) as engine:
        yield engine
