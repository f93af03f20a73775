"""The documentation is true: its code runs, and nothing that exists is missing from it."""

import ast
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import bighub_langgraph
from bighub_langgraph.cli.app import app
from tests import postgres
from tests.agents import ScriptedModel, Shop
from tests.documents import PAGES, README, ROOT, Block, blocks, commands, run_page, runnable

DOCS = ROOT / "docs"
WORKERS = DOCS / "workers.md"
SAMPLE = ROOT / "notebooks" / "support_desk_runs.jsonl"
PROGRAM = "bighub-langgraph"
# Started elsewhere, or for ever, or for something that must be there first.
ONLY_READ = ("serve", "keys revoke", "calls", "outbox", "doctor")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page not in {README, WORKERS} and runnable(page)],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_every_python_block_of_a_page_runs_one_after_the_other(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(page)


def test_the_page_on_workers_runs_on_a_real_postgresql(
    postgres_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIGHUB_API_KEY", "asked for nothing")
    with postgres.database(postgres_server) as url:
        named = "postgresql+psycopg://me@db/agents"
        swaps = {named: url, postgres.plain(named): postgres.plain(url)}
        run_page(WORKERS, swaps, model=ScriptedModel(script=[]), tools=Shop().tools())


@pages
def test_every_block_says_what_it_is(page: Path) -> None:
    known = {"python", "text", "console", "json", "mermaid", "sql", "toml", "yaml"}
    assert {block.language for block in blocks(page)} <= known


@pages
def test_every_json_block_is_json(page: Path) -> None:
    for block in blocks(page):
        if block.language == "json":
            json.loads(block.body)


def test_every_page_is_reached_from_the_menu() -> None:
    menu = set(re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert menu == {str(page.relative_to(DOCS)) for page in PAGES if page != README}


def test_no_link_between_pages_leads_nowhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


# The reference


def test_every_public_name_is_in_the_reference() -> None:
    text = (DOCS / "reference.md").read_text(encoding="utf-8")
    missing = [name for name in bighub_langgraph.__all__ if not re.search(rf"\b{name}\b", text)]
    assert missing == []


def test_the_reference_names_nothing_that_is_not_there() -> None:
    for name in re.findall(r"^::: ([\w.]+)$", (DOCS / "reference.md").read_text(), re.MULTILINE):
        module, _, attribute = name.rpartition(".")
        __import__(module)
        assert getattr(sys.modules[module], attribute).__doc__, name


@pytest.mark.parametrize("name", bighub_langgraph.__all__)
def test_every_public_name_and_method_has_a_docstring(name: str) -> None:
    thing = getattr(bighub_langgraph, name)
    assert thing.__doc__
    if not isinstance(thing, type):
        return
    ours = [cls for cls in thing.__mro__ if cls.__module__.startswith("bighub_langgraph")]
    for cls in ours:
        for attribute, value in vars(cls).items():
            if not attribute.startswith("_") and callable(value):
                assert getattr(thing, attribute).__doc__, f"{name}.{attribute}"


# The command line


def leaves(command: Any, *path: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its name."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, *path, name)
    if not hasattr(command, "commands"):
        yield " ".join(path), command


LEAVES = dict(leaves(typer.main.get_command(app)))


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_and_option_is_documented(name: str) -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    section = re.search(
        rf"^## {name.split(maxsplit=1)[0]}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert section, f"docs/cli.md has no section about {name}"
    for parameter in LEAVES[name].params:
        word = parameter.opts[0]
        if word != "--help":
            shown = word if word.startswith("--") else (parameter.name or "").upper()
            assert shown in section[1], f"{name} {word}"


@pytest.mark.parametrize("name", LEAVES)
def test_the_help_of_every_command_has_an_example(name: str) -> None:
    shown = CliRunner().invoke(app, [*name.split(), "--help"]).output
    assert "Example" in shown
    assert f"{PROGRAM} {name}" in shown


def shown_commands() -> list[tuple[Block, str]]:
    """What pages tell people to type, without installing."""
    found = []
    for page in PAGES:
        for block, line in commands(page):
            parts = [part.strip() for part in line.split("&&")]
            found += [(block, part) for part in parts if part.startswith(f"{PROGRAM} ")]
    return found


@pytest.mark.parametrize(("block", "line"), shown_commands(), ids=str)
def test_every_command_that_a_page_shows_works(
    block: Block, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(line, comments=True)[1:]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs.jsonl").write_bytes(SAMPLE.read_bytes())
    if " ".join(words).startswith(ONLY_READ):
        words = understood(words)
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0, f"{block}: {ran.output}"


def understood(words: list[str]) -> list[str]:
    """The command with its options, but to show its help: refused if an option is unknown."""
    name = max((one for one in LEAVES if " ".join(words).startswith(one)), key=len)
    known = {option for parameter in LEAVES[name].params for option in parameter.opts}
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert used <= known, f"{name} has no {used - known}"
    return [*name.split(), "--help"]


@pytest.mark.parametrize("name", LEAVES)
def test_the_examples_of_a_command_use_options_that_it_has(name: str) -> None:
    text = LEAVES[name].callback.__doc__ or ""
    shown = [line.strip() for line in text.splitlines() if line.strip().startswith(f"{PROGRAM} ")]
    assert shown
    for line in shown:
        for part in line.split("&&"):
            understood(shlex.split(part)[1:])


def test_the_examples_in_docstrings_run() -> None:
    """There are none in Python yet; whoever writes the first one has it run."""
    for path in sorted(Path(bighub_langgraph.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node) or ""
                assert ">>>" not in text, f"{path.name}: write it as a python block"
                for code in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
                    exec(compile(code, str(path), "exec"), {})


def test_the_script_behind_the_picture_of_learning_runs(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    script, picture = DOCS / "pictures" / "learning.py", tmp_path / "learning.svg"
    ran = subprocess.run(
        [sys.executable, script, SAMPLE, picture], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "44 calls, 11 of them bad" in ran.stdout
    assert picture.stat().st_size > 10_000
