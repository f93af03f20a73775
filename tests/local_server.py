"""A real server on loopback for the tests of the HTTP API."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from bighub_langgraph.local import Engine
from bighub_langgraph.local.server import ServerLimits, create_app
from bighub_langgraph.local.server.connections import create_limited_protocol


@contextmanager
def serve_engine(engine: Engine, **options: Any) -> Iterator[str]:
    """Serve an engine on a free port; the value is the server's address."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(engine, **options)
    http = create_limited_protocol(options.get("limits") or ServerLimits())
    config = uvicorn.Config(app, http=http, log_level="warning", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
