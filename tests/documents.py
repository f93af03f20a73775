"""Documentation as a program: its code blocks, and how a page is run from top to bottom."""

import doctest
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^([ ]*)```([\w-]*)[^\n]*\n(.*?)^\1```$", flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    body: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, found.start()) + 2,
            found[2],
            re.sub(rf"^{found[1]}", "", found[3], flags=re.MULTILINE),
        )
        for found in _FENCE.finditer(text)
    ]


def runnable(page: Path) -> list[tuple[Block, Block | None]]:
    """The Python blocks of a page, each with the block that shows its output, if one does.

    That is a `text` block which comes next, whatever prose stands in between.
    """
    all_ = blocks(page)
    return [
        (one, after if after is not None and after.language == "text" else None)
        for one, after in zip_longest(all_, all_[1:])
        if one.language == "python"
    ]


def run_page(page: Path, swaps: Mapping[str, str] | None = None, **given: Any) -> None:
    """Run the Python blocks of a page in order, in one session; compare the outputs it shows.

    `...` in an output stands for anything.

    Args:
        page: The page.
        swaps: What to put for what, such as a real database's URL for the one the page names.
        given: Names that the page leaves to its reader.
    """
    session: dict[str, Any] = {"__name__": "__main__", **given}
    for block, shown in runnable(page):
        printed = io.StringIO()
        # Padded, so that a traceback points into the page.
        text = block.body
        for named, real in (swaps or {}).items():
            text = text.replace(named, real)
        code = compile("\n" * (block.line - 1) + text, str(block.page), "exec")
        with redirect_stdout(printed):
            exec(code, session)
        if shown is not None:
            compare(shown, printed.getvalue())


def compare(shown: Block, printed: str) -> None:
    """Compare an output with what a page shows of it."""
    checker = doctest.OutputChecker()
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert checker.check_output(shown.body, printed, options), (
        f"{shown} shows\n{shown.body}\nbut printed was\n{printed}"
    )


def commands(page: Path) -> Iterator[tuple[Block, str]]:
    """The shell commands that the `console` blocks of a page show."""
    for block in blocks(page):
        if block.language == "console":
            for line in block.body.replace("\\\n", " ").splitlines():
                if line.startswith("$ "):
                    yield block, line.removeprefix("$ ")
