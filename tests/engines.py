"""Fakes of BIGHUB: a client with the SDK's methods, and a service on loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.calls import reply


class ScriptedBighub:
    """A blocking client that answers from a script and records its requests.

    Args:
        response: The response to an evaluation: a recommendation, a reply or an exception, by
            action or for all actions.
    """

    def __init__(self, response: Any = "proceed") -> None:
        self.evaluations: list[dict[str, Any]] = []
        self.reported_outcomes: list[dict[str, Any]] = []
        self.batches: list[int] = []
        self.resolutions: list[dict[str, Any]] = []
        self.rounds: list[dict[str, Any]] = []
        self.response = response
        self.away = False
        self.actions = self
        self.outcomes = self
        self.approvals = self

    def submit(self, **fields: Any) -> Any:
        self.evaluations.append(fields)
        self._check()
        response = self.response
        if isinstance(response, dict):
            response = response.get(fields["action"])
        if isinstance(response, Exception):
            raise response
        if not isinstance(response, str):
            return response
        is_review = response == "review_recommended"
        request_id = f"req-{len(self.evaluations)}"
        return reply(response, request_id=request_id, requires_approval=is_review)

    def submit_payload(self, *, payload: dict[str, Any], idempotency_key: str) -> Any:
        return self.submit(**payload, idempotency_key=idempotency_key, as_payload=True)

    def report(self, **outcome: Any) -> None:
        self._check()
        self.reported_outcomes.append(outcome)

    def report_batch(self, outcomes: list[dict[str, Any]]) -> dict[str, Any]:
        self._check()
        self.batches.append(len(outcomes))
        self.reported_outcomes += outcomes
        return {"accepted": len(outcomes)}

    def resolve(self, request_id: str, **resolution: Any) -> dict[str, Any]:
        self._check()
        self.resolutions.append({"request_id": request_id, **resolution})
        return {"status": resolution["resolution"]}

    def ingest_memory(self, **round_: Any) -> None:
        self._check()
        self.rounds.append(round_)

    @property
    def statuses(self) -> list[str]:
        """The statuses of the reported outcomes, in order."""
        return [outcome["status"] for outcome in self.reported_outcomes]

    def _check(self) -> None:
        if self.away:
            raise ConnectionError("BIGHUB is away")


class AsyncScriptedBighub:
    """The same as coroutines."""

    def __init__(self, response: Any = "proceed") -> None:
        self.blocking = ScriptedBighub(response)
        self.actions = self
        self.outcomes = self
        self.approvals = self

    async def submit(self, **fields: Any) -> Any:
        return self.blocking.submit(**fields)

    async def report(self, **outcome: Any) -> None:
        self.blocking.report(**outcome)

    async def resolve(self, request_id: str, **resolution: Any) -> dict[str, Any]:
        return self.blocking.resolve(request_id, **resolution)

    async def ingest_memory(self, **round_: Any) -> None:
        self.blocking.ingest_memory(**round_)


@dataclass
class Answer:
    """One HTTP answer: a status, a body (JSON, or text as it is), how long it takes."""

    status: int = 200
    body: Any = field(default_factory=reply)
    kind: str = "application/json"
    hold: threading.Event | None = None

    @property
    def raw(self) -> bytes:
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


class Service:
    """A loopback service: records its requests, answers from a script, then with its last line."""

    def __init__(self, answers: list[Answer]) -> None:
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self._answers = answers
        self._lock = threading.Lock()
        self.url = ""

    def answer(self, path: str, headers: dict[str, str], body: Any) -> Answer:
        with self._lock:
            self.requests.append((path, headers, body))
            return self._answers[min(len(self.requests), len(self._answers)) - 1]


@contextmanager
def service(*answers: Answer) -> Iterator[Service]:
    """A BIGHUB service on loopback that answers from a script."""
    scripted = Service(list(answers))

    class RequestHandler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length) or b"null")
            answer = scripted.answer(
                self.path, {k.lower(): v for k, v in self.headers.items()}, body
            )
            if answer.hold is not None:
                answer.hold.wait(10)
            try:
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.kind)
                self.send_header("Content-Length", str(len(answer.raw)))
                self.end_headers()
                self.wfile.write(answer.raw)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client did not wait

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), RequestHandler)
    scripted.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield scripted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
