"""Brings the demo's lines in the README up to date: `python -m tests.refresh_readme`.

A line that is no longer printed is replaced by the one that begins alike.
"""

import subprocess
import sys

from tests.documents import README
from tests.test_readme import is_among, shown_behind

ALIKE = 22


def main() -> None:
    """Run the demo and replace what has changed."""
    command = "from bighub_langgraph.cli import main; main()"
    printed = subprocess.check_output(
        [sys.executable, "-c", command, "demo"], text=True
    ).splitlines()
    text = README.read_text(encoding="utf-8")
    for line in shown_behind("bighub-langgraph demo").body.splitlines():
        if line.strip(" .") and not is_among(line, printed):
            [fresh] = [one for one in printed if one[:ALIKE] == line[:ALIKE]]
            text = text.replace(line, fresh.rstrip())
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
