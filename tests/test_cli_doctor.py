"""The `doctor` command: problems that need a person are listed, and end with exit code 1."""

import json
import time
from contextlib import closing
from pathlib import Path

import pytest

from bighub_langgraph import Journal
from bighub_langgraph.core.models import State
from tests.cli_journal import FILE, REPORTING, create_record, deliver_all, invoke

pytestmark = pytest.mark.usefixtures("no_environment")


def test_the_doctor_lists_what_needs_a_person(journal_path: Path) -> None:
    result = invoke("doctor", "--journal", journal_path, "--json")
    checks = {check["subject"]: check for check in json.loads(result.stdout)}
    assert result.exit_code == 1
    assert checks["outcome of pay is unknown"]["health"] == "problem"
    assert "langgraph 1." in checks["versions"]["details"]
    assert "schema version 1" in checks["journal"]["details"]
    assert "1 awaiting_approval" in checks["calls"]["details"]


def test_the_doctor_names_calls_that_wait_for_long_without_an_expiry(tmp_path: Path) -> None:
    now = time.time()
    clock = [now - 8 * 86_400]
    with closing(Journal(tmp_path / FILE, clock=lambda: clock[0])) as journal:
        for key, expires_at in (("a", None), ("b", now + 1e6)):
            record = create_record(key * 32, state=State.AWAITING, tool="refund")
            journal.insert([record._replace(expires_at=expires_at)], REPORTING)
        clock[0] = now
        journal.insert([create_record("c" * 32, state=State.AWAITING)], REPORTING)
    result = invoke("doctor", "--journal", tmp_path / FILE, "--json")
    checks = [check for check in json.loads(result.stdout) if check["subject"] == "refund waits"]
    assert result.exit_code == 0
    assert [(check["health"], check["details"][:12]) for check in checks] == [("warning", "a" * 12)]
    assert "calls cancel" in checks[0]["details"]


def test_the_doctor_finds_no_problem_when_all_is_well(
    journal_path: Path, cli_journal: Journal
) -> None:
    invoke("calls", "resolve", "eeee", "--executed", "--journal", journal_path)
    deliver_all(cli_journal)
    result = invoke("doctor", "--journal", journal_path)
    assert (result.exit_code, "problem" in result.stdout) == (0, False)


def test_the_doctor_reports_that_bighub_is_unreachable(
    journal_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIGHUB_API_KEY", "k")
    result = invoke("doctor", "--journal", journal_path, "--bighub", "http://127.0.0.1:9", "--json")
    checks = {check["subject"]: check for check in json.loads(result.stdout)}
    assert (result.exit_code, checks["BIGHUB"]["health"]) == (1, "problem")
