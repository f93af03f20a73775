"""The code blocks of the documentation, and a runner for the blocks of a page."""

import doctest
import io
import re
import warnings
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
            text.count("\n", 0, match.start()) + 2,
            match[2],
            re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE),
        )
        for match in _FENCE.finditer(text)
    ]


def runnable(page: Path) -> list[tuple[Block, Block | None]]:
    """The Python and diff blocks of a page, each with the block that shows its output, or None.

    The output is the next block, if it is a `text` block; prose may be between them.
    """
    page_blocks = blocks(page)
    return [
        (block, following if following is not None and following.language == "text" else None)
        for block, following in zip_longest(page_blocks, page_blocks[1:])
        if block.language in {"python", "diff"}
    ]


def version_of(block: Block, sign: str) -> str:
    """One version of a `diff` block: before ("-") or after ("+") the change; else the block."""
    if block.language != "diff":
        return block.body
    lines = block.body.splitlines()
    return "\n".join(line[1:] for line in lines if line.startswith((" ", sign)))


def run_page(page: Path, swaps: Mapping[str, str] | None = None, **names: Any) -> None:
    """Run the Python blocks of a page in order, in one session, and compare the outputs.

    Of a diff both versions run, first the one before the change, which may be deprecated. `...` in
    an output matches anything.

    Args:
        page: The page.
        swaps: Replacements, such as the URL of a real database for the one on the page.
        names: Names that the page expects its reader to define.
    """
    session: dict[str, Any] = {"__name__": "__main__", **names}
    for block, output in runnable(page):
        printed = io.StringIO()
        # Padded, so that the line numbers of a traceback are those of the page.
        for sign in "-+" if block.language == "diff" else "+":
            text = version_of(block, sign)
            for shown_text, replacement in (swaps or {}).items():
                text = text.replace(shown_text, replacement)
            code = compile("\n" * (block.line - 1) + text, str(block.page), "exec")
            with redirect_stdout(printed), warnings.catch_warnings():
                if sign == "-":
                    warnings.simplefilter("ignore", DeprecationWarning)
                exec(code, session)
        if output is not None:
            compare(output, printed.getvalue())


def compare(shown: Block, printed: str) -> None:
    """Compare a printed output with the block that shows it."""
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
