"""The embedded engine over HTTP, for teams whose decisions must stay in their own network."""

from bighub_langgraph.local.server.auth_and_rate_limits import ServerLimits
from bighub_langgraph.local.server.http_app import (
    PublicWithoutKeys,
    create_app,
    is_loopback,
    serve,
)

__all__ = ["PublicWithoutKeys", "ServerLimits", "create_app", "is_loopback", "serve"]
