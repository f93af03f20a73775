"""The command line `bighub-langgraph`."""

import io
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; what it exits with is said in each command's `--help`."""
    from bighub_langgraph.cli.app import app

    # A terminal that knows no tick mark gets a question mark in its place, not a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app()
