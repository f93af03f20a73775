"""Outputs of tools that are not JSON: stored by the codec of a host, read wherever it is there."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langgraph.types import Command

import bighub_langgraph.graph  # noqa: F401 - registers LangGraph's codec
from bighub_langgraph import Journal
from bighub_langgraph.core.errors import JournalError
from bighub_langgraph.core.lifecycle import ExecutionFinished, ExecutionStarted
from bighub_langgraph.core.models import CallRecord, ToolSucceeded
from tests.test_journal_sql import REPORTING, call

MESSAGE = ToolMessage("refunded", tool_call_id="call-1", artifact={"receipt": 88})
COMMAND: Command[Any] = Command(update={"messages": [MESSAGE]}, goto="model")

READ = """
import sys
from bighub_langgraph import Journal

assert not [name for name in sys.modules if name.startswith("langgraph")]
[record] = Journal(sys.argv[1]).find(["a" * 32]).values()
print(type(record.result.output).__name__, record.result.output.goto)
"""


def store(journal: Journal, output: object) -> CallRecord:
    owner = f"{journal.owner}/1"
    journal.insert([call()], REPORTING)
    journal.transition(call().key, ExecutionStarted(owner, 0.0), REPORTING)
    finished = ExecutionFinished(owner, ToolSucceeded(output))
    return journal.transition(call().key, finished, REPORTING)


def test_an_output_of_langgraph_comes_back_as_it_was(database: str) -> None:
    with closing(Journal(database)) as journal:
        stored = store(journal, COMMAND)
        assert journal.find([stored.key]) == {stored.key: stored}


def test_a_process_without_a_graph_reads_what_a_graph_wrote(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'calls.db'}"
    with closing(Journal(url)) as journal:
        store(journal, COMMAND)
    read = subprocess.run(
        [sys.executable, "-c", READ, url], capture_output=True, text=True, check=True
    )
    assert read.stdout.split() == ["Command", "model"]


def test_an_output_whose_codec_is_missing_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    with closing(Journal(f"sqlite:///{path}")) as journal:
        store(journal, COMMAND)
        with closing(sqlite3.connect(path)) as database:
            database.execute("UPDATE bighub_calls SET codec = 'elsewhere'")
            database.commit()
        with pytest.raises(JournalError, match="stored by elsewhere"):
            journal.find([call().key])


def test_an_output_that_no_codec_takes_is_stored_as_its_description(tmp_path: Path) -> None:
    with closing(Journal(f"sqlite:///{tmp_path / 'calls.db'}")) as journal:
        stored = store(journal, lambda: None)
        [record] = journal.find([stored.key]).values()
        assert isinstance(record.result, ToolSucceeded)
        assert "lambda" in str(record.result.output)
