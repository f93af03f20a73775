"""How an application is served: where, and which connections a client may hold for how long."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.local.server.auth_and_rate_limits import ServerLimits

_RESPONSE = "HTTP/1.1 {}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_Protocol: Any = AutoHTTPProtocol  # one of two classes of uvicorn; both call `app` with a request


def check_address(host: str, port: int) -> None:
    """Check that a server can listen at an address; uvicorn ends the process without a reason.

    Raises:
        ConfigurationError: Another program listens there, or it is no address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"cannot listen on {host}, port {port}: {reason}; pass another --port or --host"
        ) from error


def run_until_stopped(
    app: ASGIApp, *, host: str, port: int, closing_seconds: int, **options: Any
) -> None:
    """Serve an application until the process is stopped, then end the requests in progress.

    Its log is the caller's; an access log would show contents.
    """
    uvicorn.run(
        app,
        http=create_limited_protocol(ServerLimits()),
        host=host,
        port=port,
        access_log=False,
        log_config=None,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=closing_seconds,
        **options,
    )


@contextmanager
def serve_in_background(app: ASGIApp, **options: Any) -> Iterator[str]:
    """Serve an application from a thread, on a free port of loopback; the value is its URL."""
    config = uvicorn.Config(app, log_level="warning", proxy_headers=False, ws="none", **options)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def create_limited_protocol(limits: ServerLimits) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP protocol with limits; by itself it waits for a request for ever."""
    attributes = {"limits": limits, "open_connections": Counter[str]()}
    return type("LimitedProtocol", (_LimitedProtocol,), attributes)


class _LimitedProtocol(_Protocol):  # type: ignore[misc]
    """One connection.

    Attributes:
        open_connections: How many there are, by address.
    """

    limits: ServerLimits
    open_connections: Counter[str]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.application: ASGIApp = self.app  # type: ignore[has-type]
        self.app = self.run
        self.address = ""
        self.deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Start to wait for a request, or close a connection too many."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        self.open_connections[self.address] += 1
        self.await_request()
        if self.open_connections[self.address] > self.limits.connections_per_address:
            self.refuse("429 Too Many Requests")

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        self.cancel_deadline()
        self.open_connections[self.address] -= 1
        if not self.open_connections[self.address]:
            del self.open_connections[self.address]
        super().connection_lost(error)

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whose body may still be on its way."""

        async def receive_and_note_the_end() -> Message:
            message = await receive()
            if not message.get("more_body"):
                self.cancel_deadline()
            return message

        try:
            await self.application(scope, receive_and_note_the_end, send)
        finally:
            self.await_request()

    def await_request(self) -> None:
        """Close the connection unless a request arrives completely in time."""
        self.cancel_deadline()
        if not self.transport.is_closing():
            loop, seconds = asyncio.get_running_loop(), self.limits.request_seconds
            self.deadline = loop.call_later(seconds, self.refuse, "408 Request Timeout")

    def cancel_deadline(self) -> None:
        """A request is complete, or none is expected."""
        if self.deadline is not None:
            self.deadline.cancel()

    def refuse(self, status: str) -> None:
        """Close the connection with a status."""
        self.transport.write(_RESPONSE.format(status).encode())
        self.transport.close()
