"""The `inbox` commands: the approval page, its users and its audit log."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bighub_langgraph.cli import console, options

if TYPE_CHECKING:
    from bighub_langgraph.approvals.accounts import Accounts
    from bighub_langgraph.approvals.web.visitors import TrustedProxy

inbox = typer.Typer()
users = typer.Typer(help="Add, list, change and remove users.", no_args_is_help=True)
inbox.add_typer(users, name="users")
NameArgument = Annotated[str, typer.Argument(help="The user's name.")]
RoleOption = Annotated[
    list[str], typer.Option("--role", help="viewer, approver or admin; and others of your own.")
]


@inbox.callback(invoke_without_command=True)
def serve_inbox(  # noqa: PLR0917 - typer makes options of them
    context: typer.Context,
    location: options.JournalOption = options.DEFAULT_JOURNAL,
    host: options.HostOption = "127.0.0.1",
    port: options.PortOption = 8788,
    public_url: Annotated[
        str | None, typer.Option(help="Where people open the page: an https:// URL.")
    ] = None,
    trusted_header: Annotated[
        str | None, typer.Option(help="The header in which a proxy names who is signed in.")
    ] = None,
    proxy: Annotated[
        list[str] | None, typer.Option(help="The proxy's address or network; repeatable.")
    ] = None,
    proxy_secret_file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A file with the secret the proxy sends."),
    ] = None,
    forwarded_allow_ips: Annotated[
        list[str] | None,
        typer.Option(help="The address of a proxy whose X-Forwarded-For is true; repeatable."),
    ] = None,
    log_format: options.LogFormatOption = "text",
) -> None:
    """Serve the page on which people answer about calls, until Ctrl-C.

    People sign in with the users of `inbox users`, or a proxy signs them in (`--trusted-header`).
    Behind any other proxy pass `--forwarded-allow-ips`: ten failed sign-ins a minute are allowed
    for each client, and without it the proxy counts as one.

    **Examples**

    ```
    bighub-langgraph inbox --journal calls.db
    bighub-langgraph inbox --public-url https://inbox.example.com --forwarded-allow-ips 127.0.0.1
    ```

    Exit codes: 0 stopped, 2 for bad usage or a journal that cannot be opened.
    """
    if context.invoked_subcommand is not None:
        return
    with _open_accounts(location) as accounts:
        from bighub_langgraph.approvals.web.server import serve
        from bighub_langgraph.approvals.web.visitors import Visitors

        trusted_proxy = _read_proxy(trusted_header, proxy_secret_file, proxy or [])
        visitors = Visitors(accounts, public_url=public_url, proxy=trusted_proxy)
        with suppress(KeyboardInterrupt):
            serve(
                accounts,
                visitors,
                host=host,
                port=port,
                forwarded_allow_ips=forwarded_allow_ips or (),
                log_format=log_format,
            )


@users.command("add")
def add_user(
    name: NameArgument,
    role: RoleOption,
    location: options.JournalOption = options.DEFAULT_JOURNAL,
    is_proxied: Annotated[
        bool, typer.Option("--proxied", help="No password: a proxy signs this user in.")
    ] = False,
) -> None:
    """Add a user, whose password is read from the terminal, or else from the first line of stdin.

    A viewer sees everything, an approver also answers, and so does an admin. `ApprovalPolicy(
    approvers=)` may name roles of your own.

    **Examples**

    ```
    bighub-langgraph inbox users add ada --role approver --role finance
    bighub-langgraph inbox users add bob --role viewer --proxied
    ```

    Exit codes: 0 done, 2 for bad usage or a journal that cannot be opened.
    """
    with _open_accounts(location) as accounts:
        accounts.add(
            name, role, None if is_proxied else _read_password(), by=options.find_login_name()
        )
    console.print_line(f"{name} is added")


@users.command("list")
def list_users(
    location: options.JournalOption = options.DEFAULT_JOURNAL, json: options.JsonOption = False
) -> None:
    """List the users and their roles.

    **Example**

    ```
    bighub-langgraph inbox users list
    ```
    """
    with _open_accounts(location) as accounts:
        rows = [(user.name, sorted(user.roles)) for user in accounts.users()]
    if json:
        console.print_json([{"name": name, "roles": roles} for name, roles in rows])
        return
    console.print_table(
        "Users", ("name", "roles"), ((name, " ".join(roles)) for name, roles in rows)
    )


@users.command("role")
def set_user_roles(
    name: NameArgument, role: RoleOption, location: options.JournalOption = options.DEFAULT_JOURNAL
) -> None:
    """Replace a user's roles, effective immediately.

    **Example**

    ```
    bighub-langgraph inbox users role bob --role approver
    ```
    """
    with _open_accounts(location) as accounts:
        user = accounts.set_roles(name, role, by=options.find_login_name())
    console.print_line(f"{name} is {' '.join(sorted(user.roles))}")


@users.command("password")
def set_user_password(
    name: NameArgument, location: options.JournalOption = options.DEFAULT_JOURNAL
) -> None:
    """Replace a user's password, and sign the user out everywhere.

    **Example**

    ```
    bighub-langgraph inbox users password ada
    ```
    """
    with _open_accounts(location) as accounts:
        accounts.set_password(name, _read_password(), by=options.find_login_name())
    console.print_line(f"{name} has a new password")


@users.command("remove")
def remove_user(
    name: NameArgument, location: options.JournalOption = options.DEFAULT_JOURNAL
) -> None:
    """Remove a user, who is signed out everywhere. The user's answers stay.

    **Example**

    ```
    bighub-langgraph inbox users remove bob
    ```
    """
    with _open_accounts(location) as accounts:
        accounts.remove(name, by=options.find_login_name())
    console.print_line(f"{name} is removed")


@inbox.command("audit")
def show_audit(
    location: options.JournalOption = options.DEFAULT_JOURNAL,
    limit: options.LimitOption = 1000,
    json: options.JsonOption = False,
) -> None:
    """Print the audit log: every answer, sign-in and change of a user.

    **Example**

    ```
    bighub-langgraph inbox audit --json
    ```
    """
    with _open_accounts(location) as accounts:
        entries = accounts.audit(limit)
    if json:
        console.print_json([entry._asdict() for entry in entries])
        return
    rows = (
        (
            *(console.format_time(entry.at), entry.who, entry.event, entry.subject),
            ", ".join(f"{name}: {value}" for name, value in entry.details.items() if value),
        )
        for entry in entries
    )
    console.print_table("Audit log", ("at (UTC)", "who", "event", "subject", "details"), rows)


@contextmanager
def _open_accounts(location: str) -> "Iterator[Accounts]":
    from bighub_langgraph.approvals.accounts import Accounts

    with options.open_journal(location) as journal:
        yield Accounts(journal)


def _read_proxy(
    header: str | None, secret_file: Path | None, addresses: list[str]
) -> "TrustedProxy | None":
    """Return the proxy that signs people in, if there is one."""
    from bighub_langgraph.approvals.web.visitors import TrustedProxy

    if header is None and secret_file is None:
        return None
    if header is None or secret_file is None:
        console.fail("--trusted-header and --proxy-secret-file belong together")
    secret = secret_file.read_text(encoding="utf-8").strip()
    return TrustedProxy.of(header, tuple(addresses), secret)


def _read_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password
