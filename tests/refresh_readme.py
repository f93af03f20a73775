"""Updates the demo's lines in the README: `python -m tests.refresh_readme`.

A line that is no longer printed is replaced by the printed line with the same beginning.
"""

import subprocess
import sys

from tests.documents import README
from tests.test_readme import is_among, output_after

SAME_START = 22


def main() -> None:
    """Run the demo and replace the changed lines."""
    command = "from bighub_langgraph.cli import main; main()"
    printed = subprocess.check_output(
        [sys.executable, "-c", command, "demo"], text=True
    ).splitlines()
    text = README.read_text(encoding="utf-8")
    for line in output_after("bighub-langgraph demo").body.splitlines():
        if line.strip(" .") and not is_among(line, printed):
            [new_line] = [row for row in printed if row[:SAME_START] == line[:SAME_START]]
            text = text.replace(line, new_line.rstrip())
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
