"""The command line `bighub-langgraph`."""

import io
import signal
import sys
from collections.abc import Callable

__all__ = ["main"]


def main() -> None:
    """Run the command line. The `--help` of each command lists its exit codes."""
    run = _load_commands()
    # A terminal whose encoding lacks a character prints a question mark instead of failing.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    run()


def _load_commands() -> Callable[[], None]:
    """Import the commands; Ctrl-C ends the process meanwhile, without a traceback."""
    raises_error = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if raises_error:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    import typer.main

    from bighub_langgraph.cli.app import app

    command: Callable[[], None] = typer.main.get_command(app)
    if raises_error:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return command
