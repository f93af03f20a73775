"""The approval page of the demo, and an agent that goes on once a person has answered there."""

import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from bighub_langgraph import Journal
from bighub_langgraph.cli.demo.demo_run import Stop
from bighub_langgraph.cli.demo.world import Request
from bighub_langgraph.core.approval_answers import RECORDED
from bighub_langgraph.core.models import State
from bighub_langgraph.core.ports import JournalPort

USER = "demo"
# How often it is looked whether a person has answered, in seconds.
POLL = 0.2


@contextmanager
def serve_page(journal: Journal) -> Iterator[str]:
    """Serve the page of a journal on loopback; the value is a link that signs in once."""
    import uvicorn

    from bighub_langgraph.approvals.accounts import Accounts
    from bighub_langgraph.approvals.inbox import ApprovalInbox
    from bighub_langgraph.approvals.web.pages import create_app
    from bighub_langgraph.approvals.web.visitors import Visitors

    accounts = Accounts(journal)
    if accounts.find(USER) is None:
        accounts.add(USER, {"approver"}, None, by=USER)
    app = create_app(ApprovalInbox(journal), accounts, Visitors(accounts))
    config = uvicorn.Config(app, log_level="warning", proxy_headers=False, ws="none")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            yield f"{address}/sign-in?link={accounts.create_link(USER)}"
        finally:
            server.should_exit = True
            thread.join()


def wait_for_answers(
    journal: JournalPort,
    stop: Stop,
    _request: Request,
    action_requests: Sequence[Mapping[str, Any]],
) -> Mapping[str, Any]:
    """Return what an agent is resumed with, once its calls are answered on the page."""
    keys = [request["bighub"]["key"] for request in action_requests]
    with stop.interrupt():
        while any(record.state is State.AWAITING for record in journal.find(keys).values()):
            time.sleep(POLL)
    return RECORDED
