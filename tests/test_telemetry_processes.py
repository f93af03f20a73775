"""One trace over a pause and a change of the process, in a real OTLP receiver on loopback."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.trace_worker import APPROVER, SECRET


class Receiver:
    """Receives spans by OTLP over HTTP."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator["Receiver"]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def spans(self) -> list[tuple[str, Any]]:
        """Every span with the service that sent it."""
        spans = []
        for body in self.bodies:
            request = ExportTraceServiceRequest()
            request.ParseFromString(body)
            for resource in request.resource_spans:
                names = {item.key: item.value.string_value for item in resource.resource.attributes}
                for scope in resource.scope_spans:
                    spans += [(names["service.name"], span) for span in scope.spans]
        return spans

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        bodies = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        return Handler


def spans_of(directory: Path, *steps: str) -> list[tuple[str, Any]]:
    """What processes send that run one after the other."""
    with Receiver().running() as receiver:
        for step in steps:
            command = [sys.executable, "-m", "tests.trace_worker", str(directory), step]
            subprocess.run([*command, receiver.url], check=True)
        return receiver.spans()


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Any]]:
    """What two processes send of a call that waits in the first and runs in the second."""
    return spans_of(tmp_path_factory.mktemp("agent"), "ask", "resume")


def test_a_call_that_waits_and_runs_in_another_process_is_one_trace(
    sent: list[tuple[str, Any]],
) -> None:
    assert len({span.trace_id for _, span in sent}) == 1
    names = [(service, span.name) for service, span in sent]
    assert ("ask", "execute_tool refund") in names
    assert ("ask", "bighub.evaluate") in names
    assert ("resume", "bighub.approval") in names
    assert ("resume", "execute_tool refund") in names
    assert ("resume", "bighub.report") in names


def test_the_parts_of_the_second_process_are_below_the_call_of_the_first(
    sent: list[tuple[str, Any]],
) -> None:
    [call] = [span for step, span in sent if (step, span.name) == ("ask", "execute_tool refund")]
    resumed = [span for step, span in sent if step == "resume"]
    assert {span.parent_span_id for span in resumed} == {call.span_id}


def test_no_secret_and_no_name_of_a_person_leaves_the_processes(
    sent: list[tuple[str, Any]],
) -> None:
    text = "".join(str(span) for _, span in sent)
    assert SECRET not in text
    assert APPROVER not in text


def test_a_call_that_another_process_cancels_says_so_in_its_trace(tmp_path: Path) -> None:
    sent = spans_of(tmp_path, "ask", "cancel")
    [call] = [span for step, span in sent if (step, span.name) == ("ask", "execute_tool refund")]
    [ended] = [span for step, span in sent if step == "cancel"]
    assert (ended.name, ended.parent_span_id) == ("bighub.approval", call.span_id)
    shown = {item.key: item.value.string_value for item in ended.attributes}
    assert shown["bighub.approval.state"] == "cancelled"
    assert SECRET not in str(ended)
