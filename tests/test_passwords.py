"""Passwords in the URLs of databases and services are in no message, listing or `repr`."""

from pathlib import Path
from typing import Any

import pytest

from bighub_langgraph import AsyncLocalBighub, BighubGuard, Journal, LocalBighub
from bighub_langgraph.core.redaction import mask_passwords
from tests.cli_journal import invoke

# A URL, and how it is shown.
URLS: dict[str, str] = {
    "postgresql://me:hunter2@127.0.0.1:9/x": "postgresql://me:***@127.0.0.1:9/x",
    "postgresql+psycopg://me:hunt%40er2@h/x": "postgresql+psycopg://me:***@h/x",
    "postgresql://me:hun@ter2@h/x": "postgresql://me:***@h/x",
    "postgresql://me:hunter2/a@h:b/x": "postgresql://me:***@h:b/x",
    "postgresql://:hunter2@h/x": "postgresql://:***@h/x",
    "postgresql://h/x?user=me&password=hunter2": "postgresql://h/x?user=me&password=***",
    "postgresql://h/x?sslpassword=hunter2&a=b": "postgresql://h/x?sslpassword=***&a=b",
    "https://me:hunter2@api.example/v1?api_key=hunter2": "https://me:***@api.example/v1?api_key=***",
    "sqlite:///calls.db": "sqlite:///calls.db",
    "https://api.example:8443/v1": "https://api.example:8443/v1",
    "calls.db": "calls.db",
}


@pytest.mark.parametrize("url", URLS)
def test_a_url_is_shown_without_its_password(url: str) -> None:
    assert mask_passwords(url) == URLS[url]
    assert mask_passwords(f"--db {url} failed") == f"--db {URLS[url]} failed"


UNREACHABLE = [
    "postgresql+psycopg://me:hunter2@127.0.0.1:9/x?connect_timeout=1",
    "postgresql://127.0.0.1:9/x?password=hunter2&connect_timeout=1",
    "postgresql://me:hunter2@127.0.0.1:port/x",
    "postgresql://me:hunter2/a@127.0.0.1:9/x",
    "nothing://me:hunter2@h/x",
]
COMMANDS = {
    "serve": ("serve", "--db"),
    "keys create": ("keys", "create", "desk", "--db"),
    "keys list": ("keys", "list", "--db"),
    "keys revoke": ("keys", "revoke", "key_1", "--db"),
    "demo": ("demo", "--approve", "yes", "--db"),
    "replay": ("replay", "run.json", "--db"),
    "calls list": ("calls", "list", "--journal"),
    "doctor": ("doctor", "--offline", "--journal"),
    "outbox flush": ("outbox", "flush", "--journal", "calls.db", "--bighub"),
}


@pytest.mark.parametrize("url", UNREACHABLE)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_names_a_database_that_it_cannot_use_without_its_password(
    command: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.json").write_text('{"calls": [{"tool": "a", "arguments": {}}]}')
    Journal("calls.db").close()
    result = invoke(*COMMANDS[command], url)
    assert result.exit_code in {1, 2}
    assert "error:" in result.output
    assert "hunter2" not in result.output


@pytest.mark.parametrize("url", UNREACHABLE)
@pytest.mark.parametrize(
    "create",
    [
        lambda url: BighubGuard(bighub=url),
        lambda url: BighubGuard(bighub="local", journal=url),
        Journal,
        LocalBighub,
        AsyncLocalBighub,
    ],
    ids=["bighub", "journal", "Journal", "LocalBighub", "AsyncLocalBighub"],
)
def test_an_exception_of_the_guard_shows_no_password(create: Any, url: str) -> None:
    with pytest.raises(Exception, match=r".") as raised:
        create(url)
    assert "hunter2" not in str(raised.value)


def test_the_repr_of_a_client_shows_no_password(tmp_path: Path) -> None:
    with LocalBighub(f"sqlite:///file:{tmp_path}/b.db?uri=true&token=hunter2") as client:
        assert "hunter2" not in repr(client)
        assert "b.db" in repr(client)
