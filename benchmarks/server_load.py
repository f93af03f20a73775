"""Decisions a second of `bighub-langgraph serve`, asked over many connections that are kept open.

The server is the command itself in a process of its own; the load comes from this one. It speaks
just enough HTTP/1.1 to keep out of the way. Each connection sends its own API key, an action of
its own and an idempotency key, and asks again as soon as it was answered.
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
from bighub_langgraph.local.keys import create_key

CONNECTIONS = 32
_PATIENCE = 30.0
_COMMAND = "from bighub_langgraph.cli import main; main()"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens, and keys that it knows."""

    host: str
    port: int
    keys: list[str]


@dataclass(slots=True)
class Load:
    """What came of a load."""

    seconds: float
    latencies: list[float] = field(default_factory=list)  # milliseconds
    refused: int = 0

    @property
    def a_second(self) -> float:
        """Decisions a second."""
        return len(self.latencies) / self.seconds

    def figures(self) -> dict[str, float]:
        """The figures that are told."""
        ordered = sorted(self.latencies)
        return {
            "decisions": len(ordered),
            "refused": self.refused,
            "a_second": round(self.a_second, 1),
            "p50_ms": round(ordered[len(ordered) // 2], 3),
            "p99_ms": round(ordered[int(0.99 * len(ordered))], 3),
        }


@contextmanager
def serving(database: Path, *options: str, keys: int = CONNECTIONS) -> Iterator[Address]:
    """Run `bighub-langgraph serve` on a free port of this machine, with keys for its callers."""
    with Engine(f"sqlite:///{database}") as engine:
        made = [create_key(engine, label=f"load {number}")["key"] for number in range(keys)]
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", _COMMAND, "serve", "--log-level", "warning"]
    asked = [*command, "--db", str(database), "--port", str(port), *options]
    with subprocess.Popen(asked) as server:
        try:
            _wait(server, port)
            yield Address("127.0.0.1", port, made)
        finally:
            server.terminate()


def load(address: Address, *, seconds: float, connections: int = CONNECTIONS) -> Load:
    """Ask for decisions over some connections at once for some seconds."""
    return asyncio.run(_load(address, seconds, connections))


def measure(seconds: float = 10.0, connections: int = CONNECTIONS) -> dict[str, float]:
    """Decisions a second of a server on a file, after a second of warming up."""
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(Path(directory, "bighub.db"), keys=connections) as address,
    ):
        load(address, seconds=1.0, connections=connections)
        return load(address, seconds=seconds, connections=connections).figures()


async def _load(address: Address, seconds: float, connections: int) -> Load:
    loop = asyncio.get_running_loop()
    came = Load(seconds)
    until = time.perf_counter() + seconds
    callers = []
    for number in range(connections):
        key = address.keys[number % len(address.keys)]
        _, caller = await loop.create_connection(
            lambda key=key, number=number: _Caller(key, number, until, came),  # type: ignore[misc]
            address.host,
            address.port,
        )
        callers.append(caller)
    began = time.perf_counter()
    await asyncio.gather(*(caller.done for caller in callers))
    came.seconds = time.perf_counter() - began
    return came


class _Caller(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, key: str, number: int, until: float, came: Load) -> None:
        self._head = (
            "POST /actions/evaluate HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
            f"Content-Type: application/json\r\nX-API-Key: {key}\r\n"
        )
        self._until = until
        self._came = came
        self._asked = 0
        self._run = f"{uuid4().hex[:8]}-{number}"
        self._began = 0.0
        self._left = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        self._transport: Any = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Read an answer; when it is whole, ask again."""
        self._left += data
        head, found, body = self._left.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return
        self._left = b""
        self._came.latencies.append((time.perf_counter() - self._began) * 1e3)
        self._came.refused += not head.startswith(b"HTTP/1.1 200")
        if time.perf_counter() < self._until:
            self._ask()
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """A server that hangs up before the end has failed."""
        if not self.done.done():
            self.done.set_exception(error or ConnectionResetError("the server hung up"))

    def _ask(self) -> None:
        self._asked += 1
        body = json.dumps(_body(self._run, self._asked)).encode()
        head = (
            f"{self._head}Idempotency-Key: {self._run}-{self._asked}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._began = time.perf_counter()
        self._transport.write(head.encode() + body)


def _body(run: str, number: int) -> dict[str, Any]:
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


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError("the server sent no content-length")


def _wait(server: "subprocess.Popen[bytes]", port: int) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the server did not start")


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
