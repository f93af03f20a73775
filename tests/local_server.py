"""A real server on loopback for the tests of the HTTP API."""

from contextlib import AbstractContextManager
from typing import Any

from bighub_langgraph.local import Engine
from bighub_langgraph.local.server import ServerLimits, create_app
from bighub_langgraph.local.server.connections import create_limited_protocol, serve_in_background


def serve_engine(engine: Engine, **options: Any) -> AbstractContextManager[str]:
    """Serve an engine on a free port; the value is the server's address."""
    http = create_limited_protocol(options.get("limits") or ServerLimits())
    return serve_in_background(create_app(engine, **options), http=http)
