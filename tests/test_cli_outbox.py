"""The `outbox` commands: pending entries and dead letters are listed, delivered and requeued."""

import json
from pathlib import Path

import pytest

from bighub_langgraph import Journal
from tests.cli_journal import deliver_all, invoke

pytestmark = pytest.mark.usefixtures("no_environment")


def test_dead_letters_are_listed_requeued_and_delivered(
    journal_path: Path, cli_journal: Journal, tmp_path: Path
) -> None:
    document = json.loads(invoke("outbox", "list", "--journal", journal_path, "--json").stdout)
    assert (document["pending"], document["dead_letters"]) == (3, 0)
    assert [entry["kind"] for entry in document["entries"]] == ["approval", "outcome", "memory"]
    item = cli_journal.lease_batch(0.0, 1)[0]
    cli_journal.nack([item.id], 0.0, "unknown request", refused=True, dead_letter=True)
    listing = invoke("outbox", "list", "--journal", journal_path).stdout
    assert "2 pending, 1 dead letters" in listing
    assert invoke("outbox", "requeue", "--journal", journal_path).stdout == "1 entries requeued\n"
    deliver_all(cli_journal)
    result = invoke(
        "outbox", "flush", "--journal", journal_path, "--bighub", tmp_path / "engine.db"
    )
    assert (result.exit_code, result.stdout) == (0, "everything is delivered\n")


def test_an_outbox_that_cannot_be_delivered_ends_with_one(
    journal_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable = "http://127.0.0.1:9"
    monkeypatch.setenv("BIGHUB_API_KEY", "k")
    options = ("--journal", journal_path, "--bighub", unreachable, "--timeout", "0")
    result = invoke("outbox", "flush", *options)
    assert (result.exit_code, "3 entries pending" in result.stdout) == (1, True)
