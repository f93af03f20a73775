"""The process that serves the approval page."""

import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from logging.config import dictConfig
from typing import Any

from fastapi import FastAPI

from bighub_langgraph.approvals.accounts import Accounts
from bighub_langgraph.approvals.inbox import ApprovalInbox
from bighub_langgraph.approvals.web.pages import create_app
from bighub_langgraph.approvals.web.visitors import Visitors, parse_networks
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.json_logs import LogFormat, log_config
from bighub_langgraph.local.server import ServerLimits, is_loopback
from bighub_langgraph.local.server.connections import check_address, create_limited_protocol

log = logging.getLogger("bighub_langgraph")

NOBODY = "nobody can sign in yet: add a user with `bighub-langgraph inbox users add`"


def serve(
    accounts: Accounts,
    visitors: Visitors,
    *,
    host: str,
    port: int,
    forwarded_allow_ips: Sequence[str] = (),
    log_format: LogFormat = "text",
) -> None:
    """Serve the page until the process is stopped.

    Args:
        accounts: The users who may open the page.
        visitors: How requests are matched with them.
        host: The address to listen on.
        port: The port to listen on.
        forwarded_allow_ips: The proxies whose `X-Forwarded-For` names the client of whom attempts
            to sign in are counted. Without one it is the other end of the connection.
        log_format: How the log is written to stderr.

    Raises:
        ConfigurationError: Other machines could reach it, and their people would not know where;
            or an address of a proxy cannot be used.
    """
    import uvicorn

    _check_exposure(visitors, host, forwarded_allow_ips)
    check_address(host, port)
    dictConfig(log_config("info", log_format))
    logging.captureWarnings(log_format == "json")
    if visitors.proxy is None and not accounts.users():
        log.warning(NOBODY)
    app = create_app(ApprovalInbox(accounts.journal), accounts, visitors)
    uvicorn.run(
        app,
        http=create_limited_protocol(ServerLimits()),
        host=host,
        port=port,
        proxy_headers=bool(forwarded_allow_ips),
        forwarded_allow_ips=[*forwarded_allow_ips],
        access_log=False,
        log_config=None,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=5,
    )


@contextmanager
def serve_in_background(app: FastAPI, **options: Any) -> Iterator[str]:
    """Serve an application from a thread, on a free port of loopback; the value is its URL."""
    import uvicorn

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


def _check_exposure(visitors: Visitors, host: str, forwarded_allow_ips: Sequence[str]) -> None:
    """Refuse a page that other machines reach without encryption, or by two kinds of proxy."""
    parse_networks("--forwarded-allow-ips", forwarded_allow_ips)
    if forwarded_allow_ips and visitors.proxy is not None:
        raise ConfigurationError(
            "--forwarded-allow-ips is for people who sign in on the page, and --trusted-header for "
            "those whom a proxy signs in, by the address of its connection: pass one of them"
        )
    if not is_loopback(host) and not visitors.is_secure:
        raise ConfigurationError(
            f"{host} can be reached from other machines: pass --public-url https://..., where "
            "people open the page, and let a proxy there add the encryption"
        )
