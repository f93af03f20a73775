"""The command line as a whole: help, version, exit codes, and what it imports."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bighub_langgraph import Journal, __version__
from bighub_langgraph.cli.app import app
from tests.cli_journal import AWAITING, FILE, create_journal

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


def run_program(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[bytes]":
    program = "from bighub_langgraph.cli import main; main()"
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, check=False, **options)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device of a full disk")
@pytest.mark.parametrize("arguments", [["--help"], ["calls", "list"], ["calls", "list", "--json"]])
def test_an_output_that_cannot_be_written_ends_with_one_and_a_sentence(
    arguments: list[str], tmp_path: Path
) -> None:
    create_journal(tmp_path).close()
    with Path("/dev/full").open("wb") as full:
        result = run_program(*arguments, stdout=full, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr == (
        b"error: the output cannot be written: [Errno 28] No space left on device\n"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["calls", "list", "--journal", "x" * 300], "File name too long"),
        (["calls", "list", "--limit", "9" * 30], "a number that was passed is too large"),
        (["calls", "show", "\udcff"], "a text that was passed is not UTF-8"),
        (["keys", "list", "--db", "\udcff"], "a text that was passed is not UTF-8"),
        (["keys", "list", "--db", ""], "the name of a database is empty"),
        (["calls", "list", "--journal", ""], "the name of a database is empty"),
        (["keys", "create", "desk", "--days", "nan"], "a key expires in up to 36,500 days"),
        (["outbox", "flush", "--bighub", ""], "the name of a database is empty"),
    ],
)
def test_a_value_that_cannot_be_used_ends_with_two_and_a_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_journal(tmp_path).close()
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr.replace("\n", " ")


def test_a_password_that_is_not_utf_8_ends_with_two_and_a_sentence(tmp_path: Path) -> None:
    create_journal(tmp_path).close()
    result = run_program(
        *("inbox", "users", "add", "ada", "--role", "viewer"),
        input=b"\xff\xfe\n",
        stdout=subprocess.DEVNULL,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
    )
    assert result.returncode == 2
    assert b"error: a text that was passed is not UTF-8" in result.stderr
    assert b"Traceback" not in result.stderr


def test_a_process_whose_user_has_no_name_can_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = create_journal(tmp_path)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54_321)
    path = str(tmp_path / FILE)
    result = CliRunner().invoke(
        app, ["calls", "cancel", "ffff", "--reason", "x", "--journal", path]
    )
    assert result.exit_code == 0
    assert "54321" in str(journal.admin.history(AWAITING))
    journal.close()


def test_ctrl_c_while_the_commands_are_imported_prints_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    result = run_program(
        "--version", stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert (result.returncode, result.stderr) == (-signal.SIGINT, b"")
