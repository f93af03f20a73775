"""The server of these tests refuses what OpenAI refuses; otherwise they would show nothing."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.openai_answers import calls
from tests.openai_server import ResponsesServer

Json = dict[str, Any]
PARAMETERS: Json = {
    "type": "object",
    "properties": {"place": {"type": "string"}},
    "required": ["place"],
    "additionalProperties": False,
}
TOOL: Json = {"type": "function", "name": "look", "parameters": PARAMETERS, "strict": True}
USER = {"role": "user", "content": "Go."}


@pytest.fixture
def server() -> Iterator[ResponsesServer]:
    with ResponsesServer() as server:
        yield server
        server.refusals.clear()


@pytest.fixture
def client(server: ResponsesServer) -> Iterator[Any]:
    with openai.OpenAI(api_key="key", base_url=server.url, max_retries=0) as client:
        yield client


def refusal(client: Any, **request: Any) -> str:
    options: Json = {"model": "gpt-5", "input": [USER], "store": False, "tools": [TOOL], **request}
    with pytest.raises(openai.BadRequestError) as error_info:
        client.responses.create(**options)
    return str(error_info.value)


def request_call(server: ResponsesServer, client: Any, **more: Any) -> list[Json]:
    """The items of an answer with reasoning and one call."""
    server.script(calls(("look", {"place": "here"})))
    options: Json = {"store": False, "include": ["reasoning.encrypted_content"], **more}
    answer = client.responses.create(model="gpt-5", input=[USER], tools=[TOOL], **options)
    return [item.model_dump(mode="json", exclude_unset=True) for item in answer.output]


def output(items: list[Json]) -> Json:
    return {"type": "function_call_output", "call_id": items[-1]["call_id"], "output": "{}"}


def test_a_complete_turn_is_accepted(server: ResponsesServer, client: Any) -> None:
    items = request_call(server, client)
    answer = client.responses.create(
        model="gpt-5", input=[USER, *items, output(items)], store=False, tools=[TOOL]
    )
    assert answer.output_text == "Done."


def test_a_call_without_its_output_is_refused(server: ResponsesServer, client: Any) -> None:
    items = request_call(server, client)
    assert "No tool output found" in refusal(client, input=[USER, *items])


def test_an_output_without_its_call_is_refused(server: ResponsesServer, client: Any) -> None:
    items = request_call(server, client)
    assert "No tool call found" in refusal(client, input=[USER, output(items)])


def test_a_call_without_its_reasoning_is_refused(server: ResponsesServer, client: Any) -> None:
    items = request_call(server, client)
    message = refusal(client, input=[USER, *items[1:], output(items)])
    assert "without its required 'reasoning' item" in message


def test_reasoning_that_is_not_encrypted_is_refused(server: ResponsesServer, client: Any) -> None:
    items = request_call(server, client, include=[])
    assert "not persisted" in refusal(client, input=[USER, *items, output(items)])


def test_an_item_twice_is_refused(server: ResponsesServer, client: Any) -> None:
    items = request_call(server, client)
    message = refusal(client, input=[USER, *items, items[0], output(items)])
    assert "Duplicate item" in message


def test_a_response_that_was_not_stored_is_not_found(server: ResponsesServer, client: Any) -> None:
    answer = client.responses.create(model="gpt-5", input=[USER], store=False)
    assert "not found" in refusal(client, previous_response_id=answer.id)


def loose(**changes: Any) -> list[Json]:
    return [{**TOOL, "parameters": {**PARAMETERS, **changes}}]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"tools": loose(required=[])}, "every key in properties"),
        ({"tools": loose(additionalProperties=True)}, "'additionalProperties'"),
        ({"tools": loose(properties={"place": {"minLength": 1}})}, "not permitted"),
        ({"tools": loose(properties={"place": {}})}, "'type' key"),
        ({"tools": loose(properties={"place": {"type": "array"}})}, "missing items"),
        ({"tools": [{**TOOL, "client_kind": "red"}]}, "tools[0].client_kind"),
        ({"tool_choice": {"type": "function", "name": "hear"}}, "not found in 'tools'"),
        ({"extra_body": {"client_kind": "red"}}, "Unknown parameter: 'client_kind'"),
        ({"input": [{**USER, "client_kind": "red"}]}, "Unknown parameter: 'client_kind'"),
        ({"input": [{"type": "shout"}]}, "input: "),
        ({"temperature": 9}, "temperature"),
        (
            {"model": "gpt-4.1", "include": ["reasoning.encrypted_content"]},
            "Encrypted content is not supported",
        ),
    ],
)
def test_a_request_that_breaks_a_rule_is_refused(client: Any, request_: Json, message: str) -> None:
    assert message in json.dumps(refusal(client, **request_))


def test_a_refused_request_fails_the_test_that_sent_it() -> None:
    with (
        pytest.raises(AssertionError, match="the service refused"),
        ResponsesServer() as server,
        openai.OpenAI(api_key="key", base_url=server.url, max_retries=0) as client,
    ):
        refusal(client, temperature=9)
