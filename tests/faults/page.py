"""The approval page as a process that is killed, and the person who answers on it."""

import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from random import Random
from typing import Any, Self

import argon2
import httpx
import jinja2
import uvicorn

from bighub_langgraph.approvals.accounts import Accounts
from bighub_langgraph.approvals.web import server
from bighub_langgraph.cli import app, main
from tests.approval_page import PASSWORD, Browser
from tests.faults.killing import forkserver, journal_of
from tests.faults.office import Office

# Imported before processes are forked: they shall be killed at work, not while they import.
IMPORTED_EARLY = (argon2, jinja2, uvicorn, server, app)

PERSON = "ada"
# The shares of the requests in which the page is killed: of the first ones of a page, and others.
SHARES = {True: 0.1, False: 0.3}
REJECTED = 0.3  # of the calls that wait
LONGEST = 60.0


def serve_page(database: str, port: int) -> None:
    """The command, until it is killed."""
    sys.argv = ["bighub-langgraph", "inbox", "--journal", database, "--port", str(port)]
    main()


class PageProcess:
    """A client of `bighub-langgraph inbox`, which is killed at random moments of its requests.

    A request that the page did not answer raises httpx.TransportError; the next request is sent to
    a new page.
    """

    def __init__(self, database: str, kills: int, chance: Random) -> None:
        self.kills, self.killed = kills, 0
        self._database, self._chance = database, chance
        # How long the first request of a page takes, and how long any other.
        self._durations = {True: 0.5, False: 0.03}
        self._process: BaseProcess | None = None
        self._reserved = socket.socket()  # bound but not listening, so that nobody gets the port
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port = self._reserved.getsockname()[1]
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", timeout=LONGEST, trust_env=False
        )

    def get(self, path: str) -> httpx.Response:
        return self._send(lambda: self._client.get(path))

    def post(self, path: str, **form: Any) -> httpx.Response:
        return self._send(lambda: self._client.post(path, **form))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._reserved.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()

    def _send(self, request: Callable[[], httpx.Response]) -> httpx.Response:
        process, is_new = self._process, self._process is None
        if process is None:
            process = forkserver.Process(target=serve_page, args=(self._database, self.port))
            process.start()
            self._process = process
        duration = self._durations[is_new]
        killer = threading.Timer(self._chance.uniform(0, 1.5 * duration), process.kill)
        is_killed = self.killed < self.kills and self._chance.random() < SHARES[is_new]
        if is_killed:
            killer.start()
        began = time.monotonic()
        try:
            response = self._wait(request, process)
            # Most kills shall hit a page at work, on a fast machine and on a slow one.
            self._durations[is_new] = 0.8 * duration + 0.2 * (time.monotonic() - began)
        finally:
            if is_killed:
                killer.join()
                process.join()
                self._process = None
                self.killed += 1
            assert is_killed or process.is_alive(), "the page has ended by itself"
        return response

    def _wait(self, request: Callable[[], httpx.Response], process: BaseProcess) -> httpx.Response:
        deadline = time.monotonic() + LONGEST
        while True:
            try:
                return request()
            except httpx.ConnectError:  # it does not listen yet
                if not process.is_alive():
                    raise
                assert time.monotonic() < deadline, "the page does not start"
                time.sleep(0.01)


class Person:
    """Answers what the page lists: mostly yes, and the truth about unknown outcomes.

    Attributes:
        confirmed: The calls with the answers of which the page said that they are recorded.
    """

    def __init__(self, office: Office, page: PageProcess, chance: Random) -> None:
        self._office, self._chance = office, chance
        self._browser = Browser(page, f"http://127.0.0.1:{page.port}")
        self.confirmed: list[tuple[str, str]] = []
        with journal_of(office) as journal:
            Accounts(journal).add(PERSON, {"approver"}, PASSWORD, by="root")

    def answer_all(self) -> None:
        """Answer until nothing waits; look again after a request that was not answered."""
        while True:
            try:
                if not (keys := self._list_waiting()):
                    return
                for key in keys:
                    self._answer(key)
            except httpx.TransportError:
                continue

    def _list_waiting(self) -> list[str]:
        response = self._browser.show("/")
        if response.status_code == httpx.codes.UNAUTHORIZED:
            self._browser.send("/sign-in", name=PERSON, password=PASSWORD)
            response = self._browser.show("/")
        assert response.status_code == httpx.codes.OK
        return re.findall(r'name="call" value="(\w+):\d+"', response.text)

    def _answer(self, key: str) -> None:
        shown = self._browser.show(f"/calls/{key}").text
        version = re.search(r'name="version" value="(\d+)"', shown)
        if version is None:  # somebody else has answered, or the answer was recorded
            return
        answer = "reject" if self._chance.random() < REJECTED else "approve"
        if "It took effect" in shown:
            answer = "respond" if self._office.count("effect", key) else "reject"
        form = {"version": version[1], "answer": answer, "text": "as the records say"}
        response = self._browser.send(f"/calls/{key}", **form)
        assert response.status_code in {httpx.codes.SEE_OTHER, httpx.codes.CONFLICT}
        if response.status_code == httpx.codes.SEE_OTHER:
            self.confirmed.append((key, answer))


def answers_of(office: Office, name: str) -> list[tuple[str, str]]:
    """The calls with the answers that a person gave, as the audit log has them."""
    with journal_of(office) as journal:
        entries = Accounts(journal).audit(limit=100_000)
    return [
        (entry.subject, entry.details["answer"])
        for entry in entries
        if (entry.event, entry.who) == ("answer", name)
    ]
