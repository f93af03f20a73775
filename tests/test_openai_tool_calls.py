"""What becomes of the calls of a turn, in both clients."""

import asyncio
import json
import threading
from datetime import UTC, datetime
from typing import Any

import openai
import pytest
from openai.types.responses import ResponseInputImage

from bighub_langgraph import AsyncBighubOpenAI, current_call
from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.jsonable import to_jsonable, truncate
from tests.openai_answers import calls, says
from tests.openai_bighub import PROCEED, REVIEW, STOP, AsyncScriptedBighub, ScriptedBighub
from tests.openai_runtime import runtime
from tests.openai_server import ResponsesServer

Json = dict[str, Any]


def refund(order: str, amount: float = 1.0) -> str:
    """Refund an order."""
    return f"refunded {order}"


def outputs(server: ResponsesServer) -> list[Json]:
    """What the model read about its calls, last."""
    items = server.requests[-1]["input"]
    texts = [item["output"] for item in items if item.get("type") == "function_call_output"]
    return [json.loads(text) for text in texts]


def test_several_calls_are_answered_in_their_order(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(calls(*(("refund", {"order": str(n), "amount": None}) for n in range(5))))
    with runtime(client_kind, server) as client:
        client.tool("refund", refund)
        answer = client.run()
    assert [event["output"] for event in answer["execution"]["events"]] == [
        f"refunded {n}" for n in range(5)
    ]
    assert [event["seq"] for event in answer["execution"]["events"]] == [0, 1, 2, 3, 4]
    assert outputs(server)[3] == {"status": "executed", "output": "refunded 3"}


def test_calls_of_a_turn_run_side_by_side(server: ResponsesServer, client_kind: str) -> None:
    both = threading.Barrier(2, timeout=20)

    def meet(name: str) -> str:
        both.wait()
        return name

    server.script(calls(("meet", {"name": "a"}), ("meet", {"name": "b"})))
    with runtime(client_kind, server) as client:
        client.tool("meet", meet)
        assert client.run()["execution"]["last"]["status"] == "executed"


def test_a_blocked_call_never_runs_and_the_model_reads_why(
    server: ResponsesServer, client_kind: str
) -> None:
    ran: list[str] = []

    def note(order: str) -> None:
        ran.append(order)

    server.script(calls(("refund", {"order": "1"})))
    with runtime(client_kind, server, {**STOP, "thresholds": {"secret": 0.7}}) as client:
        client.tool("refund", note)
        last = client.run()["execution"]["last"]
    assert (last["status"], last["error"], ran) == ("blocked", "too risky", [])
    [output] = outputs(server)
    assert output["status"] == "blocked"
    assert "too risky" in output["reason"]
    assert "thresholds" not in json.dumps(server.requests[-1]["input"])
    assert [outcome["status"] for outcome in client.bighub.reports] == ["BLOCKED"]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("refund", {"order": 1, "amount": "much"}, "amount"),
        ("refund", '{"order": "1', "not JSON"),
        ("refund", "[]", "JSON object"),
        ("elsewhere", {}, "there is no tool named 'elsewhere'; the tools are: refund"),
    ],
)
def test_the_model_reads_how_to_correct_an_invalid_call_before_an_evaluation(
    server: ResponsesServer, client_kind: str, name: str, arguments: Any, message: str
) -> None:
    server.script(calls((name, arguments)))
    with runtime(client_kind, server) as client:
        client.tool("refund", refund)
        last = client.run()["execution"]["last"]
        assert client.bighub.evaluations == []
    assert last["status"] == "tool_error"
    assert message in last["error"]
    assert outputs(server) == [{"status": "tool_error", "error": last["error"]}]


def test_a_call_that_is_no_json_is_sent_again_as_json(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(calls(("refund", '{"order": "1')))
    with runtime(client_kind, server) as client:
        client.tool("refund", refund)
        client.run()
    [call] = [item for item in server.requests[-1]["input"] if item.get("type") == "function_call"]
    assert json.loads(call["arguments"]) == {"unreadable": '{"order": "1'}


def test_a_value_function_that_raises_is_named(server: ResponsesServer, client_kind: str) -> None:
    server.script(calls(("refund", {"order": "1"})))
    with runtime(client_kind, server) as client:
        client.tool("refund", refund, value_from_args=lambda a: a["nothing"])
        last = client.run()["execution"]["last"]
    assert last["status"] == "tool_error"
    assert "value_from_args of 'refund' raised KeyError" in last["error"]


def test_a_tool_without_a_value_is_evaluated_without_one(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(calls(("ping", {"host": "a"})))
    with runtime(client_kind, server) as client:
        client.tool("ping", lambda host: host, parameters_schema=PING, strict=False)
        client.run()
        [request] = client.bighub.evaluations
    assert "value" not in request


PING = {"type": "object", "properties": {"host": {"type": "string"}}}


def test_an_exception_of_a_tool_is_its_result_without_secrets(
    server: ResponsesServer, client_kind: str
) -> None:
    def fail(order: str) -> None:
        raise RuntimeError("login failed: password=hunter2")

    server.script(calls(("fail", {"order": "1"})))
    with runtime(client_kind, server) as client:
        client.tool("fail", fail)
        last = client.run()["execution"]["last"]
        assert [outcome["status"] for outcome in client.bighub.reports] == ["FAILURE"]
    assert last["status"] == "tool_error"
    assert last["error"] == "RuntimeError: login failed: password=[redacted]"
    assert "hunter2" not in json.dumps(server.requests)


class Odd:
    def __repr__(self) -> str:
        raise ValueError


def test_output_that_is_not_json_is_converted_to_json(
    server: ResponsesServer, client_kind: str
) -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)

    def look(order: str) -> Json:
        return {"at": at, "nan": float("nan"), "odd": Odd(), "bytes": b"\xff", "lone": "\ud800"}

    server.script(calls(("look", {"order": "1"})))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        answer = client.run()
    last = answer["execution"]["last"]
    assert last["status"] == "executed"
    assert last["output"]["at"] == "2026-01-02T00:00:00+00:00"
    assert json.loads(json.dumps(answer)) == answer


def test_a_large_output_is_cut_with_a_note(server: ResponsesServer, client_kind: str) -> None:
    server.script(calls(("look", {"order": "1"})))
    with runtime(client_kind, server) as client:
        client.tool("look", lambda order: "x" * 200_000, parameters_schema=LOOK, strict=False)
        answer = client.run()
    [output] = outputs(server)
    assert len(output["output"]) <= 50_000
    assert "of 200002 characters" in output["note"]
    assert len(answer["execution"]["last"]["output"]) == 200_000


LOOK = {"type": "object", "properties": {"order": {"type": "string"}}}
PNG = "data:image/png;base64," + "iVBO" * 20_000
IMAGE = {"type": "input_image", "image_url": PNG, "detail": "auto"}
TEXT = {"type": "input_text", "text": "last hour"}
FILE = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aaaa"}


@pytest.mark.parametrize(
    ("output", "parts"),
    [
        ([TEXT, IMAGE], [TEXT, IMAGE]),
        (IMAGE, [IMAGE]),
        ((FILE,), [FILE]),
        (ResponseInputImage(type="input_image", detail="auto", image_url=PNG), [IMAGE]),
        ([{**TEXT, "text": "x" * 200_000}], [{**TEXT, "text": truncate("x" * 200_000, 50_000)}]),
        ([TEXT, "and more"], None),
        ([{"type": "input_image", "panel": "cpu"}], None),
        ([{"type": "image", "image_url": PNG}], None),
        ([], None),
        ({"type": ["input_text"], "text": "x"}, None),
    ],
)
def test_content_parts_that_a_tool_returns_reach_the_model_as_such(
    server: ResponsesServer, client_kind: str, output: Any, parts: Any
) -> None:
    def look(order: str) -> Any:
        return output

    server.script(calls(("look", {"order": "1"})))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        answer = client.run()
    [item] = [item for item in server.requests[-1]["input"] if "output" in item]
    if parts is None:
        assert json.loads(item["output"])["status"] == "executed"
    else:
        first = {"type": "input_text", "text": '{"status": "executed"}'}
        assert item["output"] == [first, *parts]
    assert answer["execution"]["last"]["output"] == to_jsonable(output)


@pytest.mark.parametrize("way", ["edited", "repeated"])
def test_content_parts_survive_an_edit_and_a_second_resume(
    server: ResponsesServer, client_kind: str, way: str
) -> None:
    server.script(calls(("look", {"order": "1"})), says("Seen."))
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("look", lambda order: [IMAGE], parameters_schema=LOOK, strict=False)
        state = client.client.state_from_json(client.run().to_state().to_json())
        [item] = state.interruptions
        if way == "edited":
            state.edit(item, arguments={"order": "2"})
        else:
            state.approve(item)
        client.resume(state)
        blob = client.resume(state).to_state().to_json()
    [output] = [item["output"] for item in server.requests[-1]["input"] if "output" in item]
    assert output[1:] == [IMAGE]
    assert ("A person changed" in output[0]["text"]) == (way == "edited")
    assert PNG in blob


def test_a_coroutine_tool_runs_to_its_end(server: ResponsesServer, client_kind: str) -> None:
    async def look(order: str) -> str:
        await asyncio.sleep(0.01)
        return f"seen {order}"

    server.script(calls(("look", {"order": "1"}), ("look", {"order": "2"})))
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        events = client.run()["execution"]["events"]
    assert [event["output"] for event in events] == ["seen 1", "seen 2"]


def test_a_function_that_returns_a_coroutine_runs_to_its_end(
    server: ResponsesServer, client_kind: str
) -> None:
    async def look(order: str) -> str:
        return f"seen {order}"

    server.script(calls(("look", {"order": "1"})))
    with runtime(client_kind, server) as client:
        client.tool("look", lambda order: look(order=order), parameters_schema=LOOK, strict=False)
        assert client.run()["execution"]["last"]["output"] == "seen 1"


def test_a_tool_knows_its_call(server: ResponsesServer, client_kind: str) -> None:
    server.script(calls(("look", {"order": "1"})))
    with runtime(client_kind, server) as client:
        client.tool("look", lambda order: current_call().key, parameters_schema=LOOK, strict=False)
        last = client.run()["execution"]["last"]
    assert last["output"] == last["event_id"]


def test_a_tool_that_only_reads_runs_without_an_evaluation(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(calls(("refund", {"order": "1"})))
    with runtime(client_kind, server, STOP) as client:
        client.tool("refund", refund, read_only=True)
        last = client.run()["execution"]["last"]
        assert (client.bighub.evaluations, client.bighub.reports) == ([], [])
    assert (last["status"], last["output"]) == ("executed", "refunded 1")


def test_calls_that_share_an_id_are_answered_and_never_run(
    server: ResponsesServer, client_kind: str
) -> None:
    twins = calls(("refund", {"order": "1"}), ("refund", {"order": "2"}))
    twins.items[1]["call_id"] = twins.items[0]["call_id"]
    server.script(twins)
    with runtime(client_kind, server) as client:
        client.tool("refund", refund)
        answer = client.run()
        assert client.bighub.evaluations == []
    assert [event["status"] for event in answer["execution"]["events"]] == ["tool_error"]


def test_newer_fields_of_a_reply_are_part_of_the_event(
    server: ResponsesServer, client_kind: str
) -> None:
    reply = {**PROCEED, "better_action": "partial_refund", "salient_factors": [{"factor": "new"}]}
    server.script(calls(("refund", {"order": "1"})))
    with runtime(client_kind, server, reply) as client:
        client.tool("refund", refund)
        last = client.run()["execution"]["last"]
    assert last["better_action"] == "partial_refund"
    assert last["salient_factors"] == [{"factor": "new"}]
    assert last["decision"].items() >= {**reply, "request_id": "req_1"}.items()


def test_every_event_says_what_wrote_it(server: ResponsesServer, client_kind: str) -> None:
    asks = {"type": "mcp_approval_request", "name": "look", "arguments": "{}"}
    answer = calls(("refund", {"order": "1"}), ("refund", {"wrong": "1"}))
    answer.items.append(asks)
    server.script(answer)
    seen_events: list[Json] = []
    with runtime(
        client_kind, server, memory_source_version="desk@7", on_decision=seen_events.append
    ) as client:
        client.tool("refund", refund)
        events = client.run()["execution"]["events"]
    assert [event["status"] for event in events] == ["executed", "tool_error", "approval_required"]
    assert {event["source_version"] for event in [*events, *seen_events]} == {"desk@7"}


def test_one_run_is_one_trajectory_of_one_session(
    server: ResponsesServer, client_kind: str
) -> None:
    server.script(
        calls(("refund", {"order": "1"})),
        calls(("refund", {"order": "2"})),
        says("Done."),
        calls(("refund", {"order": "3"})),
    )
    with runtime(client_kind, server, session_id="s1") as client:
        client.tool("refund", refund)
        answer, _ = client.run(), client.run()
        contexts = [request["context"] for request in client.bighub.evaluations]
    assert {context["session_id"] for context in contexts} == {"s1"}
    first, second, third = (context["trajectory_id"] for context in contexts)
    assert first == second != third
    assert answer["execution"]["last"]["trace_id"] == first


def test_a_decision_hook_that_raises_is_logged_and_no_more(
    server: ResponsesServer, client_kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    def hook(event: Json) -> None:
        raise RuntimeError("hook")

    server.script(calls(("refund", {"order": "1"})))
    with runtime(client_kind, server, on_decision=hook) as client:
        client.tool("refund", refund)
        assert client.run().status == "completed"
    assert "on_decision raised" in caplog.text


@pytest.mark.parametrize(
    ("fail_mode", "status", "recommendation"),
    [("closed", "blocked", "do_not_proceed"), ("open", "executed", "proceed")],
)
def test_the_fail_mode_decides_while_bighub_is_unavailable(
    server: ResponsesServer, client_kind: str, fail_mode: str, status: str, recommendation: str
) -> None:
    def away(_: Json) -> Json:
        raise ConnectionError("no route")

    server.script(calls(("refund", {"order": "1"})))
    with runtime(client_kind, server, away, fail_mode=fail_mode, evaluate_retries=0) as client:
        client.tool("refund", refund)
        last = client.run()["execution"]["last"]
        client.bighub._reply = PROCEED
    assert (last["status"], last["recommendation"]) == (status, recommendation)
    assert last["enforcement_mode"] == "advisory"
    assert "no route" in last["decision"]["reason"]


def test_check_tool_evaluates_and_runs_nothing(server: ResponsesServer) -> None:
    with runtime("blocking", server, STOP) as client:
        client.tool("refund", refund)
        decision = client.client.check_tool("refund", {"order": "1"})
        assert client.bighub.reports == []
    assert decision["_resolved_action"] == "blocked"
    assert decision["recommendation"] == "do_not_proceed"


@pytest.mark.parametrize("arguments", [None, [], [1], "{", 7, {"order": 1, "more": 2}])
def test_check_tool_names_what_is_wrong_with_the_arguments(
    server: ResponsesServer, arguments: Any
) -> None:
    with runtime("blocking", server) as client:
        client.tool("refund", refund)
        with pytest.raises(InvalidCall, match="the arguments of 'refund'"):
            client.client.check_tool("refund", arguments)
        assert client.bighub.evaluations == []


def test_memory_events_of_each_turn_are_reported(server: ResponsesServer, client_kind: str) -> None:
    server.script(calls(("refund", {"order": "1"}), ("refund", {"order": "2"})))
    with runtime(client_kind, server, actor="bot", domain="shop") as client:
        client.tool("refund", refund)
        answer = client.run()
    [memory] = client.bighub.memories
    assert {event["arguments"]["order"] for event in memory["events"]} == {"1", "2"}
    assert (memory["source"], memory["actor"], memory["domain"], memory["model"]) == (
        "openai_adapter",
        "bot",
        "shop",
        "gpt-5",
    )
    assert memory["trace_id"] == answer["execution"]["last"]["trace_id"]


def test_no_call_of_a_turn_runs_if_one_cannot_be_evaluated(server: ResponsesServer) -> None:
    ran: list[str] = []

    def note(order: str) -> None:
        ran.append(order)

    def reply(request: Json) -> Json:
        if request["context"]["arguments"]["order"] == "a":
            raise SystemExit("the user has had enough")
        return PROCEED

    server.script(calls(*(("note", {"order": order}) for order in "abcd")))
    with runtime("blocking", server, reply) as client:
        client.tool("note", note)
        with pytest.raises(SystemExit):
            client.run()
    assert ran == []


def test_a_risk_too_large_for_a_float_blocks_only_its_call(
    server: ResponsesServer, client_kind: str
) -> None:
    def reply(request: Json) -> Json:
        odd = request["context"]["arguments"]["order"] == "a"
        return {**PROCEED, "risk_score": 10**400} if odd else PROCEED

    server.script(calls(("refund", {"order": "a"}), ("refund", {"order": "b"})), says("Done."))
    with runtime(client_kind, server, reply) as client:
        client.tool("refund", refund)
        events = client.run()["execution"]["events"]
    assert [event["status"] for event in events] == ["blocked", "executed"]


def test_changes_to_a_returned_event_do_not_reach_the_run_state(
    server: ResponsesServer, client_kind: str
) -> None:
    odd = {**PROCEED, "recommendation": {"word": "proceed"}, "enforcement_mode": ["odd"]}
    server.script(calls(("refund", {"order": "a"})))
    with runtime(client_kind, server, odd) as client:
        client.tool("refund", refund)
        result = client.run()
        [event] = result["execution"]["events"]
        event["recommendation"]["word"] = "changed"
        event["enforcement_mode"].append("changed")
        assert "changed" not in str(result.to_state().to_json())


# -- a turn that is stopped ------------------------------------------------------------------------


def stopped_in_a_turn(server: ResponsesServer) -> None:
    """Answer with two calls: one that ends, and one in which the run is stopped."""
    server.script(calls(("refund", {"order": "1", "amount": None}), ("stop", {})))


def are_reported(client: Any, statuses: list[str]) -> bool:
    """Whether these outcomes are reported after a while, without another run or `close`."""
    pause = threading.Event()
    reports = client.bighub.reports
    return any(
        [report["status"] for report in reports] == statuses or pause.wait(0.01)
        for _ in range(1_000)
    )


@pytest.mark.parametrize("way", ["run", "stream", "run_with_approval"])
def test_calls_that_ran_in_an_interrupted_turn_are_reported(
    server: ResponsesServer, way: str
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    stopped_in_a_turn(server)
    with runtime("blocking", server) as client:
        client.tool("refund", refund)
        client.tool("stop", stop)
        with pytest.raises(KeyboardInterrupt):
            client.run_with_approval(None) if way == "run_with_approval" else getattr(client, way)()
        assert are_reported(client, ["SUCCESS"])


@pytest.mark.parametrize("bighub", [ScriptedBighub, AsyncScriptedBighub])
async def test_calls_that_ran_in_a_cancelled_run_are_reported(
    server: ResponsesServer, bighub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bighub_langgraph.delivery_schedule.FALLBACK_DELAY", 0.01)
    starts = {name: asyncio.Event() for name in ("quick", "slow")}
    let_go = threading.Event()
    loop = asyncio.get_running_loop()

    def quick() -> str:
        loop.call_soon_threadsafe(starts["quick"].set)
        return "done"

    def slow() -> str:
        loop.call_soon_threadsafe(starts["slow"].set)
        let_go.wait(20)
        return "done"

    server.script(calls(("quick", {}), ("slow", {})))
    async with (
        openai.AsyncOpenAI(api_key="key", base_url=server.url) as model,
        AsyncBighubOpenAI(openai_client=model, bighub=bighub()) as client,
    ):
        client.tool("quick", quick)
        client.tool("slow", slow)
        reports = client._runtime.clients.primary.reports
        run = asyncio.create_task(client.run(messages="Go.", model="gpt-5"))
        for event in starts.values():
            await event.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        for count in (1, 2):
            for _ in range(1_000):
                if len(reports) == count:
                    break
                await asyncio.sleep(0.01)
            assert [report["status"] for report in reports] == ["SUCCESS"] * count
            let_go.set()


HALF = "half \ud83d of a pair"


def fail_with_half(order: str) -> str:
    raise LookupError(HALF)


def find_halves(value: Any) -> list[str]:
    """Return the texts within a value that UTF-8 cannot encode."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return [] if text.encode("utf-8", "replace").decode() == text else [text]


@pytest.mark.parametrize("answer", ["approve", "reject", "edit"])
def test_half_a_surrogate_is_mended_wherever_it_comes_from(
    server: ResponsesServer, client_kind: str, answer: str
) -> None:
    def look(order: str) -> str:
        return HALF

    # Python 3.13 cannot compile it as a docstring.
    look.__doc__ = f"Look at {HALF}.\n\nArgs:\n    order: {HALF}\n"

    server.script(
        calls(("look", {"order": HALF}), ("fail", {"order": HALF}), ("none", {"order": HALF})),
        says(HALF),
    )
    facts: Json = {
        "target_from_args": lambda _: HALF,
        "metadata_from_args": lambda _: {HALF: HALF},
    }
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("look", look, **facts)
        client.tool("fail", fail_with_half, **facts)
        result = client.run(messages=HALF, instructions=HALF, extra_create_args={"user": HALF})
        state = client.client.state_from_json(result.to_state().to_json())
        for item in state.interruptions:
            if answer == "edit":
                state.edit(item, arguments={"order": HALF + "!"}, comment=HALF, approver=HALF)
            elif answer == "reject":
                state.reject(item, rejection_message=HALF, comment=HALF, approver=HALF)
            else:
                state.approve(item, comment=HALF, approver=HALF)
        result = client.resume(state)
        assert result.status == "completed"
        assert find_halves([result, server.requests]) == []
        assert find_halves([client.bighub.evaluations, client.bighub.reports]) == []
