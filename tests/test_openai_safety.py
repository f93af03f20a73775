"""Nothing runs under a yes that was given to something else, and no odd value stops a run."""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import openai
import pytest
from pydantic import AfterValidator

from bighub_langgraph import AsyncBighubOpenAI, BighubGuard, BighubOpenAI, current_call
from bighub_langgraph.core.errors import InvalidCall, JournalError
from bighub_langgraph.openai.arguments import parse_arguments
from bighub_langgraph.openai.errors import (
    AdapterConfigurationError,
    InvalidRunState,
    ProviderResponseError,
)
from bighub_langgraph.openai.parameters_schema import parameters_from_schema
from bighub_langgraph.openai.response_parsing import parse_response
from bighub_langgraph.openai.run import Run
from tests.openai_answers import calls, fails, says
from tests.openai_bighub import PROCEED, REVIEW, AsyncScriptedBighub, ScriptedBighub
from tests.openai_runtime import runtime
from tests.openai_server import ResponsesServer

Json = dict[str, Any]
REFUND = ("refund", {"order": "1", "amount": 5})


@pytest.fixture
def silent() -> Iterator[ResponsesServer]:
    with ResponsesServer() as server:
        yield server


@pytest.fixture
def server(silent: ResponsesServer) -> ResponsesServer:
    return silent.script(calls(REFUND), says("Done."))


class Refunds(list[float]):
    """A tool that keeps what it paid."""

    def refund(self, order: str, amount: float) -> str:
        self.append(amount)
        return f"refunded {order}"


@pytest.fixture
def refunds() -> Refunds:
    return Refunds()


def resume_request(
    client: BighubOpenAI, request_id: str, tool: str = "refund", amount: float = 5
) -> Json:
    arguments = {"order": "1", "amount": amount}
    return client.resume_after_approval(tool_name=tool, arguments=arguments, request_id=request_id)


@pytest.mark.parametrize(("tool", "amount"), [("refund", 5000), ("wipe", 5)])
def test_a_yes_to_one_call_runs_no_other(
    server: ResponsesServer, refunds: Refunds, tool: str, amount: float
) -> None:
    with runtime("blocking", server, REVIEW) as client:
        client.tool("refund", refunds.refund)
        client.tool("wipe", refunds.refund)
        client.run()
        with pytest.raises(InvalidRunState, match=r"request req_1 .* nothing was run"):
            resume_request(client.client, "req_1", tool, amount)
        assert client.bighub.resolutions == []
        assert resume_request(client.client, "req_1")["resumed"]
    assert refunds == [5]


def test_a_request_id_that_only_bighub_knows_runs_one_call(
    server: ResponsesServer, refunds: Refunds
) -> None:
    with runtime("blocking", server, REVIEW) as client:
        client.tool("refund", refunds.refund)
        resume_request(client.client, "req_9")
        with pytest.raises(InvalidRunState, match="other arguments"):
            resume_request(client.client, "req_9", amount=6)
    assert refunds == [5]


def test_a_denial_by_request_id_is_reported_at_once(
    server: ResponsesServer, refunds: Refunds
) -> None:
    with runtime("blocking", server, REVIEW) as client:
        client.tool("refund", refunds.refund)
        client.run()
        client.client.resume_after_approval(
            tool_name="refund", arguments=REFUND[1], request_id="req_1", resolution="denied"
        )
        client.client._runtime.delivery.wait(5)
        assert [report["status"] for report in client.bighub.reports] == ["BLOCKED"]


def test_changes_that_callbacks_make_do_not_reach_the_tool(
    server: ResponsesServer, client_kind: str, refunds: Refunds
) -> None:
    def change_event(event: Json) -> None:
        event["arguments"]["amount"] = 1

    def approve(context: Json) -> Json:
        context["event"]["arguments"]["amount"] = 9999
        return {"resolution": "approved"}

    with runtime(client_kind, server, REVIEW, on_decision=change_event) as client:
        client.tool("refund", refunds.refund)
        client.run_with_approval(approve)
    assert refunds == [5]


def test_changes_to_an_interruption_do_not_reach_the_tool(
    server: ResponsesServer, client_kind: str, refunds: Refunds
) -> None:
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("refund", refunds.refund)
        state = client.run().to_state()
        event = state.interruptions[0]
        event["arguments"]["amount"] = 9999
        state.approve(event)
        client.resume(state)
    assert refunds == [5]


def test_arguments_changed_in_place_after_the_decision_are_not_run(
    server: ResponsesServer, client_kind: str, refunds: Refunds
) -> None:
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("refund", refunds.refund)
        state = client.run().to_state()
        state.approve(state.interruptions[0])
        state.run.calls[0].arguments["amount"] = 9999
        last = client.resume(state)["execution"]["last"]
    assert (last["status"], refunds) == ("tool_error", [])
    assert "changed after it was decided" in last["error"]


@pytest.mark.parametrize("later", ["approve", "reject", "edit"])
def test_a_later_answer_revokes_a_standing_approval(
    silent: ResponsesServer, client_kind: str, refunds: Refunds, later: str
) -> None:
    silent.script(calls(REFUND), calls(("refund", {"order": "2", "amount": 7000})), says("Done."))
    with runtime(client_kind, silent, REVIEW) as client:
        client.tool("refund", refunds.refund)
        state = client.run().to_state()
        [item] = state.interruptions
        state.approve(item, always_approve=True)
        more: Json = {"arguments": {"order": "1", "amount": 4}} if later == "edit" else {}
        getattr(state, later)(item, **more)
        assert client.resume(state).status == "interrupted"
    assert 7000 not in refunds


def test_a_standing_approval_does_not_answer_calls_of_the_same_turn(
    silent: ResponsesServer, client_kind: str, refunds: Refunds
) -> None:
    silent.script(calls(REFUND, ("refund", {"order": "2", "amount": 9000})), says("Done."))
    with runtime(client_kind, silent, REVIEW) as client:
        client.tool("refund", refunds.refund)
        state = client.run().to_state()
        state.approve(state.interruptions[0], always_approve=True)
        assert client.resume(state).status == "interrupted"
    assert refunds == [5]


def test_an_approval_does_not_hold_for_a_tool_registered_again(
    server: ResponsesServer, client_kind: str, refunds: Refunds
) -> None:
    def other(order: str, amount: float, currency: str = "EUR") -> None:
        refunds.append(amount)

    with runtime(client_kind, server, REVIEW) as client:
        client.tool("refund", refunds.refund)
        answer = client.run()
        client.tool("refund", other)
        state = answer.to_state()
        state.approve(state.interruptions[0])
        with pytest.raises(InvalidRunState, match="not the one that was asked about"):
            client.resume(state)
        with pytest.raises(InvalidRunState, match="not the one that was asked about"):
            client.client.state_from_json(state.to_json())
    assert refunds == []


def broken(_: str) -> str:
    raise LookupError("no such order")


def number(n: float) -> None: ...


def broad(n: Annotated[str, AfterValidator(broken)]) -> None: ...


SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "number", "multipleOf": 0.01}},
    "required": ["n"],
    "additionalProperties": False,
}
BOUNDED_SCHEMA = {**SCHEMA, "properties": {"n": {"type": "integer", "multipleOf": 3}}}


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        (broad, '{"n": "1"}'),
        (number, '{"n": ' + "[" * 100_000),
        (number, '{"n": ' + "[" * 500 + "]" * 500 + "}"),
        (SCHEMA, '{"n": 1e999}'),
        (BOUNDED_SCHEMA, '{"n": 1' + "0" * 400 + "}"),
    ],
    ids=["validator", "broken nest", "nest", "infinite", "401 digits"],
)
def test_a_run_continues_after_any_arguments_of_the_model(
    silent: ResponsesServer, client_kind: str, tool: Any, arguments: str
) -> None:
    silent.script(calls(("count", arguments)), says("Done."))
    with runtime(client_kind, silent) as client:
        if callable(tool):
            client.tool("count", tool)
        else:
            client.tool("count", number, parameters_schema=tool)
        answer = client.run()
        answer.to_state().to_json()
    assert answer["execution"]["last"]["status"] == "tool_error"
    assert answer.status == "completed"


def test_integers_beyond_floats_are_integers() -> None:
    parameters = parameters_from_schema(BOUNDED_SCHEMA, number, "count")
    assert (
        parameters.check(parse_arguments('{"n": 3' + "0" * 400 + "}", "count"))["n"] == 3 * 10**400
    )


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def fail(error: BaseException, *, coroutine: bool) -> Callable[[], Any]:
    async def later() -> None:
        raise error

    def now() -> None:
        raise error

    return later if coroutine else now


@pytest.mark.parametrize("coroutine", [True, False])
@pytest.mark.parametrize(
    "error", [Mute(), asyncio.CancelledError("mine"), ValueError("x " * 10**6)]
)
def test_any_exception_of_a_tool_is_its_short_result(
    silent: ResponsesServer, client_kind: str, error: BaseException, coroutine: bool
) -> None:
    silent.script(calls(("fail", {})), says("Done."))
    with runtime(client_kind, silent) as client:
        client.tool("fail", fail(error, coroutine=coroutine))
        answer = client.run()
    last = answer["execution"]["last"]
    assert (answer.status, last["status"]) == ("completed", "tool_error")
    assert len(last["error"]) < 4_100


class Odd:
    """An object that answers no question about itself."""

    @property  # type: ignore[misc]  # odd, as it says
    def __class__(self) -> Any:
        raise RuntimeError("no class")


def test_a_tool_may_return_any_object(silent: ResponsesServer, client_kind: str) -> None:
    silent.script(calls(("make", {})), says("Done."))
    with runtime(client_kind, silent) as client:
        client.tool("make", Odd)
        last = client.run()["execution"]["last"]
    assert (last["status"], [report["status"] for report in client.bighub.reports]) == (
        "executed",
        ["SUCCESS"],
    )


def test_a_generator_that_a_tool_returns_has_not_run(
    silent: ResponsesServer, client_kind: str
) -> None:
    silent.script(calls(("each", {})), says("Done."))
    with runtime(client_kind, silent) as client:
        client.tool("each", lambda: (pytest.fail("it ran") for _ in "x"))
        last = client.run()["execution"]["last"]
    assert last["status"] == "tool_error"
    assert "collect what it yields" in last["error"]


def test_null_tokens_are_counted_as_none() -> None:
    run = Run("run", "session", {}, [], [])
    for tokens in (None, 5, None):
        usage = {"input_tokens": tokens, "details": {"cached": tokens}}
        response = parse_response({"id": "r", "output": [], "usage": usage})
        run = run.with_response(response, "turn")
    assert run.usage == {"input_tokens": 5, "details": {"cached": 5}}


def test_a_journal_that_fails_at_the_end_does_not_lose_the_answer(
    server: ResponsesServer, client_kind: str, refunds: Refunds, caplog: pytest.LogCaptureFixture
) -> None:
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("refund", refunds.refund)
        state = client.run().to_state()
        state.approve(state.interruptions[0])

        def away(*_: Any) -> None:
            raise JournalError("away")

        client.client._runtime.ports.journal.end_work_claim = away
        with caplog.at_level(logging.ERROR, "bighub_langgraph"):
            assert client.resume(state)["output_text"] == "Done."
    assert "could not store a response of run" in caplog.text


async def test_a_tool_that_still_waits_for_a_thread_does_not_start_after_a_cancellation(
    server: ResponsesServer, refunds: Refunds
) -> None:
    start, free = asyncio.Event(), threading.Event()
    asyncio.get_running_loop().set_default_executor(pool := ThreadPoolExecutor(1))
    async with openai.AsyncOpenAI(api_key="key", base_url=server.url) as model:
        client = AsyncBighubOpenAI(
            openai_client=model, bighub=AsyncScriptedBighub(), session_id="s"
        )

        client.tool("refund", refunds.refund)
        engine = client._runtime.async_ports.engine
        evaluate = engine.evaluate

        async def ask(*args: Any) -> Any:
            pool.submit(free.wait, 10)
            start.set()
            return await evaluate(*args)

        object.__setattr__(engine, "evaluate", ask)
        run = asyncio.create_task(client.run(messages="Go.", model="gpt-5"))
        await start.wait()
        await asyncio.sleep(0.3)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        free.set()
        await asyncio.sleep(0.2)
        await client.close()
    assert refunds == []


def test_a_client_with_a_shared_guard_can_turn_reports_off(
    server: ResponsesServer, refunds: Refunds
) -> None:
    bighub = ScriptedBighub()
    with BighubGuard(bighub=bighub) as guard:
        quiet: Json = {"memory_enabled": False, "outcome_reporting": False}
        with runtime("blocking", server, bighub=None, guard=guard, **quiet) as client:
            client.tool("refund", refunds.refund)
            client.run()
        guard.flush()
    assert (refunds, bighub.reports, bighub.memories) == ([5], [], [])


@pytest.mark.parametrize("option", [{"fail_mode": "open"}, {"decision_mode": "submit_payload"}])
def test_an_option_that_contradicts_the_shared_guard_is_refused(option: Json) -> None:
    with (
        BighubGuard(bighub=ScriptedBighub()) as guard,
        pytest.raises(AdapterConfigurationError, match="guard= has"),
    ):
        BighubOpenAI(openai_api_key="key", guard=guard, **option)


def test_the_keys_of_a_hosted_server_are_not_stored(
    server: ResponsesServer, client_kind: str, refunds: Refunds
) -> None:
    hosted_tool = {"type": "mcp", "server_label": "s", "server_url": "https://s.example"}
    keys = {"authorization": "key-1", "headers": {"X-Key": "key-2"}}
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("refund", refunds.refund)
        answer = client.run(extra_create_args={"tools": [{**hosted_tool, **keys}]})
        pending_blob = answer.to_state().to_json()
    assert "key-1" not in pending_blob
    assert "key-2" not in pending_blob
    assert json.loads(pending_blob)["run"]["settings"]["tools"] == [hosted_tool]


def test_a_call_with_an_unknown_outcome_is_not_edited(
    server: ResponsesServer, client_kind: str, refunds: Refunds
) -> None:
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("refund", refunds.refund)
        state = client.run().to_state()
        state.run.calls[0].event["outcome_unknown"] = True
        with pytest.raises(InvalidCall, match="cannot be edited"):
            state.edit(state.interruptions[0], arguments={"order": "1", "amount": 4})


def test_a_call_whose_status_is_null_is_complete() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "t", "arguments": "{}"}
    assert parse_response({"id": "r", "output": [{**call, "status": None}]}).is_complete
    assert not parse_response({"id": "r", "output": [{**call, "status": "incomplete"}]}).is_complete


@pytest.mark.parametrize(
    "why",
    [
        {"incomplete_details": {"reason": "max_output_tokens"}},
        {"incomplete_details": "length"},
        {"error": {"message": "no"}},
    ],
)
@pytest.mark.parametrize("status", [None, "completed"])
def test_an_answer_with_a_reason_for_its_end_is_incomplete(why: Json, status: str | None) -> None:
    call = {"type": "function_call", "call_id": "c", "name": "t", "arguments": "{}"}
    assert not parse_response({"id": "r", "status": status, "output": [call], **why}).is_complete


@pytest.mark.parametrize("content", ["It is done.", ["It is ", "done."]])
def test_a_message_whose_content_is_text_is_read(content: Any) -> None:
    message = {"type": "message", "role": "assistant", "content": content}
    assert parse_response({"id": "r", "output": [message]}).text == "It is done."


def test_a_tool_that_only_reads_knows_its_call(silent: ResponsesServer, client_kind: str) -> None:
    def look() -> str:
        return current_call().tool

    silent.script(calls(("look", {})), says("Done."))
    with runtime(client_kind, silent) as client:
        client.tool("look", look, read_only=True)
        assert client.run()["execution"]["last"]["output"] == "look"


def test_additional_tools_may_be_null(
    server: ResponsesServer, client_kind: str, refunds: Refunds
) -> None:
    with runtime(client_kind, server) as client:
        client.tool("refund", refunds.refund)
        assert client.run(extra_create_args={"tools": None}).status == "completed"


@pytest.mark.parametrize("blob", [False, True])
def test_resuming_again_after_the_service_failed_repeats_no_turn(
    silent: ResponsesServer, client_kind: str, refunds: Refunds, *, blob: bool
) -> None:
    mails: list[str] = []

    def mail(to: str) -> str:
        mails.append(to)
        return "sent"

    def opinion(request: Json) -> Json:
        return REVIEW if request["action"] == "refund" else PROCEED

    silent.script(calls(REFUND), calls(("mail", {"to": "bob"})), fails(400), says("Done."))
    with runtime(client_kind, silent, opinion, provider_max_retries=0) as client:
        client.tool("refund", refunds.refund)
        client.tool("mail", mail)
        pending_state = client.run().to_state()
        pending_blob = pending_state.to_json()

        def again() -> Any:
            state = client.client.state_from_json(pending_blob) if blob else pending_state
            if state.interruptions:
                state.approve(state.interruptions[0])
            return client.resume(state)

        with pytest.raises(ProviderResponseError):
            again()
        assert again()["output_text"] == "Done."
        assert again()["output_text"] == "Done."
    assert (refunds, mails) == ([5.0], ["bob"])
