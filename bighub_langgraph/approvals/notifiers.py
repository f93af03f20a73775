"""Where messages about waiting calls go: a Slack channel, mailboxes, or a webhook of your own."""

import base64
import hashlib
import hmac
import json
import logging
import smtplib
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate
from html import escape
from typing import Any, Literal

from bighub_langgraph.approvals.notifications import Notification, NotificationError
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.redaction import redact_exception
from bighub_langgraph.core.urls import is_web_url, split_url

log = logging.getLogger("bighub_langgraph")

# How long a server may take to accept a message, in seconds.
TIMEOUT = 10.0
SHORTEST_SECRET = 24  # bytes, as Standard Webhooks asks for


@dataclass(frozen=True)
class SlackNotifier:
    """Posts to a channel through one of Slack's incoming webhooks.

    Args:
        webhook_url: The webhook's URL, which is a secret: who knows it can post.
    """

    webhook_url: str = field(repr=False)

    def __post_init__(self) -> None:
        _check_url(self.webhook_url, "webhook_url")

    @property
    def channel(self) -> str:
        """The name under which the journal keeps what was sent."""
        return f"slack {_digest(self.webhook_url)}"

    def send(self, notification: Notification) -> None:
        """Post a message; Slack interprets nothing in it but the link."""
        link = f"<{escape(notification.url, quote=False)}|Sign in to answer>"
        lines = {"type": "plain_text", "emoji": False, "text": "\n".join(notification.lines)}
        message = {
            "text": escape(notification.subject, quote=False),
            "unfurl_links": False,
            "blocks": [
                {"type": "section", "text": lines},
                {"type": "section", "text": {"type": "mrkdwn", "text": link}},
            ],
        }
        _post(self.webhook_url, json.dumps(message).encode(), {})


@dataclass(frozen=True)
class WebhookNotifier:
    """Posts JSON, signed as in Standard Webhooks (https://www.standardwebhooks.com).

    The receiver verifies `webhook-signature` with any of that specification's libraries. A message
    that is sent again after a crash has the same `webhook-id`.

    Args:
        url: Where to post to.
        secret: What both sides know: `whsec_` and base64, or any text of at least 24 bytes.
    """

    url: str = field(repr=False)
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        _check_url(self.url, "url")
        if len(self._decode_secret()) < SHORTEST_SECRET:
            raise ConfigurationError(f"secret has at least {SHORTEST_SECRET} bytes")

    @property
    def channel(self) -> str:
        """The name under which the journal keeps what was sent."""
        return f"webhook {_digest(self.url)}"

    def send(self, notification: Notification) -> None:
        """Post a signed message."""
        timestamp = int(time.time())
        body = json.dumps(notification.to_json(timestamp)).encode()
        content = f"{notification.id}.{timestamp}.".encode() + body
        signature = base64.b64encode(hmac.digest(self._decode_secret(), content, hashlib.sha256))
        headers = {
            "webhook-id": notification.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": f"v1,{signature.decode()}",
        }
        _post(self.url, body, headers)

    def _decode_secret(self) -> bytes:
        if not self.secret.startswith("whsec_"):
            return self.secret.encode()
        try:
            return base64.b64decode(self.secret.removeprefix("whsec_"), validate=True)
        except ValueError:
            raise ConfigurationError("secret begins with whsec_ and is no base64") from None


@dataclass(frozen=True, kw_only=True)
class EmailNotifier:
    """Sends e-mail over SMTP.

    Args:
        host: The mail server.
        sender: The address that the message comes from.
        recipients: The addresses that it goes to.
        port: 587 for STARTTLS, 465 for TLS.
        security: Without "starttls" or "tls" there is no username and password.
        username: Who signs in at the mail server; nobody by default.
        tls: For a mail server whose certificate is not signed by a public authority.
    """

    host: str
    sender: str
    recipients: Sequence[str]
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        if isinstance(self.recipients, str) or not self.recipients:
            raise ConfigurationError("recipients is a list of addresses")
        if self.security not in {"starttls", "tls", "none"}:
            raise ConfigurationError(f"security is starttls, tls or none, not {self.security!r}")
        if self.security == "none" and (self.username or self.password):
            raise ConfigurationError("a password is not sent without TLS; set security=")

    @property
    def channel(self) -> str:
        """The name under which the journal keeps what was sent."""
        return f"email {_digest(' '.join(sorted(self.recipients)))}"

    def send(self, notification: Notification) -> None:
        """Send a message to all recipients."""
        message = EmailMessage()
        message["Subject"] = notification.subject
        message["From"], message["To"] = self.sender, ", ".join(self.recipients)
        message["Date"], message["Auto-Submitted"] = formatdate(), "auto-generated"
        message["Message-ID"] = f"<{notification.id}@{self.sender.rpartition('@')[2]}>"
        message.set_content(f"{notification.text}\n")
        try:
            refusals = self._deliver(message)
        except (OSError, smtplib.SMTPException) as error:
            raise NotificationError(f"{self.host}: {redact_exception(error)}") from error
        if refusals:
            log.warning("%s refused %d of the recipients", self.host, len(refusals))

    def _deliver(self, message: EmailMessage) -> Mapping[str, Any]:
        tls = self.tls or ssl.create_default_context()
        address = (self.host, self.port)
        with (
            smtplib.SMTP_SSL(*address, timeout=TIMEOUT, context=tls)
            if self.security == "tls"
            else smtplib.SMTP(*address, timeout=TIMEOUT)
        ) as server:
            if self.security == "starttls":
                server.starttls(context=tls)
            if self.username:
                server.login(self.username, self.password)
            return server.send_message(message)


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Post JSON; follow no redirect, and do not read what the server replies."""
    import httpx  # slow to import

    host, headers = split_url(url).hostname, {**headers, "content-type": "application/json"}
    try:
        with (
            _hide_from_logs(str(httpx.URL(url))),
            httpx.stream("POST", url, content=body, headers=headers, timeout=TIMEOUT) as response,
        ):
            status = response.status_code
    except httpx.HTTPError as error:
        raise NotificationError(f"{host} cannot be reached: {type(error).__name__}") from error
    if not response.is_success:
        raise NotificationError(f"{host} answered with status {status}")


@contextmanager
def _hide_from_logs(url: str) -> Iterator[None]:
    """Drop what httpx logs about a URL, which is a secret."""
    logger = logging.getLogger("httpx")

    def is_harmless(record: logging.LogRecord) -> bool:
        return url not in record.getMessage()

    logger.addFilter(is_harmless)
    try:
        yield
    finally:
        logger.removeFilter(is_harmless)


def _check_url(url: str, name: str) -> None:
    if not is_web_url(url):
        raise ConfigurationError(f"{name} is the URL of a webhook, https://...")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
