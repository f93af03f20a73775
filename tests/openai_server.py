"""A server on loopback that refuses what OpenAI's Responses API refuses; its answers are given."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.openai_answers import Answer, events, final_response, response, says
from tests.openai_rules import Memory, Refused, check, conversation_items, reasons
from tests.openai_spec import faults

Json = dict[str, Any]
Script = Answer | Callable[[Json], Answer]


class ResponsesServer:
    """The service: `script` queues answers, `requests` are the bodies it took.

    `otherwise` answers when nothing is queued.

    A request that breaks a rule fails the test when the server is closed, unless `refusals` was
    emptied.
    """

    def __init__(self) -> None:
        self.requests: list[Json] = []
        self.headers: list[dict[str, str]] = []
        self.refusals: list[str] = []
        self.expected: tuple[str, ...] = ("Encrypted content is not supported",)
        self.otherwise: Script = says("Done.")
        self._script: list[Script] = []
        self._memory = Memory()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.service = self  # type: ignore[attr-defined]  # how the standard library hands things on
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """The base URL for a client."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def script(self, *answers: Script) -> "ResponsesServer":
        """Queue answers, one for each request."""
        self._script.extend(answers)
        return self

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        if kind is None:
            unexpected_refusals = [r for r in self.refusals if not r.startswith(self.expected)]
            assert not unexpected_refusals, f"the service refused: {unexpected_refusals}"

    def respond(self, body: Json, headers: dict[str, str]) -> tuple[Answer, Json]:
        """Check a request and give the next answer."""
        with self._lock:
            try:
                return self._answer(body, headers)
            except Refused as refusal:
                self.refusals.append(str(refusal))
                raise

    def _answer(self, body: Json, headers: dict[str, str]) -> tuple[Answer, Json]:
        for fault in faults(body):
            raise Refused(fault)
        items = conversation_items(body, self._memory)
        check(body, items, self._memory)
        self.requests.append(body)
        self.headers.append(headers)
        script = self._script.pop(0) if self._script else self.otherwise
        answer = script(body) if callable(script) else script
        if answer.failure:
            raise _Failure(answer)
        response_ = response(answer, body, reasons=reasons(body["model"]))
        self._remember(body, items, response_)
        return answer, response_

    def _remember(self, body: Json, items: list[Json], response_: Json) -> None:
        output, memory = response_["output"], self._memory
        if output and output[0]["type"] == "reasoning" and len(output) > 1:
            memory.following[output[0]["id"]] = output[1]["id"]
            memory.reasoning_of |= {item["id"]: output[0]["id"] for item in output[1:]}
        if body.get("store") is not False:
            memory.responses[response_["id"]] = items + output
        if conversation := body.get("conversation"):
            name = conversation if isinstance(conversation, str) else conversation["id"]
            memory.conversations[name] = items + output


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away in the middle of a stream."""


class _Failure(Exception):
    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__("scripted failure")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer, response_ = self.server.service.respond(body, headers)  # type: ignore[attr-defined]
        except _Failure as failure:
            status, message = failure.answer.failure or (500, "")
            self._error(status, message, None, failure.answer.headers)
        except Refused as refusal:
            self._error(refusal.status, str(refusal), refusal.code, {})
        else:
            if body.get("stream"):
                self._stream(answer, response_)
            else:
                self._send(200, json.dumps(final_response(response_, answer)).encode(), {})

    def _error(self, status: int, message: str, code: str | None, headers: dict[str, str]) -> None:
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        self._send(status, json.dumps({"error": error}).encode(), headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, answer: Answer, response_: Json) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for place, event in enumerate(events(response_, answer)):
            if place == answer.cut_after:
                self.close_connection = True
                return
            if place == answer.ends_after:
                break
            self._chunk(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        self._chunk(b"")

    def _chunk(self, part: bytes) -> None:
        self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class
        """Say nothing: requests are on record."""
