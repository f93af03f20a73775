"""The process that serves the approval page."""

import logging
from collections.abc import Sequence

from bighub_langgraph.approvals.accounts import Accounts
from bighub_langgraph.approvals.inbox import ApprovalInbox
from bighub_langgraph.approvals.web.pages import create_app
from bighub_langgraph.approvals.web.visitors import Visitors, parse_networks
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.json_logs import LogFormat, configure_server_logs
from bighub_langgraph.local.server import is_loopback
from bighub_langgraph.local.server.connections import check_address, run_until_stopped

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
    _check_exposure(visitors, host, forwarded_allow_ips)
    check_address(host, port)
    configure_server_logs("info", log_format)
    if visitors.proxy is None and not accounts.users():
        log.warning(NOBODY)
    app = create_app(ApprovalInbox(accounts.journal), accounts, visitors)
    run_until_stopped(
        app,
        host=host,
        port=port,
        closing_seconds=5,
        proxy_headers=bool(forwarded_allow_ips),
        forwarded_allow_ips=[*forwarded_allow_ips],
    )


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
