"""The `doctor` command: problems that need a person are listed, and end with exit code 1."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bighub_langgraph import Journal
from tests.cli_journal import FILE, create_journal, deliver_all, invoke


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BIGHUB_API_KEY", "BIGHUB_BASE_URL", "BIGHUB_JOURNAL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(create_journal(tmp_path)) as journal:
        yield journal


@pytest.fixture
def path(tmp_path: Path, journal: Journal) -> Path:
    del journal
    return tmp_path / FILE


def test_the_doctor_lists_what_needs_a_person(path: Path) -> None:
    result = invoke("doctor", "--journal", path, "--json")
    checks = {check["subject"]: check for check in json.loads(result.stdout)}
    assert result.exit_code == 1
    assert checks["outcome of pay is unknown"]["health"] == "problem"
    assert "langgraph 1." in checks["versions"]["details"]
    assert "schema version 1" in checks["journal"]["details"]
    assert "1 awaiting_approval" in checks["calls"]["details"]


def test_the_doctor_finds_no_problem_when_all_is_well(path: Path, journal: Journal) -> None:
    invoke("calls", "resolve", "eeee", "--executed", "--journal", path)
    deliver_all(journal)
    result = invoke("doctor", "--journal", path)
    assert (result.exit_code, "problem" in result.stdout) == (0, False)


def test_the_doctor_reports_that_bighub_is_unreachable(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIGHUB_API_KEY", "k")
    result = invoke("doctor", "--journal", path, "--bighub", "http://127.0.0.1:9", "--json")
    checks = {check["subject"]: check for check in json.loads(result.stdout)}
    assert (result.exit_code, checks["BIGHUB"]["health"]) == (1, "problem")
