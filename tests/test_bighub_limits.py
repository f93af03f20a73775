"""What a hung, dripping, down or talkative BIGHUB costs: never more than the stated limits."""

import asyncio
import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import httpx
import pytest
from bighub import AsyncBighubClient, BighubClient

from bighub_langgraph import BighubGuard
from bighub_langgraph.bighub.client_factory import open_clients
from bighub_langgraph.bighub.limits import MAX_READ, MAX_STORED, EngineBreaker
from bighub_langgraph.core.errors import ConfigurationError, EngineUnavailable
from bighub_langgraph.core.models import Decision
from tests.calls import reply

Json = dict[str, Any]
ARGUMENTS = {"order_id": "o1", "amount": 40}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


class RawBighub:
    """A service on loopback that accepts requests and then does what a function says."""

    def __init__(self, respond: Callable[[socket.socket, threading.Event], None]) -> None:
        self.ended = threading.Event()
        self.requests = 0
        self._respond = respond
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        self.ended.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            file = connection.makefile("rb")
            length = 0
            while (line := file.readline()) not in {b"\r\n", b""}:
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            file.read(length)  # a request that is not read resets the connection
            self.requests += 1
            self._respond(connection, self.ended)


def hang(_: socket.socket, ended: threading.Event) -> None:
    ended.wait()


def drip(start: bytes, piece: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def respond(connection: socket.socket, ended: threading.Event) -> None:
        connection.sendall(start)
        while not ended.wait(0.02):
            connection.sendall(piece)

    return respond


CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
ENDLESS = {
    "hangs": hang,
    "drips headers": drip(HEAD, b"x-more: 1\r\n"),
    "drips its body": drip(CHUNKED, b"1\r\n \r\n"),
}


@contextmanager
def raw_bighub(respond: Callable[[socket.socket, threading.Event], None]) -> Iterator[RawBighub]:
    with closing(RawBighub(respond)) as service:
        yield service


class SlowLookAlike:
    """A client of the user's own that does not answer before the test ends."""

    def __init__(self, url: str) -> None:
        self.actions = self
        self._url = url

    async def submit(self, **_: Any) -> Any:
        async with httpx.AsyncClient(timeout=None) as client:
            return await client.get(self._url)


CLIENTS: dict[str, Callable[[str], Any]] = {
    "opened by us": lambda url: url,
    "the SDK's": lambda url: BighubClient(base_url=url, timeout=600),
    "the SDK's, async": lambda url: AsyncBighubClient(base_url=url, timeout=600),
    "another, async": SlowLookAlike,
}


def evaluate(bighub: Any, caller: str, **options: Any) -> Decision:
    with BighubGuard(bighub=bighub, **options) as guard:
        if caller == "blocking":
            return guard.evaluate("refund", ARGUMENTS)
        return asyncio.run(guard.aevaluate("refund", ARGUMENTS))


@pytest.mark.parametrize("caller", ["blocking", "async"])
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("respond", ENDLESS)
def test_an_evaluation_ends_at_its_timeout_whatever_bighub_does(
    respond: str, client: str, caller: str
) -> None:
    with raw_bighub(ENDLESS[respond]) as service:
        bighub = CLIENTS[client](service.url)
        decision = evaluate(bighub, caller, evaluate_timeout=0.5)
        assert service.requests == 1
    assert (decision.raw_recommendation, decision.fault) == ("do_not_proceed", "unavailable")
    assert "BIGHUB gave no answer in 0.5 seconds" in decision.reason


def test_the_tries_of_an_evaluation_share_its_timeout() -> None:
    tries: list[int] = []

    class Failing:
        def __init__(self) -> None:
            self.actions = self

        def submit(self, **_: Any) -> Any:
            tries.append(1)
            raise ConnectionError("no route")

    decision = evaluate(Failing(), "blocking", retries=50, evaluate_timeout=0.6)
    assert decision.fault == "unavailable"
    assert "no route" in decision.reason
    assert len(tries) == 2  # the next one would come after 0.25 and 0.5 seconds


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "10", None])
def test_a_timeout_that_cannot_work_is_refused(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="evaluate_timeout"):
        BighubGuard(bighub="local", evaluate_timeout=timeout)


def sends(body: bytes, *headers: bytes) -> Callable[[socket.socket, threading.Event], None]:
    # A connection that were kept alive would be left open by a loop that ends before the guard.
    headers = (*headers, b"connection: close", b"content-length: %d" % len(body))
    lines = b"".join(line + b"\r\n" for line in headers)
    return lambda connection, _: connection.sendall(HEAD + lines + b"\r\n" + body)


LARGE = json.dumps({**reply("proceed"), "more": "x" * MAX_READ}).encode()


@pytest.mark.parametrize("caller", ["blocking", "async"])
@pytest.mark.parametrize(
    "respond",
    [sends(LARGE), sends(gzip.compress(LARGE), b"content-encoding: gzip")],
    ids=["plain", "compressed"],
)
def test_a_reply_that_is_too_large_is_not_read_and_blocks(respond: Any, caller: str) -> None:
    with raw_bighub(respond) as service:
        decision = evaluate(service.url, caller, fail_mode="open")
    assert (decision.raw_recommendation, decision.fault) == ("do_not_proceed", "refused")
    assert "larger than 1048576 bytes" in decision.reason


@pytest.mark.parametrize("caller", ["blocking", "async"])
def test_a_compressed_reply_of_the_usual_size_is_read(caller: str) -> None:
    body = gzip.compress(json.dumps(reply("proceed")).encode())
    with raw_bighub(sends(body, b"content-encoding: gzip")) as service:
        assert evaluate(service.url, caller).raw_recommendation == "proceed"


LARGE_PARTS: dict[str, Any] = {
    "a long text": "word " * 40_000,
    "half a character in a long text": "\ud800" + "word " * 40_000,
    "a long list": [{"action": "refund", "note": "x" * 100}] * 2_000,
    "many fields": {f"field {number}": "x" * 100 for number in range(2_000)},
}


@pytest.mark.parametrize("part", LARGE_PARTS.values(), ids=LARGE_PARTS)
@pytest.mark.parametrize("place", ["more", "decision_intelligence"])
def test_a_talkative_decision_is_stored_without_what_is_too_large(part: Any, place: str) -> None:
    answer = {**reply("proceed_with_caution"), "risk_score": 0.3}
    intelligence = {"trajectory_health": "healthy", "rationale": "like others"}
    answer["decision_intelligence"] = intelligence
    if place == "more":
        answer["more"] = part
    else:
        intelligence["precedents"] = part

    class Talkative:
        def __init__(self) -> None:
            self.actions = self

        def submit(self, **_: Any) -> Json:
            return answer

    decision = evaluate(Talkative(), "blocking")
    assert len(json.dumps(dict(decision.reply))) <= MAX_STORED
    assert decision.raw_recommendation == "proceed_with_caution"
    assert (decision.request_id, decision.risk_score) == (answer["request_id"], 0.3)
    assert (decision.reason, decision.trajectory_health) == ("like others", "healthy")


# -- while BIGHUB is down --------------------------------------------------------------------------


def test_while_bighub_is_down_it_is_not_asked_for_each_call() -> None:
    with raw_bighub(hang) as service:
        with BighubGuard(bighub=service.url, evaluate_timeout=0.1) as guard:
            decisions = [guard.evaluate("refund", ARGUMENTS) for _ in range(9)]
            decisions += [asyncio.run(guard.aevaluate("refund", ARGUMENTS))]
        assert service.requests == 3
    assert {decision.fault for decision in decisions} == {"unavailable"}
    assert "the last 3 evaluations failed" in decisions[-1].reason


def test_one_evaluation_at_a_time_tests_whether_bighub_is_back() -> None:
    now = [0.0]
    breaker = EngineBreaker(lambda: now[0])

    def ask(error: Exception | None = None) -> bool:
        """Whether the request is sent."""
        sent = False
        with suppress(EngineUnavailable), breaker:
            sent = True
            if error is not None:
                raise error
        return sent

    away = EngineUnavailable("no route")
    assert [ask(away) for _ in range(4)] == [True, True, True, False]
    now[0] = 10.0
    with suppress(EngineUnavailable), breaker:
        assert not ask()  # another one is testing
        raise away
    assert not ask()
    now[0] = 20.0
    assert ask()  # BIGHUB is back
    assert [ask(away) for _ in range(2)] == [True, True]


def test_refusals_do_not_stop_evaluations() -> None:
    body = b'{"detail": "no"}'
    refuse = b"HTTP/1.1 422 No\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    answer = refuse % len(body) + body
    with raw_bighub(lambda connection, _: connection.sendall(answer)) as service:
        with BighubGuard(bighub=service.url) as guard:
            assert {guard.evaluate("refund", {}).fault for _ in range(5)} == {"refused"}
        assert service.requests == 5


# -- the SDK's inner client ------------------------------------------------------------------------


def test_contract_the_sdk_sends_its_requests_by_one_httpx_client() -> None:
    """`client_factory` replaces `_transport._client`, since the SDK has no option for it.

    bighub 0.1.0b5. Where a release keeps its client elsewhere, replies are read as the SDK does.
    """
    clients = open_clients("https://bighub.example", api_key="key")
    for client, kind in (
        (clients.sync_client, httpx.Client),
        (clients.async_client, httpx.AsyncClient),
    ):
        inner = client._transport._client
        assert isinstance(inner, kind)
        assert type(inner) is not kind
        assert set(vars(client._transport)) >= {"_client", "timeout", "retry"}
    clients.close()
