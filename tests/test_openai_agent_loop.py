"""What is sent to the model, round by round."""

from collections.abc import Iterator
from typing import Any

import pytest

from bighub_langgraph import AdapterConfigurationError, ProviderResponseError
from tests.openai_answers import Answer, calls, fails, refuses, says
from tests.openai_runtime import CLIENT_KINDS, runtime
from tests.openai_server import ResponsesServer

Json = dict[str, Any]


@pytest.fixture
def server() -> Iterator[ResponsesServer]:
    with ResponsesServer() as server:
        yield server


@pytest.fixture(params=CLIENT_KINDS)
def client_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def look(place: str) -> str:
    return f"seen {place}"


def looking(place: str = "here") -> Answer:
    return calls(("look", {"place": place}), text="Let me look.")


def kinds(items: Any) -> list[str]:
    return [item.get("type", "message") for item in items]


def test_the_whole_conversation_is_sent_again_with_encrypted_reasoning(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(looking(), looking("there"))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        client.run()
    first, second, third = server.requests
    assert [request["store"] for request in server.requests] == [False] * 3
    assert first["include"] == ["reasoning.encrypted_content"]
    one_round = ["reasoning", "message", "function_call", "function_call_output"]
    assert kinds(second["input"]) == ["message", *one_round]
    assert kinds(third["input"]) == ["message", *one_round, *one_round]
    assert second["input"][1]["encrypted_content"].startswith("sealed:")


def test_a_model_that_does_not_reason_is_asked_once_more_and_remembered(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(looking())
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        assert client.run(model="gpt-4.1").status == "completed"
        client.run(model="gpt-4.1")
    assert server.refusals == ["Encrypted content is not supported with this model."]
    assert [request.get("include") for request in server.requests] == [None] * 3


def test_a_stored_conversation_is_continued_by_its_id(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(looking(), looking())
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        client.run(extra_create_args={"store": True})
    _, second, third = server.requests
    assert kinds(second["input"]) == kinds(third["input"]) == ["function_call_output"]
    assert second["previous_response_id"] != third["previous_response_id"]
    assert third["store"] is True


def test_a_named_conversation_is_continued_by_its_name(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(looking())
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        client.run(extra_create_args={"conversation": "conv_1"})
    assert [request["conversation"] for request in server.requests] == ["conv_1", "conv_1"]
    assert kinds(server.requests[1]["input"]) == ["function_call_output"]
    assert "previous_response_id" not in server.requests[1]


def test_a_stored_response_can_be_continued_without_storing(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(says("Hello."), looking())
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        earlier = client.run(extra_create_args={"store": True})["response_id"]
        client.run(extra_create_args={"previous_response_id": earlier})
    assert server.requests[2]["previous_response_id"] == earlier
    assert kinds(server.requests[2]["input"])[0] == "message"


def test_every_setting_is_sent_in_every_turn(server: ResponsesServer, client_kind: str) -> None:
    server.script(looking())
    extra = {
        "max_output_tokens": 99,
        "metadata": {"a": "b"},
        "tools": [{"type": "web_search"}],
        "reasoning": {"effort": "low"},
    }
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        client.run(instructions="Be brief.", temperature=0.5, extra_create_args=extra)
    for request in server.requests:
        assert (request["instructions"], request["temperature"]) == ("Be brief.", 0.5)
        assert {name: request[name] for name in extra if name != "tools"} == {
            name: value for name, value in extra.items() if name != "tools"
        }
        assert [tool["type"] for tool in request["tools"]] == ["function", "web_search"]


@pytest.mark.parametrize(
    ("choice", "then"),
    [
        ("required", "auto"),
        ({"type": "function", "name": "look"}, "auto"),
        ("none", "none"),
        ("auto", "auto"),
    ],
)
def test_a_forced_tool_is_forced_in_the_first_turn_only(
    server: ResponsesServer, client_kind: str, choice: Any, then: Any
) -> None:
    server.script(looking())
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        client.run(extra_create_args={"tool_choice": choice})
    assert [request["tool_choice"] for request in server.requests] == [choice, then]


def test_the_model_answers_after_the_last_allowed_turn(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(looking("1"), looking("2"), says("Seen both."))
    with runtime(client_kind, server, max_tool_rounds=2) as client:
        client.tool("look", look)
        answer = client.run()
    assert (answer.status, answer["output_text"]) == ("completed", "Seen both.")


def test_a_turn_beyond_the_limit_is_not_run_and_not_lost(
    server: ResponsesServer, client_kind: str
) -> None:
    server.otherwise = lambda _: looking()
    with runtime(client_kind, server, max_tool_rounds=2) as client:
        client.tool("look", look)
        answer = client.run()
    assert answer.status == "max_rounds"
    assert len(answer["execution"]["events"]) == 2
    assert kinds(answer["output"])[-1] == "function_call"


@pytest.mark.parametrize(
    ("ended", "status", "error"),
    [
        (
            {"status": "incomplete", "reason": "max_output_tokens"},
            "incomplete",
            "max_output_tokens",
        ),
        (
            {"status": "failed", "error": {"code": "server_error", "message": "x"}},
            "failed",
            "server_error",
        ),
    ],
)
def test_calls_of_an_incomplete_answer_do_not_run(
    server: ResponsesServer, client_kind: str, ended: Json, status: str, error: str
) -> None:
    server.script(calls(("look", {"place": "here"}), **ended))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        answer = client.run()
        assert client.bighub.evaluations == []
    assert answer.status == status
    assert error in str(answer.error)


def test_a_call_that_was_cut_off_does_not_run(server: ResponsesServer, client_kind: str) -> None:
    answer = looking()
    answer.items[-1]["status"] = "incomplete"
    server.script(answer)
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        assert client.run().status == "incomplete"


def test_a_refusal_is_an_answer(server: ResponsesServer, client_kind: str) -> None:
    server.script(refuses("I will not."))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        answer = client.run()
    assert answer.status == "refused"
    assert answer["output"][-1]["content"][0]["refusal"] == "I will not."


def test_hosted_items_are_shown(server: ResponsesServer, client_kind: str) -> None:
    search = {
        "type": "web_search_call",
        "status": "completed",
        "action": {"type": "search", "query": "q"},
    }
    server.script(Answer([search, *says("Found.").items]))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        assert kinds(client.run()["output"]) == ["reasoning", "web_search_call", "message"]


def test_tokens_of_all_turns_are_added_up(server: ResponsesServer, client_kind: str) -> None:
    server.script(looking())
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        assert client.run().usage["total_tokens"] == 30


def test_an_error_carries_what_ran_and_where_to_go_on(
    server: ResponsesServer, client_kind: str
) -> None:
    ran: list[str] = []

    def once(place: str) -> str:
        ran.append(place)
        return "seen"

    server.script(looking(), fails(400, "no more"), says("Seen."))
    with runtime(client_kind, server) as client:
        client.tool("look", once)
        with pytest.raises(ProviderResponseError, match="no more") as raised:
            client.run()
        assert [event["status"] for event in raised.value.events] == ["executed"]
        assert raised.value.response["output_text"] == "Let me look."
        answer = client.resume(raised.value.state)
        assert [outcome["status"] for outcome in client.bighub.reports] == ["SUCCESS"]
    assert (answer["output_text"], ran) == ("Seen.", ["here"])


@pytest.mark.parametrize("name", ["stream", "background", "input"])
def test_settings_that_a_run_controls_cannot_be_passed(
    server: ResponsesServer, client_kind: str, name: str
) -> None:
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        with pytest.raises(AdapterConfigurationError, match=name):
            client.run(extra_create_args={name: True})


def test_without_tools_there_is_nothing_to_run(server: ResponsesServer, client_kind: str) -> None:
    with (
        runtime(client_kind, server) as client,
        pytest.raises(AdapterConfigurationError, match="tool"),
    ):
        client.run()
