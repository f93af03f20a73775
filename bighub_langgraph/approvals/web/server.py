"""The process that serves the approval page."""

from bighub_langgraph.approvals.accounts import Accounts
from bighub_langgraph.approvals.inbox import ApprovalInbox
from bighub_langgraph.approvals.web.pages import create_app
from bighub_langgraph.approvals.web.visitors import Visitors
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.local.server import ServerLimits, is_loopback
from bighub_langgraph.local.server.connections import limited_protocol


def serve(
    accounts: Accounts, visitors: Visitors, *, host: str, port: int, log_level: str = "info"
) -> None:
    """Serve the page until the process is stopped.

    Raises:
        ConfigurationError: Other machines could reach it, and their people would not know where.
    """
    import uvicorn

    if not is_loopback(host) and not visitors.is_secure:
        raise ConfigurationError(
            f"{host} can be reached from other machines: pass --public-url https://..., where "
            "people open the page, and let a proxy there add the encryption"
        )
    app = create_app(ApprovalInbox(accounts.journal), accounts, visitors)
    uvicorn.run(
        app,
        http=limited_protocol(ServerLimits()),
        host=host,
        port=port,
        proxy_headers=False,  # the address of the socket counts
        access_log=False,
        log_level=log_level,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=5,
    )
