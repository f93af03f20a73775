"""Decisions per second of `bighub-langgraph serve` over many persistent connections.

The server is the command itself in a separate process; the load comes from this one. The client
implements a minimum of HTTP/1.1, so that it takes little time itself. Each connection sends its own
API key, its own actions and idempotency keys, and sends the next request after each response.
"""

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from bighub_langgraph.local import Engine
from bighub_langgraph.local.api_keys import create_key

CONNECTIONS = 32
_START_TIMEOUT = 30.0
_COMMAND = "from bighub_langgraph.cli import main; main()"


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a server, and API keys that it accepts."""

    host: str
    port: int
    keys: list[str]


@dataclass(slots=True)
class LoadResult:
    """The latencies of a load.

    Attributes:
        latencies: Milliseconds of each request.
        errors: How many responses did not have status 200.
    """

    seconds: float
    latencies: list[float] = field(default_factory=list)
    errors: int = 0

    @property
    def rate(self) -> float:
        """Decisions per second."""
        return len(self.latencies) / self.seconds

    def figures(self) -> dict[str, float]:
        """The figures that are printed."""
        ordered = sorted(self.latencies)
        return {
            "decisions": len(ordered),
            "errors": self.errors,
            "per_second": round(self.rate, 1),
            "p50_ms": round(ordered[len(ordered) // 2], 3),
            "p99_ms": round(ordered[int(0.99 * len(ordered))], 3),
        }


@contextmanager
def run_server(database: Path, *options: str, keys: int = CONNECTIONS) -> Iterator[Address]:
    """Run `bighub-langgraph serve` on a free local port, with this many API keys."""
    with Engine(f"sqlite:///{database}") as engine:
        api_keys = [create_key(engine, label=f"load {number}")["key"] for number in range(keys)]
    options = ("--log-level", "warning", "--db", str(database), *options)
    with run_command("serve", *options) as port:
        yield Address("127.0.0.1", port, api_keys)


@contextmanager
def run_command(*arguments: str) -> Iterator[int]:
    """Run a command of `bighub-langgraph` that serves, on a free local port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
    command = [sys.executable, "-c", _COMMAND, *arguments, "--port", str(port)]
    with subprocess.Popen(command) as server:
        try:
            _wait_for_server(server, port)
            yield port
        finally:
            server.terminate()


def send_load(address: Address, *, seconds: float, connections: int = CONNECTIONS) -> LoadResult:
    """Request decisions over parallel connections for this many seconds."""
    return asyncio.run(_send_load(address, seconds, connections))


def measure(seconds: float = 10.0, connections: int = CONNECTIONS) -> dict[str, float]:
    """The figures of a server on a file, after one second of warm-up."""
    with (
        tempfile.TemporaryDirectory() as directory,
        run_server(Path(directory, "bighub.db"), keys=connections) as address,
    ):
        send_load(address, seconds=1.0, connections=connections)
        return send_load(address, seconds=seconds, connections=connections).figures()


async def _send_load(address: Address, seconds: float, connections: int) -> LoadResult:
    loop = asyncio.get_running_loop()
    result = LoadResult(seconds)
    deadline = time.perf_counter() + seconds
    clients = []
    for number in range(connections):
        key = address.keys[number % len(address.keys)]
        _, client = await loop.create_connection(
            lambda key=key, number=number: _Client(key, number, deadline, result),  # type: ignore[misc]
            address.host,
            address.port,
        )
        clients.append(client)
    start = time.perf_counter()
    await asyncio.gather(*(client.done for client in clients))
    result.seconds = time.perf_counter() - start
    return result


class _Client(asyncio.Protocol):
    """A connection that sends the next request after each response."""

    def __init__(self, key: str, number: int, deadline: float, result: LoadResult) -> None:
        self._head = (
            "POST /actions/evaluate HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
            f"Content-Type: application/json\r\nX-API-Key: {key}\r\n"
        )
        self._deadline = deadline
        self._result = result
        self._request_count = 0
        self._run = f"{uuid4().hex[:8]}-{number}"
        self._start = 0.0
        self._buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport: Any = transport
        self._send_request()

    def data_received(self, data: bytes) -> None:
        """Read a response; when it is complete, send the next request."""
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or len(body) < _content_length(head):
            return
        self._buffer = b""
        self._result.latencies.append((time.perf_counter() - self._start) * 1e3)
        self._result.errors += not head.startswith(b"HTTP/1.1 200")
        if time.perf_counter() < self._deadline:
            self._send_request()
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail if the server closes the connection early."""
        if not self.done.done():
            self.done.set_exception(
                error or ConnectionResetError("the server closed the connection")
            )

    def _send_request(self) -> None:
        self._request_count += 1
        body = json.dumps(_build_request(self._run, self._request_count)).encode()
        head = (
            f"{self._head}Idempotency-Key: {self._run}-{self._request_count}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._start = time.perf_counter()
        self._transport.write(head.encode() + body)


def _build_request(run: str, number: int) -> dict[str, Any]:
    return {
        "action": f"refund{number % 20}",
        "actor": "support-agent",
        "value": float(number % 97),
        "target": f"order-{run}-{number}",
        "domain": "shop",
        "context": {
            "session_id": f"{run}-{number // 10}",
            "arguments": {"amount": number % 97, "why": "x"},
        },
    }


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError("the server sent no Content-Length")


def _wait_for_server(server: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the server did not start within {_START_TIMEOUT:g} seconds")


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
