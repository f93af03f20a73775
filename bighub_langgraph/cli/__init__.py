"""The command line `bighub-langgraph`."""

import io
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line. The `--help` of each command lists its exit codes."""
    from bighub_langgraph.cli.app import app

    # A terminal whose encoding lacks a character prints a question mark instead of failing.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app()
