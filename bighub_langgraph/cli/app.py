"""The table of commands. Each command imports what it needs when it is called."""

import sys
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bighub_langgraph import __version__
from bighub_langgraph.cli.approvals_commands import approvals
from bighub_langgraph.cli.calls import calls
from bighub_langgraph.cli.console import NOT_DONE, exit_on_error, stderr
from bighub_langgraph.cli.demo.demo_command import demo
from bighub_langgraph.cli.doctor import doctor
from bighub_langgraph.cli.inbox_commands import inbox
from bighub_langgraph.cli.outbox import outbox
from bighub_langgraph.cli.replay.replay_command import replay
from bighub_langgraph.cli.serve import keys, serve
from bighub_langgraph.cli.work import work


class Commands(TyperGroup):
    """The commands. What a person can do something about ends them with a sentence."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line; an output that cannot be written is an error, too."""
        try:
            try:
                return super().main(*args, **options)
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()
        except OSError as error:
            with suppress(OSError):
                sys.stdout.close()  # else Python flushes it once more when it ends
            stderr().print(f"error: the output cannot be written: {error}", markup=False)
            sys.exit(NOT_DONE)

    def invoke(self, ctx: Any) -> Any:
        """Invoke a command."""
        with exit_on_error():
            return super().invoke(ctx)


app = typer.Typer(
    cls=Commands,
    name="bighub-langgraph",
    epilog="Try first: bighub-langgraph demo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command("demo")(demo)
app.command("replay")(replay)
app.command("serve")(serve)
app.command("work")(work)
app.add_typer(keys, name="keys")
app.add_typer(calls, name="calls")
app.add_typer(approvals, name="approvals")
app.add_typer(outbox, name="outbox")
app.add_typer(inbox, name="inbox")
app.command("doctor")(doctor)


def _print_version(value: bool) -> None:
    if value:
        print(f"bighub-langgraph {__version__}")
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Ask BIGHUB before an agent's tool call runs, and learn from the outcomes."""
