"""What the README shows is what one gets."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
PYTHON = [body for language, body in BLOCKS if language == "python"]


def shown_behind(marker: str) -> list[str]:
    """The lines of the text block behind the block that holds a marker."""
    position = next(n for n, (_, body) in enumerate(BLOCKS) if marker in body)
    language, body = BLOCKS[position + 1]
    assert language == "text"
    return body.splitlines()


def run(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_every_example_runs_as_written(number: int) -> None:
    run(sys.executable, "-W", "error", "-c", PYTHON[number])


def test_the_first_example_is_short_and_prints_what_is_shown() -> None:
    lines = [line for line in PYTHON[0].splitlines() if line.strip()]
    assert len(lines) < 25
    printed = run(sys.executable, "-c", PYTHON[0]).splitlines()
    assert printed == shown_behind("from langchain_core.language_models")


def test_the_demo_prints_what_is_shown() -> None:
    """The README cuts the demo's output with lines of dots; every other line is printed."""
    command = "from bighub_langgraph.cli import main; main()"
    printed = run(sys.executable, "-c", command, "demo").splitlines()
    said = {line.rstrip() for line in printed}
    shown = [line.rstrip() for line in shown_behind("bighub-langgraph demo")]
    assert [line for line in shown if line.strip(" .") and line not in said] == []


def test_the_two_commands_stand_on_the_first_screen() -> None:
    screen = "\n".join(README.splitlines()[:80])
    assert '$ pip install . && bighub-langgraph demo' in screen
    assert '$ pip install ".[test]" && pytest' in screen
