"""The README's examples run and print what it shows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import README, ROOT, Block, blocks, compare, run_page, runnable, version_of

TEXT = README.read_text(encoding="utf-8")
BLOCKS = blocks(README)
FIRST = next(block.body for block in BLOCKS if block.language == "python")
DEMO = "$ pip install . && bighub-langgraph demo"
TESTS = '$ pip install ".[test]" && pytest'
NUMBER = re.compile(r"\d+(?:\.\d+)?")
DAY = re.compile(r"day +\d+")


def output_after(marker: str) -> Block:
    """The text block after the block that contains a marker."""
    position = next(n for n, block in enumerate(BLOCKS) if marker in block.body)
    output = BLOCKS[position + 1]
    assert output.language == "text"
    return output


def run(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_every_example_runs_as_written_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(README)


def test_the_examples_can_be_pasted_into_the_plain_interpreter(tmp_path: Path) -> None:
    pasted = "\n\n".join(version_of(block, "+") for block, _ in runnable(README))
    ran = subprocess.run(
        [sys.executable, "-i"],
        input=pasted + "\n",
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Error" not in ran.stderr, ran.stderr


def test_the_first_example_is_short_and_prints_what_is_shown() -> None:
    assert len([line for line in FIRST.splitlines() if line.strip()]) < 25
    printed = run(sys.executable, "-W", "error", "-c", FIRST)
    compare(output_after("from langchain_core.language_models"), printed)


def test_the_picture_of_the_graph_is_the_one_that_the_code_draws() -> None:
    graphs = blocks(ROOT / "docs" / "graphs.md")
    [picture] = [block.body for block in graphs if block.language == "mermaid"]
    printed = run(sys.executable, "-c", f"{FIRST}\nprint(agent.get_graph().draw_mermaid())")
    # Older releases of langgraph draw the list of a node's tools as Python prints it.
    assert printed.replace("['refund']", "refund").rstrip().endswith(picture.rstrip())


def test_the_demo_prints_what_is_shown() -> None:
    """The README abridges the demo's output with lines of dots; every other line is printed.

    A number may differ slightly, as other releases of NumPy round another way.
    """
    command = "from bighub_langgraph.cli import main; main()"
    printed = run(sys.executable, "-c", command, "demo").splitlines()
    shown = output_after("bighub-langgraph demo").body.splitlines()
    missing = [line for line in shown if line.strip(" .") and not is_among(line, printed)]
    assert missing == []


def is_among(shown: str, printed: list[str], *, tolerance: float = 2.0) -> bool:
    """Whether a line was printed; its numbers may differ slightly."""

    def numbers(line: str) -> list[float]:
        return [float(number) for number in NUMBER.findall(line)]

    relative = tolerance / 20
    return any(
        words_of(line) == words_of(shown)
        and numbers(line) == pytest.approx(numbers(shown), abs=tolerance, rel=relative)
        for line in printed
    )


def words_of(line: str) -> list[str]:
    """A line's day, if any, and its words without numbers."""
    return [*DAY.findall(line), *NUMBER.sub("", line).split()]


def test_the_two_commands_are_on_the_first_screen() -> None:
    screen = "\n".join(TEXT.splitlines()[:80])
    assert DEMO in screen
    assert TESTS in screen
    assert [block.language for block in BLOCKS if block.body.startswith((DEMO, TESTS))] == [
        "console",
        "console",
    ]


def test_every_file_that_the_readme_links_to_exists() -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", TEXT)
    assert [target for target in targets if not (README.parent / target).exists()] == []
