"""The page on deployment is correct: its units and its proxy are those that really work."""

import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import pytest

from bighub_langgraph import Journal
from bighub_langgraph.approvals.accounts import Accounts
from bighub_langgraph.local import Engine
from bighub_langgraph.local.api_keys import create_key
from tests.documents import ROOT, blocks
from tests.test_docs import PROGRAM, check_options

PAGE = ROOT / "docs" / "deploy.md"
INSTALLED = f"/opt/agents/venv/bin/{PROGRAM}"
PASSWORD = "correct horse battery"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def files(language: str) -> dict[str, str]:
    """The files that the page shows, by the path in their first line."""
    shown = [block.body for block in blocks(PAGE) if block.language == language]
    return {body.partition("\n")[0].removeprefix("# "): body for body in shown}


UNITS = files("ini")
[PROXY] = files("nginx").values()


def test_there_is_a_unit_for_each_service_that_the_page_starts() -> None:
    names = {Path(path).stem for path in UNITS}
    assert names == {"bighub-serve", "bighub-work", "bighub-inbox", "bighub-doctor"}
    assert all(path.startswith("/etc/systemd/system/") for path in UNITS)


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze: apt-get install systemd"
)
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name(PROGRAM)
    for path, unit in UNITS.items():
        (tmp_path / Path(path).name).write_text(unit.replace(INSTALLED, str(program)))
    for path in UNITS:
        unit_file = tmp_path / Path(path).name
        ran = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", unit_file],
            capture_output=True,
            text=True,
            check=False,
        )
        ours = [line for line in ran.stderr.splitlines() if "bighub-" in line]
        assert (ran.returncode, ours) == (0, []), ran.stderr


@pytest.mark.parametrize("path", [path for path in UNITS if path.endswith(".service")])
def test_a_unit_starts_a_command_with_options_that_it_has(path: str) -> None:
    [line] = re.findall(r"^ExecStart=((?:.*\\\n)*.*)$", UNITS[path], re.MULTILINE)
    program, *words = shlex.split(line.replace("\\\n", ""))
    assert program == INSTALLED
    check_options(words)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def started(*command: str | Path) -> Iterator[None]:
    """A program that runs until the end of the block."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def wait_until_ready(client: httpx.Client, url: str, *, host: str) -> None:
    """Wait for an answer 200."""
    deadline = time.monotonic() + 120
    while True:
        try:
            if client.get(url, headers={"host": host}).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, f"{url} is not ready"
        time.sleep(0.05)


@pytest.mark.skipif(NGINX is None, reason="no nginx: apt-get install nginx-light")
def test_people_and_agents_reach_the_page_and_the_engine_through_nginx_with_tls(
    tmp_path: Path,
) -> None:
    trustme = pytest.importorskip("trustme")
    with closing(Journal(tmp_path / "calls.db")) as journal:
        Accounts(journal).add("ada", {"approver"}, PASSWORD, by="root")
    with Engine(f"sqlite:///{tmp_path / 'bighub.db'}") as engine:
        key = create_key(engine, label="agents", scopes=("decide", "read"))["key"]
    authority = trustme.CA()
    certificate = authority.issue_cert("approvals.example.com", "bighub.example.com", "127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "tls.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "tls.key"))
    tls, page, api = free_port(), free_port(), free_port()
    proxy = PROXY.replace("listen 443", f"listen 127.0.0.1:{tls}")
    proxy = proxy.replace("127.0.0.1:8788", f"127.0.0.1:{page}")
    proxy = proxy.replace("127.0.0.1:8787", f"127.0.0.1:{api}")
    proxy = re.sub(r"/etc/ssl/private/\w+", str(tmp_path / "tls"), proxy)
    temporary = "".join(
        f"{kind}_temp_path {tmp_path / kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = f"user root;\npid {tmp_path / 'pid'};\ndaemon off;\nerror_log {tmp_path / 'log'};\n"
    main = main if Path("/").owner() == Path(tmp_path).owner() else main.partition("\n")[2]
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(
        f"{main}events {{}}\nhttp {{\naccess_log off;\n{temporary}{proxy}\n}}\n"
    )
    program = Path(sys.executable).with_name(PROGRAM)
    public = f"https://approvals.example.com:{tls}"
    with ExitStack() as stack:
        inbox = (program, "inbox", "--journal", tmp_path / "calls.db", "--port", str(page))
        options = ("--public-url", public, "--forwarded-allow-ips", "127.0.0.1")
        stack.enter_context(started(*inbox, *options))
        serve = (program, "serve", "--db", tmp_path / "bighub.db", "--port", str(api))
        stack.enter_context(started(*serve))
        assert NGINX is not None
        stack.enter_context(started(NGINX, "-c", configuration, "-p", tmp_path))
        context = ssl.create_default_context()
        authority.configure_trust(context)
        client = stack.enter_context(
            httpx.Client(base_url=f"https://127.0.0.1:{tls}", verify=context)
        )
        wait_until_ready(client, "/healthz", host="bighub.example.com")
        wait_until_ready(client, "/sign-in", host=f"approvals.example.com:{tls}")

        action = {"action": "refund", "actor": "desk", "domain": "payments", "value": 5.0}
        agent = {"host": "bighub.example.com"}
        assert client.post("/actions/evaluate", json=action, headers=agent).status_code == 401
        reply = client.post("/actions/evaluate", json=action, headers={**agent, "x-api-key": key})
        assert reply.json()["recommendation"] == "review_recommended"

        person = {"host": f"approvals.example.com:{tls}", "origin": public}
        token = re.search(
            r'name="form_token" value="(\w+)"', client.get("/sign-in", headers=person).text
        )
        assert token is not None
        form = {"form_token": token[1], "name": "ada", "password": PASSWORD}
        foreign = {**person, "origin": "https://elsewhere.example"}
        assert client.post("/sign-in", data=form, headers=foreign).status_code == 403
        signed_in = client.post("/sign-in", data=form, headers=person)
        assert signed_in.status_code == 303
        assert "Secure" in signed_in.headers["set-cookie"]
        assert "ada" in client.get("/", headers=person).text
