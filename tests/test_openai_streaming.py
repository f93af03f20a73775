"""Streamed runs: every event in its place, and streams that break."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from bighub_langgraph import AsyncBighubOpenAI, BighubOpenAI
from bighub_langgraph.openai.errors import StreamInterruptedError
from bighub_langgraph.openai.stream_parsing import StreamParser
from tests.openai_answers import ABSENT, Answer, calls, refuses, says
from tests.openai_bighub import REVIEW, AsyncScriptedBighub, ScriptedBighub
from tests.openai_runtime import runtime
from tests.openai_server import ResponsesServer

Json = dict[str, Any]


def look(place: str) -> str:
    return f"seen {place}"


MESSAGE: Json = {"type": "message", "role": "assistant", "status": "completed", "content": None}


def look_call(**options: Any) -> Any:
    return calls(("look", {"place": "here"}), **options)


def events_of_type(events: list[Json], kind: str) -> list[Json]:
    return [event for event in events if event["type"] == kind]


def test_every_event_comes_in_its_place_with_its_response(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(look_call(), says("I have seen it."))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        events = client.stream()
    kinds = list(dict.fromkeys(event["type"] for event in events))
    assert kinds == [
        "output_item_added",
        "function_call_args_delta",
        "function_call_args_done",
        "response_done",
        "execution_event",
        "llm_delta",
        "llm_text_done",
        "final_response",
    ]
    assert all(event["response_id"] for event in events)
    assert (
        "".join(event["delta"] for event in events_of_type(events, "llm_delta"))
        == "I have seen it."
    )
    [done_event] = events_of_type(events, "function_call_args_done")
    assert (done_event["name"], done_event["arguments"]) == ("look", '{"place": "here"}')
    [ran] = events_of_type(events, "execution_event")
    assert (ran["event"]["status"], ran["event"]["call_id"]) == ("executed", done_event["call_id"])
    assert all(
        delta["call_id"] == done_event["call_id"]
        for delta in events_of_type(events, "function_call_args_delta")
    )


def test_the_last_event_is_the_result_of_run(server: ResponsesServer, client_kind: str) -> None:
    server.script(look_call(), says("Seen."))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        last = client.stream()[-1]
    assert last["type"] == "final_response"
    assert last["response"].status == "completed"
    assert last["response"]["output_text"] == "Seen."
    assert last["response"]["execution"]["last"]["output"] == "seen here"


def test_a_waiting_call_is_an_event_and_the_resumed_run_is_streamed(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(look_call(), says("Seen."))
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("look", look)
        events = client.stream()
        [approval] = events_of_type(events, "approval_required")
        assert approval["request_id"] == approval["event"]["request_id"] == "req_1"
        state = events[-1]["response"].to_state()
        state.approve("req_1")
        events = client.stream(state=state)
    assert "".join(event["delta"] for event in events_of_type(events, "llm_delta")) == "Seen."
    assert events[-1]["response"]["execution"]["last"]["status"] == "executed"


def test_a_refusal_is_streamed(server: ResponsesServer, client_kind: str) -> None:
    server.script(refuses("I will not."))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        events = client.stream()
    assert (
        "".join(event["delta"] for event in events_of_type(events, "refusal_delta"))
        == "I will not."
    )
    assert events[-1]["response"].status == "refused"


def test_a_failed_answer_is_an_event(server: ResponsesServer, client_kind: str) -> None:
    server.script(says("", status="failed", error={"code": "server_error", "message": "oh"}))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        events = client.stream()
    [failed_event] = events_of_type(events, "response_failed")
    assert failed_event["error"]["code"] == "server_error"
    assert events[-1]["response"].status == "failed"


FINAL_OUTPUTS = {"empty": [], "null": None, "absent": ABSENT}
LEFT_OUT: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "added items": ("response.output_item.added",),
    "done items": ("response.output_item.done",),
    "text and argument events": (
        "response.output_text.delta",
        "response.output_text.done",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
    ),
}


@pytest.mark.parametrize("left_out", LEFT_OUT)
@pytest.mark.parametrize("output", FINAL_OUTPUTS)
def test_calls_and_texts_that_were_streamed_count_where_the_last_event_lacks_them(
    server: ResponsesServer, client_kind: str, output: str, left_out: str
) -> None:
    options: Json = {"final": {"output": FINAL_OUTPUTS[output]}, "left_out": LEFT_OUT[left_out]}
    server.script(look_call(text="Let me see.", **options), says("I have seen it.", **options))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        answer = client.stream()[-1]["response"]
        assert answer.status == "completed"
        assert answer["output_text"] == "I have seen it."
        assert answer["execution"]["last"]["output"] == "seen here"
        kinds = [item.get("type") for item in server.requests[-1]["input"]]
    assert kinds[-2:] == ["function_call", "function_call_output"]


def test_a_call_that_was_streamed_in_part_only_does_not_run(
    server: ResponsesServer, client_kind: str
) -> None:
    omissions = (*LEFT_OUT["done items"], "response.function_call_arguments.done")
    server.script(look_call(final={"output": []}, left_out=omissions))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        assert client.stream()[-1]["response"].status == "incomplete"
        assert client.bighub.evaluations == []


def test_a_last_event_that_lacks_one_of_the_streamed_calls_loses_none(
    server: ResponsesServer, client_kind: str
) -> None:
    message = {
        "type": "message",
        "id": "m",
        "role": "assistant",
        "status": "completed",
        "content": [],
    }
    server.script(look_call(text="Let me see.", final={"output": [message]}), says("Seen."))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        assert client.stream()[-1]["response"]["execution"]["last"]["output"] == "seen here"


@pytest.mark.parametrize(
    "output", [*FINAL_OUTPUTS.values(), [MESSAGE]], ids=[*FINAL_OUTPUTS, "message"]
)
@pytest.mark.parametrize("streaming", [True, False])
def test_a_failed_answer_tells_the_services_own_error(
    server: ResponsesServer, client_kind: str, output: Any, streaming: bool
) -> None:
    failure = {"code": "server_error", "message": "the GPU is on fire"}
    final: Json = {"output": output}
    server.script(Answer(status="failed", error=failure, final=final))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        answer = client.stream()[-1]["response"] if streaming else client.run()
    assert (answer.status, answer.error) == ("failed", failure)


@pytest.mark.parametrize("streaming", [True, False])
def test_a_message_without_content_is_an_empty_one(
    server: ResponsesServer, client_kind: str, streaming: bool
) -> None:
    looks = look_call()
    looks.items.insert(0, MESSAGE)
    server.script(looks, Answer([MESSAGE]))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        answer = client.stream()[-1]["response"] if streaming else client.run()
    assert (answer.status, answer["output_text"]) == ("completed", "")
    assert answer["execution"]["last"]["output"] == "seen here"


GATEWAYS: dict[str, Callable[[int], Json]] = {
    "ids and indexes": lambda n: {"output_index": n, "id": f"fc_{n}"},
    "one index": lambda n: {"output_index": 0, "id": f"fc_{n}"},
    "one id": lambda n: {"output_index": n, "id": "fc"},
    "one of both": lambda _: {"output_index": 0, "id": "fc"},
    "no index": lambda n: {"id": f"fc_{n}"},
    "no id": lambda n: {"output_index": n},
    "neither": lambda _: {},
}


@pytest.mark.parametrize("announced", ["no", "each before its end", "all at first"])
@pytest.mark.parametrize("gateway", GATEWAYS)
def test_no_call_that_was_streamed_takes_the_place_of_another(gateway: str, announced: str) -> None:
    added, done = [], []
    for number in range(3):
        place = GATEWAYS[gateway](number)
        ids = {"id": place.pop("id")} if "id" in place else {}
        call = {"type": "function_call", "call_id": f"call_{number}", "name": "look", **ids}
        started = {**call, "arguments": "", "status": "in_progress"}
        added.append({"type": "response.output_item.added", "item": started, **place})
        done.append(
            {"type": "response.output_item.done", "item": {**call, "arguments": "{}"}, **place}
        )
    final = {"type": "response.completed", "response": {"id": "r", "output": []}}
    events = {
        "no": [{"type": "response.output_item.done", "item": None}, *done],
        "each before its end": [event for pair in zip(added, done, strict=True) for event in pair],
        "all at first": [*added, *done],
    }[announced]
    parser = StreamParser()
    for event in [*events, final]:
        parser.parse(event)
    assert parser.response is not None
    assert parser.response.is_complete
    assert [item["call_id"] for item in parser.response.tool_calls] == [
        "call_0",
        "call_1",
        "call_2",
    ]


def test_calls_with_one_id_that_were_streamed_are_still_two() -> None:
    call = {"type": "function_call", "call_id": "same", "name": "look", "arguments": "{}"}
    parser = StreamParser()
    for number in range(2):
        item = {**call, "id": f"fc_{number}"}
        parser.parse({"type": "response.output_item.done", "item": item, "output_index": number})
    parser.parse({"type": "response.completed", "response": {"id": "r", "output": []}})
    assert parser.response is not None
    assert len(parser.response.tool_calls) == 2


@pytest.mark.parametrize("kind", ["failed", "incomplete"])
def test_an_event_that_says_the_answer_failed_is_believed_before_its_response(
    server: ResponsesServer, client_kind: str, kind: str
) -> None:
    server.script(look_call(status=kind, final={"status": ABSENT}))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        assert client.stream()[-1]["response"].status == kind
        assert client.bighub.evaluations == []


@pytest.mark.parametrize("how", ["cut_after", "ends_after"])
def test_a_stream_that_breaks_is_an_error_and_its_calls_do_not_run(
    server: ResponsesServer, client_kind: str, how: str
) -> None:
    server.script(look_call(**{how: 8}))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        with pytest.raises(StreamInterruptedError):
            client.stream()
        assert client.bighub.evaluations == []


def test_calls_that_ran_before_a_stream_breaks_are_returned_and_reported(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(look_call(), says("I have seen it.", cut_after=6), says("Seen."))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        with pytest.raises(StreamInterruptedError) as error_info:
            client.stream()
        assert [event["status"] for event in error_info.value.events] == ["executed"]
        assert [outcome["status"] for outcome in client.bighub.reports] == ["SUCCESS"]
        assert client.resume(error_info.value.state)["output_text"] == "Seen."
        assert len(client.bighub.evaluations) == 1


def test_a_stream_that_is_not_read_to_its_end_is_closed(server: ResponsesServer) -> None:
    server.script(look_call())
    with runtime("blocking", server) as client:
        client.tool("look", look)
        events = client.client.run_stream(messages="Go.", model="gpt-5")
        assert next(events)["type"] == "output_item_added"
        events.close()
        assert client.bighub.evaluations == []


def event(kind: str, **fields: Any) -> SimpleNamespace:
    return SimpleNamespace(type=kind, **fields)


RESPONSE = SimpleNamespace(id="r1", output=[], output_text="Hi.", status="completed")
EVENTS = [
    event("response.created", response=SimpleNamespace(id="r1")),
    event("response.something_new", answer=42),
    event("response.output_text.delta", delta="Hi."),
    event("response.completed", response=RESPONSE),
]


def test_unknown_events_and_foreign_objects_pass() -> None:
    provider = SimpleNamespace(responses=SimpleNamespace(create=lambda **_: iter(EVENTS)))
    client = BighubOpenAI(openai_client=provider, bighub=ScriptedBighub())
    client.tool("look", look)
    events = list(client.run_stream(messages="Go.", model="any"))
    assert [event["type"] for event in events] == ["llm_delta", "response_done", "final_response"]
    assert {event["response_id"] for event in events} == {"r1"}


def test_an_error_event_breaks_the_stream() -> None:
    broken = [*EVENTS[:3], event("error", message="token=abcdefgh is bad")]
    provider = SimpleNamespace(responses=SimpleNamespace(create=lambda **_: iter(broken)))
    client = BighubOpenAI(openai_client=provider, bighub=ScriptedBighub())
    client.tool("look", look)
    with pytest.raises(StreamInterruptedError, match=r"token=\[redacted\]"):
        list(client.run_stream(messages="Go.", model="any"))


async def test_an_async_generator_is_a_stream_too() -> None:
    async def create(**_: Any) -> Any:
        async def stream() -> Any:
            for event in EVENTS:
                yield event

        return stream()

    provider = SimpleNamespace(responses=SimpleNamespace(create=create))
    async with AsyncBighubOpenAI(openai_client=provider, bighub=AsyncScriptedBighub()) as client:
        client.tool("look", look)
        events = [event async for event in client.run_stream(messages="Go.", model="any")]
    assert events[-1]["response"]["output_text"] == "Hi."
