"""Log records as lines of JSON, by themselves and as the approval page writes them."""

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bighub_langgraph import Journal
from bighub_langgraph.json_logs import JsonFormatter

PROGRAM = [sys.executable, "-c", "from bighub_langgraph.cli import main; main()"]


def line_of(message: str = "done", *args: Any, **fields: Any) -> dict[str, Any]:
    """The fields of a record's line."""
    record = logging.makeLogRecord(
        {"name": "app", "levelname": "INFO", "msg": message, "args": args, **fields}
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    shown: dict[str, Any] = json.loads(line)
    return shown


def test_a_line_has_the_time_the_level_the_logger_and_the_message() -> None:
    line = line_of("%s is\n%d", "x", 7, created=1.5)
    assert line == {
        "at": "1970-01-01T00:00:01.500+00:00",
        "level": "info",
        "logger": "app",
        "message": "x is\n7",
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x", "x"),
        (3, 3),
        (None, None),
        (float("nan"), "nan"),
        (Path("calls.db"), "calls.db"),
        (b"bytes", "bytes"),
        ("half a pair: \ud800", "half a pair: ?"),
    ],
    ids=["text", "number", "nothing", "nan", "path", "bytes", "surrogate"],
)
def test_extra_fields_of_any_kind_are_shown(value: object, shown: object) -> None:
    assert line_of(bighub_tool=value)["bighub_tool"] == shown


def test_an_extra_field_does_not_replace_the_message() -> None:
    assert line_of(level="loud", logger="other")["level"] == "info"


def test_an_exception_is_one_field() -> None:
    error = RuntimeError("no\nluck")
    shown = line_of(exc_info=(RuntimeError, error, None))["exception"]
    assert shown.endswith("RuntimeError: no\nluck")


def test_the_approval_page_writes_lines_of_json(tmp_path: Path) -> None:
    Journal(tmp_path / "calls.db").close()
    command = [*PROGRAM, "inbox", "--port", "0", "--log-format", "json"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment
    ) as page:
        assert page.stderr is not None
        shown = []
        for line in page.stderr:
            shown.append(line)
            if "running on" in line:
                page.send_signal(signal.SIGINT)
    assert page.returncode == 0
    lines = [json.loads(line) for line in shown]
    assert [line["level"] for line in lines if "nobody can sign in yet" in line["message"]] == [
        "warning"
    ]
    assert lines[-1]["logger"] == "uvicorn.error"
