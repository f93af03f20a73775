"""`serve` and `keys`: the embedded engine over HTTP, as another program finds it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from bighub import BighubAuthError, BighubClient

from bighub_langgraph import BighubGuard, Journal

COMMAND = [sys.executable, "-c", "from bighub_langgraph.cli import main; main()"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)


@contextmanager
def start_server(
    db: Path, *options: str, log: list[str] | None = None
) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A server on a free port of loopback; stopped as an operator stops it, it fills `log`."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--db", str(db), "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if log is not None:
                log.append(line.rstrip("\n"))
            if "running on" in line:
                url = next(word for word in line.split() if word.startswith("http://"))
                break
        else:
            pytest.fail("the server did not start")
        yield url, process
    finally:
        process.send_signal(signal.SIGINT)
        lines = process.stderr.read().splitlines()
        if log is not None:
            log += lines
        process.stderr.close()
        process.wait(20)


def test_a_guard_in_another_program_asks_the_server(tmp_path: Path) -> None:
    with start_server(tmp_path / "b.db") as (url, server), BighubGuard(bighub=url) as guard:
        decision = guard.evaluate("refund", {"order_id": "o1", "amount": 40})
    assert (decision.raw_recommendation, decision.fault) == ("review_recommended", "")
    assert server.returncode == 0


def test_once_a_key_was_made_every_request_needs_one(tmp_path: Path) -> None:
    db = tmp_path / "b.db"
    creation = run("keys", "create", "desk", "--db", str(db), "--scope", "decide")
    secret = creation.stdout.strip()
    assert secret.startswith("bh_")
    assert secret not in run("keys", "list", "--db", str(db), "--json").stdout
    with start_server(db) as (url, _):
        with pytest.raises(BighubAuthError), BighubClient(base_url=url, max_retries=0) as nobody:
            nobody.actions.submit(action="refund")
        with BighubClient(base_url=url, api_key=secret, max_retries=0) as desk:
            assert desk.actions.submit(action="refund")["request_id"]
        assert httpx.get(f"{url}/healthz").status_code == 200


def test_every_request_is_logged_as_a_line_of_json_without_its_contents(tmp_path: Path) -> None:
    log: list[str] = []
    (tmp_path / "engine.toml").write_text('[default]\nenforcement_mode = "review"')
    options = ("--settings", str(tmp_path / "engine.toml"))
    with (
        start_server(tmp_path / "b.db", *options, log=log) as (url, _),
        BighubClient(url) as bighub,
    ):
        reply = bighub.actions.submit(action="refund", target="order-secret")
        httpx.get(f"{url}/cases/req_secret", params={"domain": "secret"})
    assert reply["enforcement_mode"] == "review"
    lines = [json.loads(line) for line in log if line.startswith("{")]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("POST", "/actions/evaluate", 200),
        ("GET", "/cases/{case_id}", 404),
    ]
    assert {"at", "client", "ms", "key_id"} <= set(lines[0])
    assert "secret" not in "".join(log)


def test_with_log_format_json_every_line_is_an_object_with_the_fields_of_its_record(
    tmp_path: Path,
) -> None:
    log: list[str] = []
    with start_server(tmp_path / "b.db", "--log-format", "json", log=log) as (url, _):
        httpx.get(f"{url}/cases/req_secret")
    lines = [json.loads(line) for line in log]
    assert all({"at", "level", "logger", "message"} <= set(line) for line in lines)
    [request] = [line for line in lines if line["logger"] == "bighub_langgraph.server"]
    assert request["message"] == "GET /cases/{case_id} 404"
    assert (request["route"], request["status"], request["level"]) == (
        "/cases/{case_id}",
        404,
        "info",
    )
    assert "secret" not in "".join(log)


def test_whoever_makes_the_first_key_is_told_what_it_changes(tmp_path: Path) -> None:
    log: list[str] = []
    db = tmp_path / "b.db"
    with start_server(db, log=log) as (url, _):
        assert httpx.get(f"{url}/actions/status").status_code == 200
        first, second = (run("keys", "create", "desk", "--db", str(db)) for _ in range(2))
        response = httpx.get(f"{url}/actions/status")
    assert "refuses every request without a key" in first.stderr
    assert first.stdout.strip().startswith("bh_")
    assert second.stderr == ""
    assert (response.status_code, "send one" in response.json()["detail"]) == (401, True)
    assert any("requests without a key are refused from now on" in line for line in log)


def test_a_key_that_is_revoked_is_good_for_nothing(tmp_path: Path) -> None:
    db = str(tmp_path / "b.db")
    run("keys", "create", "desk", "--db", db)
    listing = run("keys", "list", "--db", db, "--json").stdout
    key_id = listing.split('"key_id": "')[1].split('"')[0]
    assert run("keys", "revoke", key_id, "--db", db).stdout == f"{key_id} is revoked\n"
    assert run("keys", "revoke", "key_nobody", "--db", db).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--host", "0.0.0.0"], "keys create"),
        (["serve", "--log-level", "loud"], "is not one of"),
        (["serve", "--port", "99999"], "65535"),
        (["keys", "create", "x", "--scope", "everything"], "scopes are some of"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_remedy(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = run(*arguments, "--db", str(tmp_path / "b.db"))
    assert result.returncode == 2
    assert message in result.stderr


@pytest.mark.parametrize("command", ["serve", "inbox"])
def test_a_port_that_another_program_has_is_named(tmp_path: Path, command: str) -> None:
    journal = tmp_path / "calls.db"
    Journal(journal).close()
    option = ("--journal", str(journal)) if command == "inbox" else ("--db", str(tmp_path / "b.db"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        result = run(command, "--port", port, *option)
    assert result.returncode == 2
    assert f"error: cannot listen on 127.0.0.1, port {port}: " in result.stderr
    assert "--port" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    result = run("serve", "--db", str(tmp_path / "none" / "b.db"))
    assert result.returncode == 2
    assert "--db" in result.stderr
