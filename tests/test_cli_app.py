"""The command line as a whole: help, version, exit codes, and what it imports."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bighub_langgraph import Journal, __version__
from bighub_langgraph.cli.app import app

COMMANDS = [
    *("demo", "replay", "doctor", "calls list", "calls show", "calls resolve", "calls prune"),
    *("outbox list", "outbox flush", "outbox requeue"),
]


def test_the_version_is_the_packages() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"bighub-langgraph {__version__}\n")


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert all(command.split()[0] in result.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_shows_examples_and_exit_codes(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert f"bighub-langgraph {command}" in result.stdout
    assert "Exit codes" in result.stdout


@pytest.mark.parametrize("arguments", [["fly"], ["demo", "--fly"], ["demo", "--approve", "maybe"]])
def test_bad_usage_ends_with_two_and_says_so_on_stderr(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage" in result.stderr


def test_nothing_heavy_is_loaded_before_a_command_runs() -> None:
    heavy = ["langgraph", "langchain_core", "numpy", "sqlalchemy", "openai", "bighub", "pydantic"]
    program = (
        "import sys; import bighub_langgraph.cli.app; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert result.stdout == b"[]\n"


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("argon2", ["inbox", "users", "list"], "inbox"),
        ("jinja2", ["demo", "--inbox"], "inbox"),
        ("uvicorn", ["serve"], "server"),
    ],
)
def test_a_command_without_its_extra_says_how_to_install_it(
    module: str, arguments: list[str], extra: str, tmp_path: Path
) -> None:
    Journal(tmp_path / "calls.db").close()
    program = f"import sys; sys.modules[{module!r}] = None; from bighub_langgraph.cli import main"
    command = [sys.executable, "-c", f"{program}; main()", *arguments]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    words = " ".join(result.stderr.split())
    assert words == f"error: this needs the {extra} extra: pip install 'bighub-langgraph[{extra}]'"
