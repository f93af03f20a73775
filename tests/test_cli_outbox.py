"""The `outbox` commands: pending entries and dead letters are listed, delivered and requeued."""

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


def test_dead_letters_are_listed_requeued_and_delivered(
    path: Path, journal: Journal, tmp_path: Path
) -> None:
    document = json.loads(invoke("outbox", "list", "--journal", path, "--json").stdout)
    assert (document["pending"], document["dead_letters"]) == (3, 0)
    assert [entry["kind"] for entry in document["entries"]] == ["approval", "outcome", "memory"]
    refused = journal.lease_batch(0.0, 1)[0]
    journal.nack([refused.id], 0.0, "unknown request", refused=True, dead_letter=True)
    listing = invoke("outbox", "list", "--journal", path).stdout
    assert "2 pending, 1 dead letters" in listing
    assert invoke("outbox", "requeue", "--journal", path).stdout == "1 entries requeued\n"
    deliver_all(journal)
    result = invoke("outbox", "flush", "--journal", path, "--bighub", tmp_path / "engine.db")
    assert (result.exit_code, result.stdout) == (0, "everything is delivered\n")


def test_an_outbox_that_cannot_be_delivered_ends_with_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable = "http://127.0.0.1:9"
    monkeypatch.setenv("BIGHUB_API_KEY", "k")
    options = ("--journal", path, "--bighub", unreachable, "--timeout", "0")
    result = invoke("outbox", "flush", *options)
    assert (result.exit_code, "3 entries pending" in result.stdout) == (1, True)
