"""The approval page for tests: a journal with calls that wait, and a browser's view of the page."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from bighub_langgraph import Journal
from bighub_langgraph.approvals.accounts import Accounts
from bighub_langgraph.approvals.inbox import ApprovalInbox
from bighub_langgraph.approvals.web.pages import create_app
from bighub_langgraph.approvals.web.visitors import TrustedProxy, Visitors
from bighub_langgraph.core.evidence import build_evidence, describe_call
from bighub_langgraph.core.lifecycle import DecisionMade, apply_event
from bighub_langgraph.core.models import (
    Answer,
    ApprovalRequirement,
    CallRecord,
    EvaluationRequest,
    ToolCall,
    Verdict,
)
from bighub_langgraph.core.ports import ApprovalQuestion
from bighub_langgraph.core.reporting import ReportingConfig
from tests.calls import decision

PASSWORD = "correct horse battery"
HERE = "http://127.0.0.1:8788"
SCHEMA = {
    "type": "object",
    "properties": {
        "order_id": {"type": "string", "description": "The order to refund."},
        "amount": {"type": "number", "minimum": 0, "maximum": 500},
        "currency": {"type": "string", "enum": ["EUR", "USD"]},
        "urgent": {"type": "boolean"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "items": {"type": "array", "items": {"type": "string"}},
        "api_token": {"type": "string", "minLength": 20},
    },
    "required": ["order_id", "amount"],
}
ARGUMENTS = {"order_id": "ord_1", "amount": 20.0, "currency": "EUR", "items": ["shoes"]}


def put_call(
    journal: Journal,
    number: int = 1,
    arguments: Mapping[str, Any] = ARGUMENTS,
    *,
    risk: float = 0.62,
    agent: str = "support-desk",
    tool: str = "refund",
    actor: str = "AI_AGENT",
    locked_pointers: tuple[str, ...] = (),
    expires_at: float | None = None,
    requirement: ApprovalRequirement = ApprovalRequirement(),  # noqa: B008 - immutable
    allowed_decisions: tuple[Answer, ...] = tuple(Answer),
    **evidence: Any,
) -> CallRecord:
    """A call that waits, as a guard's question leaves it in the journal."""
    call = ToolCall(f"thread-{number}", "turn", f"call-{number}", tool, arguments)
    value = arguments.get("amount") if isinstance(arguments.get("amount"), float) else None
    target = str(arguments.get("order_id", "")) or None
    request = EvaluationRequest(
        tool, actor, "payments", value, target, {"arguments": dict(arguments)}
    )
    new_decision = decision("review_recommended", risk_score=risk, **evidence)
    record = CallRecord.of(call, request, 1_800_000_000.0)
    event = DecisionMade(
        new_decision, Verdict.REVIEW, expires_at=expires_at, requirement=requirement
    )
    record = apply_event(record, event)
    journal.insert([record], ReportingConfig())
    question = ApprovalQuestion(
        record.key,
        agent,
        call.thread,
        "",
        SCHEMA,
        "Pay money back to a customer.",
        describe_call(record, arguments),
        build_evidence(record),
        dict(arguments),
        locked_pointers,
        tuple(answer.value for answer in allowed_decisions),
        allow_tool_change=False,
    )
    journal.store_questions([question])
    return record


class Page:
    """The page, and a person's browser at it."""

    def __init__(
        self,
        journal: Journal,
        *,
        public_url: str | None = None,
        proxy: TrustedProxy | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.inbox = ApprovalInbox(journal)
        self.accounts = Accounts(journal)
        visitors = Visitors(self.accounts, public_url=public_url, proxy=proxy)
        self.app = create_app(self.inbox, self.accounts, visitors)
        self.base = public_url or HERE
        self.address = address

    @contextmanager
    def browser(self) -> Iterator["Browser"]:
        """A browser without cookies."""
        with TestClient(
            self.app, self.base, client=(self.address, 5000), follow_redirects=False
        ) as client:
            yield Browser(client, self.base)

    @contextmanager
    def sign_in_as(self, name: str, *roles: str) -> Iterator["Browser"]:
        """The browser of a new user."""
        self.accounts.add(name, roles or ("approver",), PASSWORD, by="root")
        with self.browser() as browser:
            assert browser.send("/sign-in", name=name, password=PASSWORD).status_code == 303
            yield browser


class Browser:
    """Gets pages, and sends their forms as a browser does."""

    def __init__(self, client: Any, origin: str) -> None:
        self.client = client
        self.headers = {"origin": origin, "sec-fetch-site": "same-origin"}

    def show(self, path: str) -> Any:
        return self.client.get(path)

    def token(self, path: str) -> str:
        """The token in a page's forms."""
        match = re.search(r'name="form_token" value="(\w+)"', self.show(path).text)
        return match[1] if match else ""

    def send(self, path: str, *, headers: Any = None, page: str | None = None, **form: Any) -> Any:
        """Send a form of a page, by default of the one it is sent to."""
        form = {"form_token": self.token(page or path), **form}
        return self.client.post(path, data=form, headers={**self.headers, **(headers or {})})

    def answer(self, record: CallRecord, answer: str, **form: Any) -> Any:
        """Answer a call as its page shows it."""
        page = f"/calls/{record.key}"
        form.setdefault("version", record.version)
        return self.send(page, answer=answer, **form)


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[str]:
    """`bighub-langgraph inbox` as a process, with the journal of a folder; yields its URL."""
    command = [sys.executable, "-c", "from bighub_langgraph.cli import main; main()", "inbox"]
    process = subprocess.Popen(
        [*command, "--port", "0", *options],
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        line = next(line for line in process.stderr if "running on" in line)
        match = re.search(r"http://[\d.:]+", line)
        assert match is not None
        yield match[0]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
