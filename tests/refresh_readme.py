"""Updates what the README shows of the demo: `python -m tests.refresh_readme`.

A line that is no longer printed is replaced by the printed line with the same words. The picture of
the run is drawn again.
"""

import subprocess
import sys

from tests.documents import README, ROOT
from tests.test_readme import is_among, output_after, words_of

PICTURE = ROOT / "docs" / "pictures" / "demo.svg"


def main() -> None:
    """Run the demo, replace the changed lines, and draw the picture."""
    command = "from bighub_langgraph.cli import main; main()"
    printed = subprocess.check_output(
        [sys.executable, "-c", command, "demo", "--chart", str(PICTURE)], text=True
    ).splitlines()
    text = README.read_text(encoding="utf-8")
    for line in output_after("bighub-langgraph demo").body.splitlines():
        if line.strip(" .") and not is_among(line, printed, tolerance=0.0):
            new_line = next(row for row in printed if words_of(row) == words_of(line))
            text = text.replace(line, new_line.rstrip())
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
