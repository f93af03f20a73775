"""A scripted BIGHUB with the SDK's methods, blocking and async, that keeps what it receives."""

import itertools
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, Self

Json = dict[str, Any]

PROCEED = {"recommendation": "proceed", "enforcement_mode": "advisory", "risk_score": 0.1}
REVIEW = {
    "recommendation": "review_recommended",
    "requires_approval": True,
    "enforcement_mode": "advisory",
}
STOP = {"recommendation": "do_not_proceed", "enforcement_mode": "advisory", "reason": "too risky"}


class ScriptedBighub:
    """Answers every evaluation with the same reply, or with what a function makes of it."""

    def __init__(self, reply: Json | Callable[[Json], Json] = PROCEED) -> None:
        self._reply = reply
        self._numbers = itertools.count(1)
        self.evaluations: list[Json] = []
        self.reports: list[Json] = []
        self.resolutions: list[Json] = []
        self.memories: list[Json] = []
        self.closed = False
        self.actions = SimpleNamespace(
            submit=self._evaluate, submit_payload=self._evaluate_payload, ingest_memory=self._ingest
        )
        self.outcomes = SimpleNamespace(report=self._report)
        self.approvals = SimpleNamespace(resolve=self._resolve)

    def close(self) -> None:
        self.closed = True

    def _evaluate(self, **request: Any) -> Json:
        self.evaluations.append(request)
        reply = self._reply(request) if callable(self._reply) else self._reply
        return {"request_id": f"req_{next(self._numbers)}", **reply}

    def _evaluate_payload(self, *, payload: Json, **_: Any) -> Json:
        return self._evaluate(**payload)

    def _report(self, **outcome: Any) -> Json:
        self.reports.append(outcome)
        return {"request_id": outcome.get("request_id"), "recorded": True}

    def _ingest(self, **memory: Any) -> Json:
        self.memories.append(memory)
        return {"accepted": len(memory["events"])}

    def _resolve(self, request_id: str, *, resolution: str, comment: str | None = None) -> Json:
        self.resolutions.append(
            {"request_id": request_id, "resolution": resolution, "comment": comment}
        )
        return {"request_id": request_id, "status": resolution, "resolution": resolution}


class AsyncScriptedBighub(ScriptedBighub):
    """The same with coroutines."""

    def __init__(self, reply: Json | Callable[[Json], Json] = PROCEED) -> None:
        super().__init__(reply)
        self.actions = SimpleNamespace(
            submit=_awaitable(self._evaluate),
            submit_payload=_awaitable(self._evaluate_payload),
            ingest_memory=_awaitable(self._ingest),
        )
        self.outcomes = SimpleNamespace(report=_awaitable(self._report))
        self.approvals = SimpleNamespace(resolve=_awaitable(self._resolve))


def _awaitable(function: Callable[..., Json]) -> Callable[..., Any]:
    async def coroutine(*args: Any, **options: Any) -> Json:
        return function(*args, **options)

    return coroutine


class BighubServer:
    """BIGHUB over HTTP, for the real SDK: a few paths of its API over a `ScriptedBighub`."""

    def __init__(self, bighub: ScriptedBighub) -> None:
        self.bighub = bighub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(bighub))
        self._server.daemon_threads = True
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """The base URL for a client."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(bighub: ScriptedBighub) -> type[BaseHTTPRequestHandler]:
    def answer(path: str, body: Json) -> Json:
        match path.strip("/").split("/"):
            case ["actions", "evaluate"]:
                return bighub._evaluate(**body)
            case ["actions", "memory", "ingest"]:
                return bighub._ingest(**body)
            case ["outcomes", "report"]:
                return bighub._report(**body)
            case ["outcomes", "report", "batch"]:
                return {"reported": [bighub._report(**outcome) for outcome in body["outcomes"]]}
            case ["approvals", request_id, "resolve"]:
                return bighub._resolve(request_id, **body)
        raise LookupError(path)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            content = json.dumps(answer(self.path, body)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class
            """Say nothing."""

    return Handler
