"""Real servers on loopback that receive messages: a mail server and a webhook."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword


@dataclass
class Webhook:
    """What was posted to a URL, and with which status it answers."""

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    received: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def messages(self) -> list[Any]:
        return [json.loads(body) for body in self.bodies]

    def wait(self) -> None:
        assert self.received.acquire(timeout=20), "no message came"


@contextmanager
def webhook(status: int = 200) -> Iterator[Webhook]:
    hook = Webhook(status=status)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(self.headers["content-length"]))
            if hook.status == 200:
                hook.bodies.append(body)
            self.send_response(hook.status)
            self.send_header("location", "/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()
            hook.received.release()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    hook.url = f"http://127.0.0.1:{server.server_address[1]}/services/T0/B0/hunter2"
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class MailServer:
    """A mail server that takes messages over TLS from whoever knows the password."""

    port: int
    trusted: ssl.SSLContext
    messages: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(  # noqa: N802 - as aiosmtpd calls it
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        parser = BytesParser(EmailMessage, policy=default)
        self.messages.append(parser.parsebytes(envelope.content))
        return "250 OK"


@contextmanager
def mail_server(*, starttls: bool, password: str = "hunter2") -> Iterator[MailServer]:
    authority = trustme.CA()
    own, trusted = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(own)
    authority.configure_trust(trusted)

    def check(_server: Any, _session: Any, _envelope: Any, _how: str, login: Any) -> AuthResult:
        is_known = isinstance(login, LoginPassword) and login.password == password.encode()
        return AuthResult(success=is_known, handled=False)

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = MailServer(port, trusted)
    options = {"authenticator": check, "auth_required": True, "hostname": "127.0.0.1", "port": port}
    if starttls:
        options |= {"tls_context": own, "require_starttls": True}
    else:
        options |= {"ssl_context": own, "auth_require_tls": False}
    controller = Controller(server, **options)
    controller.start()
    try:
        yield server
    finally:
        controller.stop()
