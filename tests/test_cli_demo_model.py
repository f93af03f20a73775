"""The demo's model over OpenAI's chat completions, and calls in answers that were cut off."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from openai import OpenAI

from bighub_langgraph.cli.demo.openai_model import OpenAIChat


def pay(amount: float) -> str:
    """Pay."""
    return str(amount)


class Completions:
    """A client's `chat.completions` that answers with one message and keeps what it was asked."""

    def __init__(self, *calls: tuple[str, str], finish_reason: str = "tool_calls") -> None:
        self.asked: dict[str, Any] = {}
        self._finish_reason = finish_reason
        self._calls = [
            SimpleNamespace(
                id=f"c{number}",
                type="function",
                function=SimpleNamespace(name=name, arguments=arguments),
            )
            for number, (name, arguments) in enumerate(calls)
        ]

    def create(self, **asked: Any) -> Any:
        self.asked = asked
        said = SimpleNamespace(content=None, refusal=None, tool_calls=self._calls)
        return SimpleNamespace(
            choices=[SimpleNamespace(message=said, finish_reason=self._finish_reason)]
        )

    def answer(self) -> AIMessage:
        client = SimpleNamespace(chat=SimpleNamespace(completions=self))
        model = OpenAIChat(client=client, model="some-model").bind_tools([pay])
        earlier = AIMessage("", tool_calls=[{"name": "pay", "args": {"amount": 1}, "id": "c"}])
        return model.invoke([HumanMessage("pay 2"), earlier, ToolMessage("1", tool_call_id="c")])


def test_the_conversation_and_the_tools_are_sent_as_openai_writes_them() -> None:
    completions = Completions(("pay", '{"amount": 2}'))
    completions.answer()
    assert completions.asked["model"] == "some-model"
    assert [message["role"] for message in completions.asked["messages"]] == [
        "user",
        "assistant",
        "tool",
    ]
    assert completions.asked["messages"][1]["tool_calls"][0]["function"]["name"] == "pay"
    assert completions.asked["tools"][0]["function"]["name"] == "pay"


def test_the_models_tool_calls_are_read() -> None:
    (call,) = Completions(("pay", '{"amount": 2}')).answer().tool_calls
    assert (call["name"], call["args"], call["id"]) == ("pay", {"amount": 2}, "c0")


@pytest.mark.parametrize("arguments", ['{"amount": 2', "[2]", "null"])
def test_arguments_that_are_no_object_make_an_invalid_call(arguments: str) -> None:
    said = Completions(("pay", arguments)).answer()
    assert said.tool_calls == []
    assert [call["name"] for call in said.invalid_tool_calls] == ["pay"]


def test_a_call_in_an_answer_that_was_cut_off_does_not_run() -> None:
    said = Completions(("pay", '{"amount": 2}'), finish_reason="length").answer()
    assert said.tool_calls == []
    assert said.invalid_tool_calls[0]["error"] == "the model's answer was cut off"


class ChatServer(BaseHTTPRequestHandler):
    """Speaks enough of chat completions for one tool call."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = asked["tools"][0]["function"]["name"]
        call = {"id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
        answer = {"id": "a", "object": "chat.completion", "created": 0, "choices": [choice]}
        body = json.dumps(answer | {"model": asked["model"]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def chat_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), ChatServer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def test_the_real_client_is_understood(chat_server: str) -> None:
    with OpenAI(api_key="none", base_url=chat_server) as client:
        said = OpenAIChat(client=client, model="some-model").bind_tools([pay]).invoke("pay")
    assert [call["name"] for call in said.tool_calls] == ["pay"]
