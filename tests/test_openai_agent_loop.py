"""What is sent to the model, round by round."""

from typing import Any

import pytest

from bighub_langgraph import AdapterConfigurationError, ProviderResponseError
from bighub_langgraph.openai.errors import InvalidRunState
from tests.openai_answers import Answer, calls, fails, refuses, says
from tests.openai_bighub import REVIEW
from tests.openai_runtime import runtime
from tests.openai_server import ResponsesServer

Json = dict[str, Any]


def look(place: str) -> str:
    return f"seen {place}"


def look_call(place: str = "here") -> Answer:
    return calls(("look", {"place": place}), text="Let me look.")


def kinds(items: Any) -> list[str]:
    return [item.get("type", "message") for item in items]


def test_the_whole_conversation_is_sent_again_with_encrypted_reasoning(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(look_call(), look_call("there"))
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
    server.script(look_call())
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        assert client.run(model="gpt-4.1").status == "completed"
        client.run(model="gpt-4.1")
    assert server.refusals == ["Encrypted content is not supported with this model."]
    assert [request.get("include") for request in server.requests] == [None] * 3


def test_a_stored_conversation_is_continued_by_its_id(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(look_call(), look_call())
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
    server.script(look_call())
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        client.run(extra_create_args={"conversation": "conv_1"})
    assert [request["conversation"] for request in server.requests] == ["conv_1", "conv_1"]
    assert kinds(server.requests[1]["input"]) == ["function_call_output"]
    assert "previous_response_id" not in server.requests[1]


def test_a_stored_response_can_be_continued_without_storing(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(says("Hello."), look_call())
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        earlier = client.run(extra_create_args={"store": True})["response_id"]
        client.run(extra_create_args={"previous_response_id": earlier})
    assert server.requests[2]["previous_response_id"] == earlier
    assert kinds(server.requests[2]["input"])[0] == "message"


def test_every_setting_is_sent_in_every_turn(server: ResponsesServer, client_kind: str) -> None:
    server.script(look_call())
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
    server.script(look_call())
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        client.run(extra_create_args={"tool_choice": choice})
    assert [request["tool_choice"] for request in server.requests] == [choice, then]


def test_the_model_answers_after_the_last_allowed_turn(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(look_call("1"), look_call("2"), says("Seen both."))
    with runtime(client_kind, server, max_tool_rounds=2) as client:
        client.tool("look", look)
        answer = client.run()
    assert (answer.status, answer["output_text"]) == ("completed", "Seen both.")


def test_a_turn_beyond_the_limit_is_not_run_and_not_lost(
    server: ResponsesServer, client_kind: str
) -> None:
    server.otherwise = lambda _: look_call()
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
    answer = look_call()
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
    server.script(look_call())
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

    server.script(look_call(), fails(400, "no more"), says("Seen."))
    with runtime(client_kind, server) as client:
        client.tool("look", once)
        with pytest.raises(ProviderResponseError, match="no more") as error_info:
            client.run()
        assert [event["status"] for event in error_info.value.events] == ["executed"]
        assert error_info.value.response["output_text"] == "Let me look."
        answer = client.resume(error_info.value.state)
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


CUSTOM: Json = {"type": "custom_tool_call", "call_id": "c1", "name": "sql", "input": "DROP TABLE x"}
SQL: Json = {"type": "custom", "name": "sql"}


@pytest.mark.parametrize("streaming", [True, False])
def test_a_custom_tool_call_is_answered_with_an_error_and_the_model_goes_on(
    server: ResponsesServer, client_kind: str, streaming: bool
) -> None:
    turn = look_call()
    turn.items.append(CUSTOM)
    server.script(turn, says("I cannot."))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        client.tool("sql", look)  # a function of the same name is another tool
        options: Json = {"extra_create_args": {"tools": [SQL]}}
        answer = client.stream(**options)[-1]["response"] if streaming else client.run(**options)
        assert len(client.bighub.evaluations) == 1
    assert answer.status == "completed"
    executed_event, refused_event = answer["execution"]["events"]
    assert (executed_event["tool"], executed_event["status"]) == ("look", "executed")
    assert (refused_event["tool"], refused_event["status"]) == ("sql", "tool_error")
    sent_item = server.requests[-1]["input"][-1]
    assert (sent_item["type"], sent_item["call_id"]) == ("custom_tool_call_output", "c1")
    assert "only registered functions" in sent_item["output"]


MESSAGE: Json = {
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hm.", "annotations": [], "logprobs": []}],
}
SHELL: Json = {"type": "shell_call", "call_id": "s1", "action": {}, "status": "completed"}
UNANSWERED_ITEMS: dict[str, list[Json]] = {
    "a computer call": [{"type": "computer_call", "call_id": "c", "status": "completed"}],
    "a call before a message": [SHELL, MESSAGE],
    "a patch": [{"type": "apply_patch_call", "call_id": "c", "status": "completed"}],
    "an item nobody knows": [MESSAGE, {"type": "something_request"}],
}


@pytest.mark.parametrize("items", UNANSWERED_ITEMS.values(), ids=UNANSWERED_ITEMS)
def test_an_item_that_nothing_answers_is_told_and_no_call_beside_it_runs(
    server: ResponsesServer, client_kind: str, items: list[Json]
) -> None:
    turn = Answer([*items, *look_call().items[1:]])
    server.script(turn)
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        answer = client.run()
        assert client.bighub.evaluations == []
    assert answer.status == "incomplete"
    kind = next(item["type"] for item in items if item["type"] != "message")
    assert answer.error == {"reason": f"nothing here answers {kind}"}
    assert len(server.requests) == 1


ANSWERED_ITEMS: dict[str, list[Json]] = {
    "a shell of the service": [
        SHELL,
        {"type": "shell_call_output", "call_id": "s1", "output": []},
        MESSAGE,
    ],
    "a new kind of search before the text": [{"type": "moon_search_call"}, MESSAGE],
    "a search": [{"type": "web_search_call", "status": "completed", "action": {}}],
}


@pytest.mark.parametrize("items", ANSWERED_ITEMS.values(), ids=ANSWERED_ITEMS)
def test_what_the_service_does_by_itself_needs_no_answer(
    server: ResponsesServer, client_kind: str, items: list[Json]
) -> None:
    server.script(Answer(items))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        answer = client.run()
    assert (answer.status, answer.error) == ("completed", None)


def test_ids_that_the_service_refuses_are_not_sent_back(
    server: ResponsesServer, client_kind: str
) -> None:
    turn = look_call()
    for number, item in enumerate(turn.items):
        item["id"] = f"{number}" * 400
    server.script(turn)
    old = {**MESSAGE, "id": "m" * 65}
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        client.run(messages=[old, {"role": "user", "content": "Go."}], model="gpt-4.1")
    items = server.requests[-1]["input"]
    assert kinds(items) == [
        "message",
        "message",
        "message",
        "function_call",
        "function_call_output",
    ]
    assert not any("id" in item for item in items)


def test_the_next_run_goes_on_with_the_items_of_the_last(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(look_call(), says("Seen."), says("As I said."))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        items = client.run().to_input_list()
        client.run(messages=[*items, {"role": "user", "content": "And?"}])
    sent_items = server.requests[-1]["input"]
    assert sent_items[:-1] == items
    assert kinds(items)[-3:] == ["function_call_output", "reasoning", "message"]


@pytest.mark.parametrize("turn", [look_call, lambda: calls(("look", '{"pla'), status="incomplete")])
def test_calls_that_a_run_left_behind_are_answered_in_its_items(
    server: ResponsesServer, client_kind: str, turn: Any
) -> None:
    server.script(look_call(), turn(), says("So be it."))
    with runtime(client_kind, server, max_tool_rounds=1) as client:
        client.tool("look", look)
        first = client.run()
        assert first.status in {"max_rounds", "incomplete"}
        items = first.to_input_list()
        assert "was not run" in items[-1]["output"]
        assert client.run(messages=[*items, {"role": "user", "content": "Go on."}])["output_text"]


def test_a_run_that_waits_for_a_person_has_no_items_for_a_next_run(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(look_call())
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("look", look)
        with pytest.raises(InvalidRunState, match="waits for a person"):
            client.run().to_input_list()


def test_a_call_that_repeats_another_of_its_answer_is_marked(
    server: ResponsesServer, client_kind: str
) -> None:
    here, there = ("look", {"place": "here"}), ("look", {"place": "there"})
    server.script(calls(here, there, here), says("Seen."))
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("look", look)
        state = client.run().to_state()
        first, other, repetition = state.interruptions
        assert (first.get("repeats"), other.get("repeats")) == (None, None)
        assert repetition["repeats"] == first["call_id"]
        state = client.client.state_from_json(state.to_json())
        for item in state.interruptions:
            state.approve(item)
        *_, last = client.resume(state)["execution"]["events"]
    assert (last["status"], last["repeats"]) == ("executed", first["call_id"])
