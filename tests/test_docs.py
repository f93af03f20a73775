"""The documentation is correct and complete: its code runs, and it covers every name and option."""

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
INTEGRATIONS = DOCS / "integrations.md"  # run by test_integrations.py
SAMPLE = ROOT / "notebooks" / "support_desk_runs.jsonl"
PROGRAM = "bighub-langgraph"
# Not run here: they run until stopped, ask, or need data that other commands create.
ONLY_READ = (
    "serve",
    "work",
    "demo --ask",
    "demo --inbox",
    "keys revoke",
    "approvals",
    "calls",
    "inbox",
    "outbox",
    "doctor",
)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page not in {README, WORKERS, INTEGRATIONS} and runnable(page)],
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
    monkeypatch.setenv("BIGHUB_API_KEY", "not used")
    with postgres.database(postgres_server) as url:
        shown_url = "postgresql+psycopg://me@db/agents"
        swaps = {shown_url: url, postgres.plain(shown_url): postgres.plain(url)}
        run_page(WORKERS, swaps, model=ScriptedModel(script=[]), tools=Shop().tools())


@pages
def test_every_block_has_a_known_language(page: Path) -> None:
    languages = {"python", "diff", "text", "console", "json", "mermaid", "sql", "toml", "yaml"}
    languages |= {"ini", "nginx"}  # checked by test_docs_deploy.py
    assert {block.language for block in blocks(page)} <= languages


@pages
def test_every_json_block_is_json(page: Path) -> None:
    for block in blocks(page):
        if block.language == "json":
            json.loads(block.body)


def test_every_page_is_in_the_menu() -> None:
    menu = set(re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert menu == {str(page.relative_to(DOCS)) for page in PAGES if page != README}


def test_every_link_between_pages_has_a_target() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_module_on_the_page_about_the_architecture_exists() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    names = re.findall(r"`((?:\w+/)*\w+(?:\.py|/))`", text)
    places = (Path(bighub_langgraph.__file__).parent, ROOT)
    assert len(names) > 30
    assert [name for name in names if not any((place / name).exists() for place in places)] == []


# The reference


def test_every_public_name_is_in_the_reference() -> None:
    text = (DOCS / "reference.md").read_text(encoding="utf-8")
    missing = [name for name in bighub_langgraph.__all__ if not re.search(rf"\b{name}\b", text)]
    assert missing == []


def test_every_name_in_the_reference_exists() -> None:
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


def find_commands(command: Any, *path: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something by itself, with its name."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from find_commands(inner, *path, name)
    if not hasattr(command, "commands") or (path and command.invoke_without_command):
        yield " ".join(path), command


COMMANDS = dict(find_commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    section = re.search(
        rf"^## {name.split(maxsplit=1)[0]}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert section, f"docs/cli.md has no section about {name}"
    for parameter in COMMANDS[name].params:
        option = parameter.opts[0]
        if option != "--help":
            shown = option if option.startswith("--") else (parameter.name or "").upper()
            assert shown in section[1], f"{name} {option}"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_has_an_example(name: str) -> None:
    shown = CliRunner().invoke(app, [*name.split(), "--help"]).output
    assert "Example" in shown
    assert f"{PROGRAM} {name}" in shown


def shown_commands() -> list[tuple[Block, str]]:
    """The commands of this program that pages show, each once, besides the README's demo."""
    shown: dict[str, Block] = {}
    for page in PAGES:
        for block, line in commands(page):
            parts = [part.strip() for part in line.split("&&")]
            shown |= {part: block for part in parts if part.startswith(f"{PROGRAM} ")}
    shown.pop(f"{PROGRAM} demo")  # takes long, and test_readme.py runs it
    return [(block, line) for line, block in shown.items()]


@pytest.mark.parametrize(("block", "line"), shown_commands(), ids=str)
def test_every_command_that_a_page_shows_works(
    block: Block, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(line, comments=True)[1:]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs.jsonl").write_bytes(SAMPLE.read_bytes())
    if " ".join(words).startswith(ONLY_READ):
        words = check_options(words)
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0, f"{block}: {ran.output}"


def check_options(words: list[str]) -> list[str]:
    """Check that a command has the options, and return the command that shows its help."""
    name = max((name for name in COMMANDS if " ".join(words).startswith(name)), key=len)
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert used <= options, f"{name} has no {used - options}"
    return [*name.split(), "--help"]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_a_command_use_options_that_it_has(name: str) -> None:
    text = COMMANDS[name].callback.__doc__ or ""
    shown = [line.strip() for line in text.splitlines() if line.strip().startswith(f"{PROGRAM} ")]
    assert shown
    for line in shown:
        for part in line.split("&&"):
            check_options(shlex.split(part)[1:])


def test_the_examples_in_docstrings_run() -> None:
    """There are none in Python yet; the first one will be run."""
    for path in sorted(Path(bighub_langgraph.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node) or ""
                assert ">>>" not in text, f"{path.name}: write it as a python block"
                for code in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
                    exec(compile(code, str(path), "exec"), {})


def test_the_script_of_the_picture_of_learning_runs(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    script, picture = DOCS / "pictures" / "learning.py", tmp_path / "learning.svg"
    ran = subprocess.run(
        [sys.executable, script, SAMPLE, picture], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "38 calls, 5 of them bad" in ran.stdout
    assert picture.stat().st_size > 10_000
