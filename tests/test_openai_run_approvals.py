"""Calls that a person must allow: with a callback, and by stopping."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from bighub_langgraph import ApprovalPolicy, BighubGuard, BighubOpenAI, Journal
from bighub_langgraph.approvals.cards import Approver
from bighub_langgraph.approvals.inbox import ApprovalInbox
from bighub_langgraph.core.lifecycle import ExecutionStarted, OwnerLost
from bighub_langgraph.core.reporting import ReportingConfig
from bighub_langgraph.openai.errors import InvalidRunState
from bighub_langgraph.testing import record_calls
from tests.openai_answers import Answer, calls, says
from tests.openai_bighub import PROCEED, REVIEW, STOP, ScriptedBighub
from tests.openai_runtime import runtime
from tests.openai_server import ResponsesServer

Json = dict[str, Any]
YES = {"resolution": "approved"}


@pytest.fixture
def server() -> Iterator[ResponsesServer]:
    with ResponsesServer() as server:
        server.script(two(), says("All refunded."))
        yield server


def two() -> Answer:
    return calls(("refund", {"order": "1", "amount": 5}), ("refund", {"order": "2", "amount": 6}))


def refund(order: str, amount: float) -> str:
    return f"refunded {order} for {amount:g}"


def over(limit: float) -> Any:
    """A BIGHUB that wants a person for every amount over a limit."""
    return lambda request: REVIEW if request["context"]["arguments"]["amount"] > limit else PROCEED


def outputs(server: ResponsesServer) -> list[Json]:
    items = server.requests[-1]["input"]
    return [json.loads(i["output"]) for i in items if i.get("type") == "function_call_output"]


def test_a_person_answers_every_call_and_the_model_answers_last(
    server: ResponsesServer, client_kind: str
) -> None:
    contexts: list[Json] = []

    def ask(context: Json) -> Json:
        contexts.append(context)
        return {**YES, "comment": "fine", "approver": "ann"}

    with runtime(client_kind, server, REVIEW) as client:
        client.tool("refund", refund)
        answer = client.run_with_approval(ask)
        assert [item["resolution"] for item in client.bighub.resolutions] == [
            "approved",
            "approved",
        ]
        assert client.bighub.resolutions[0]["comment"] == "ann: fine"
        assert [report["status"] for report in client.bighub.reports] == ["SUCCESS", "SUCCESS"]
    assert [set(context) for context in contexts] == [{"request_id", "event", "response"}] * 2
    assert {context["request_id"] for context in contexts} == {"req_1", "req_2"}
    assert answer["output_text"] == "All refunded."
    assert [output["output"] for output in outputs(server)] == [
        "refunded 1 for 5",
        "refunded 2 for 6",
    ]
    loop = answer["approval_loop"]
    assert (loop["required"], loop["resolved"], loop["resumed"]) == (True, True, True)
    assert [item["tool_output"] for item in loop["approvals"]] == [
        "refunded 1 for 5",
        "refunded 2 for 6",
    ]


def test_a_comment_is_reported_without_secrets(server: ResponsesServer, client_kind: str) -> None:
    response = {**YES, "comment": "the card was 4111 1111 1111 1111", "approver": "ann@example.org"}
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("refund", refund)
        client.run_with_approval(lambda _: response)
    assert client.bighub.resolutions[0]["comment"] == "ann@example.org: the card was [redacted]"


def test_a_call_without_approval_runs_while_another_waits(
    server: ResponsesServer, client_kind: str
) -> None:
    with runtime(client_kind, server, over(5)) as client:
        client.tool("refund", refund)
        answer = client.run()
    assert answer.status == "interrupted"
    assert [event["status"] for event in answer["execution"]["events"]] == [
        "executed",
        "approval_required",
    ]
    assert [item["arguments"] for item in answer.interruptions] == [{"order": "2", "amount": 6.0}]
    assert len(server.requests) == 1


def test_a_run_without_approvals_reports_none_required(
    server: ResponsesServer, client_kind: str
) -> None:
    with runtime(client_kind, server) as client:
        client.tool("refund", refund)
        loop = client.run_with_approval(lambda _: YES)["approval_loop"]
    assert loop == {"required": False, "resolved": False, "resumed": False}


def test_a_denial_reaches_the_model_with_its_reason(
    server: ResponsesServer, client_kind: str
) -> None:
    with runtime(client_kind, server, over(5)) as client:
        client.tool("refund", refund)
        denial = {"resolution": "denied", "comment": "not this one"}
        answer = client.run_with_approval(lambda _: denial)
        assert [report["status"] for report in client.bighub.reports] == ["SUCCESS", "BLOCKED"]
        assert client.bighub.resolutions[0]["resolution"] == "denied"
    assert outputs(server)[1]["status"] == "blocked"
    assert "not this one" in outputs(server)[1]["reason"]
    loop = answer["approval_loop"]
    assert (loop["resolved"], loop["resumed"]) == (True, False)
    assert answer["execution"]["last"]["approval"]["answer"] == "reject"


def test_an_edit_is_checked_shown_to_bighub_and_run(
    server: ResponsesServer, client_kind: str
) -> None:
    with runtime(client_kind, server, over(5)) as client:
        client.tool("refund", refund)
        edit = {**YES, "arguments": {"order": "2", "amount": "4"}}
        client.run_with_approval(lambda _: edit)
        arguments = [
            request["context"]["arguments"]["amount"] for request in client.bighub.evaluations
        ]
        assert [report["status"] for report in client.bighub.reports] == ["SUCCESS", "SUCCESS"]
    assert arguments == [5.0, 6.0, 4.0]
    output = outputs(server)[1]
    assert output["output"] == "refunded 2 for 4"
    assert "A person changed this call" in output["note"]


def test_an_edit_that_bighub_blocks_does_not_run(server: ResponsesServer, client_kind: str) -> None:
    def strict(request: Json) -> Json:
        return STOP if request["context"]["arguments"]["amount"] > 100 else REVIEW

    with runtime(client_kind, server, strict) as client:
        client.tool("refund", refund)
        edit = {**YES, "arguments": {"order": "2", "amount": 1000}}
        client.run_with_approval(lambda _: edit)
    assert [output["status"] for output in outputs(server)] == ["blocked", "blocked"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("yes", "holds no decision: 'yes'"),
        (True, "holds no decision: True"),
        ({}, "has no type: {}"),
        ({"resolution": "maybe"}, "'maybe' for refund is not one of approve"),
        ({**YES, "arguments": {"order": 1}}, "cannot be used"),
        ({**YES, "arguments": "order 1"}, "an edit of refund is"),
    ],
)
def test_an_invalid_answer_blocks_the_call_and_is_no_denial(
    server: ResponsesServer, client_kind: str, answer: Any, message: str
) -> None:
    with runtime(client_kind, server, over(5)) as client:
        client.tool("refund", refund)
        last = client.run_with_approval(lambda _: answer)["execution"]["last"]
        assert client.bighub.resolutions == []
    assert last["status"] == "blocked"
    assert message in last["error"]


def test_a_callback_that_raises_blocks_the_call_and_is_no_denial(
    server: ResponsesServer, client_kind: str
) -> None:
    def ask(_: Json) -> Json:
        raise RuntimeError("pager is down")

    with runtime(client_kind, server, over(5)) as client:
        client.tool("refund", refund)
        last = client.run_with_approval(ask)["execution"]["last"]
        assert client.bighub.resolutions == []
    assert (last["status"], "pager is down" in last["error"]) == ("blocked", True)


def test_a_decision_is_announced_once_though_a_person_answers_later(
    server: ResponsesServer, client_kind: str
) -> None:
    requests: list[str] = []
    with runtime(
        client_kind, server, REVIEW, on_decision=lambda event: requests.append(event["status"])
    ) as client:
        client.tool("refund", refund)
        client.run_with_approval(lambda _: YES)
    assert requests == ["approval_required", "approval_required"]


def test_a_callback_may_be_a_coroutine(server: ResponsesServer, client_kind: str) -> None:
    async def ask(_: Json) -> Json:
        await asyncio.sleep(0)
        return YES

    with runtime(client_kind, server, REVIEW) as client:
        client.tool("refund", refund)
        assert client.run_with_approval(ask).status == "completed"


def test_no_answer_leaves_the_call_waiting(server: ResponsesServer, client_kind: str) -> None:
    with runtime(client_kind, server, over(5)) as client:
        client.tool("refund", refund)
        answer = client.run_with_approval(lambda _: None)
    assert answer.status == "interrupted"
    loop = answer["approval_loop"]
    request_id = answer.interruptions[0]["request_id"]
    assert (loop["required"], loop["resolved"], loop["request_id"]) == (True, False, request_id)


def test_without_a_callback_the_run_stops(server: ResponsesServer, client_kind: str) -> None:
    with runtime(client_kind, server, over(5)) as client:
        client.tool("refund", refund)
        assert client.run_with_approval(None).status == "interrupted"


def test_a_standing_approval_holds_for_the_run(server: ResponsesServer, client_kind: str) -> None:
    server._script[1:1] = [calls(("refund", {"order": "3", "amount": 7}))]
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("refund", refund)
        state = client.run().to_state()
        first, second = state.interruptions
        state.approve(first, approver="ann", always_approve=True)
        state.approve(second, approver="ann")
        answer = client.resume(state)
        assert len(client.bighub.resolutions) == 3
    assert answer.status == "completed"
    ran = [event for event in answer["execution"]["events"] if event["status"] == "executed"]
    assert {event["approval"]["approver"] for event in ran} == {"ann"}
    assert len(ran) == 3


def test_a_standing_approval_does_not_lift_a_block(
    server: ResponsesServer, client_kind: str
) -> None:
    server._script[1:1] = [calls(("refund", {"order": "3", "amount": 700}))]

    def strict(request: Json) -> Json:
        return STOP if request["context"]["arguments"]["amount"] > 100 else REVIEW

    with runtime(client_kind, server, strict) as client:
        client.tool("refund", refund)
        state = client.run().to_state()
        first, second = state.interruptions
        state.approve(first, always_approve=True)
        state.approve(second)
        assert client.resume(state)["execution"]["last"]["status"] == "blocked"


def hosted_request(server_label: str) -> Json:
    """A request of a hosted server for its tool `refund`."""
    arguments = json.dumps({"order": "9", "amount": 9})
    return {
        "type": "mcp_approval_request",
        "server_label": server_label,
        "name": "refund",
        "arguments": arguments,
    }


SCOPES: dict[str, Callable[[], Answer]] = {
    "own tool": lambda: calls(("refund", {"order": "9", "amount": 9})),
    "shop server": lambda: Answer([hosted_request("shop")]),
    "bank server": lambda: Answer([hosted_request("bank")]),
}


@pytest.mark.parametrize("later", SCOPES)
@pytest.mark.parametrize("approved", SCOPES)
def test_a_standing_approval_covers_only_the_tool_and_server_that_was_shown(
    client_kind: str, approved: str, later: str
) -> None:
    ran: list[float] = []
    with ResponsesServer() as server, runtime(client_kind, server, REVIEW) as client:
        server.script(SCOPES[approved](), SCOPES[later](), says("Done."))
        client.tool("refund", lambda order, amount: ran.append(amount), parameters_schema=ANY)
        state = client.run().to_state()
        state.approve(state.interruptions[0], approver="ann", always_approve=True)
        answer = client.resume(client.client.state_from_json(state.to_json()))
    is_covered = later == approved
    assert answer.status == ("completed" if is_covered else "interrupted")
    assert len(ran) == (approved == "own tool") + (is_covered and later == "own tool")
    if is_covered and later != "own tool":
        last = server.requests[-1]["input"][-1]
        assert (last["type"], last["approve"]) == ("mcp_approval_response", True)


ANY: Json = {
    "type": "object",
    "properties": {"order": {"type": "string"}, "amount": {"type": "number"}},
    "required": ["order", "amount"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("recommendation", ["do_not_proceed", "never_heard_of"])
def test_a_standing_approval_does_not_cover_what_bighub_recommends_against(
    server: ResponsesServer, client_kind: str, recommendation: str
) -> None:
    server._script[1:1] = [calls(("refund", {"order": "3", "amount": 700}))]
    warns: Json = {
        "recommendation": recommendation,
        "enforcement_mode": "enforced",
        "enforced_verdict": "requires_approval",
    }

    def reply(request: Json) -> Json:
        return warns if request["context"]["arguments"]["amount"] > 100 else REVIEW

    with runtime(client_kind, server, reply) as client:
        client.tool("refund", refund)
        state = client.run().to_state()
        first, second = state.interruptions
        state.approve(first, always_approve=True)
        state.approve(second)
        answer = client.resume(state)
    assert answer.status == "interrupted"
    assert answer.interruptions[0]["arguments"]["amount"] == 700


MCP = {
    "type": "mcp_approval_request",
    "name": "delete_page",
    "server_label": "wiki",
    "arguments": '{"page": "home"}',
}


@pytest.mark.parametrize("yes", [True, False])
def test_an_approval_request_of_a_hosted_server_is_shown_and_answered(
    client_kind: str, yes: bool
) -> None:
    with ResponsesServer() as server, runtime(client_kind, server) as client:
        server.script(Answer([dict(MCP)]), says("Deleted."))
        client.tool("refund", refund)
        answer = client.run()
        [interruption] = answer.interruptions
        assert (answer.status, interruption["tool"], interruption["server_label"]) == (
            "interrupted",
            "delete_page",
            "wiki",
        )
        state = answer.to_state()
        (state.approve if yes else state.reject)(interruption)
        assert client.resume(state)["output_text"] == "Deleted."
        item = server.requests[-1]["input"][-1]
    assert (item["type"], item["approve"]) == ("mcp_approval_response", yes)
    assert item["approval_request_id"] == interruption["request_id"]


def test_fail_mode_review_asks_a_person(server: ResponsesServer, client_kind: str) -> None:
    def away(_: Json) -> Json:
        raise ConnectionError("no route")

    with runtime(client_kind, server, away, fail_mode="review", evaluate_retries=0) as client:
        client.tool("refund", refund)
        answer = client.run_with_approval(lambda _: YES)
        client.bighub._reply = PROCEED
    assert answer["execution"]["last"]["status"] == "executed"


def resume_refund(client: BighubOpenAI, **more: Any) -> Json:
    return client.resume_after_approval(
        tool_name="refund",
        arguments={"order": "9", "amount": 1},
        **{"request_id": "req_9", **more},
    )


def test_an_approval_is_resumed_by_its_request_id_once(server: ResponsesServer) -> None:
    ran: list[str] = []

    def once(order: str, amount: float) -> str:
        ran.append(order)
        return "refunded"

    with runtime("blocking", server) as client:
        client.tool("refund", once)
        first, second = resume_refund(client.client), resume_refund(client.client)
        assert [report["status"] for report in client.bighub.reports] == ["SUCCESS"]
    assert (first["resumed"], first["tool_output"], ran) == (True, "refunded", ["9"])
    assert second["tool_output"] == "refunded"


def test_an_approval_that_bighub_does_not_confirm_runs_nothing(server: ResponsesServer) -> None:
    with runtime("blocking", server) as client:
        client.tool("refund", refund)
        result = resume_refund(client.client, resolution="denied")
    assert (result["resolved"], result["resumed"]) == (True, False)


@pytest.mark.parametrize("resolution", ["approved", "Approved", "approve", "denied", "rejected"])
def test_a_request_id_runs_nothing_that_its_person_or_its_tool_does_not_allow(
    server: ResponsesServer, resolution: str
) -> None:
    """BIGHUB confirms a yes to each, as where somebody else approved the request before."""
    confirms = {"status": "approved", "resolution": "approved"}
    ran: list[str] = []

    def once(order: str, amount: float) -> str:
        ran.append(order)
        return "refunded"

    is_yes = resolution.lower().startswith("approve")
    with runtime("blocking", server) as client:
        client.bighub.approvals.resolve = lambda *_, **__: confirms
        client.tool("refund", once, allowed_decisions=["reject"] if is_yes else None)
        if is_yes:
            with pytest.raises(InvalidRunState, match="'refund' may be answered with: reject"):
                resume_refund(client.client, resolution=resolution)
        else:
            assert not resume_refund(client.client, resolution=resolution)["resumed"]
    assert ran == []


def test_a_waiting_call_resumed_by_request_id_is_not_run_again_by_its_state(
    server: ResponsesServer,
) -> None:
    ran: list[str] = []

    def once(order: str, amount: float) -> str:
        ran.append(order)
        return "refunded"

    with runtime("blocking", server, over(5)) as client:
        client.tool("refund", once)
        answer = client.run()
        [interruption] = answer.interruptions
        result = client.client.resume_after_approval(
            tool_name="refund",
            arguments=interruption["arguments"],
            request_id=interruption["request_id"],
        )
        state = answer.to_state()
        state.approve(interruption)
        client.resume(state)
    assert (result["tool_output"], ran) == ("refunded", ["1", "2"])


@pytest.mark.parametrize("allowed", [["approve", "reject"]])
def test_an_answer_that_the_tool_does_not_allow_is_none(
    server: ResponsesServer, client_kind: str, allowed: list[str]
) -> None:
    edit = {**YES, "arguments": {"order": "2", "amount": 4}}
    with runtime(client_kind, server, over(5)) as client:
        client.tool("refund", refund, allowed_decisions=allowed)
        last = client.run_with_approval(lambda _: edit)["execution"]["last"]
    assert last["status"] == "blocked"
    assert "edit is not allowed for refund; allowed: approve, reject" in last["error"]


def test_an_edit_that_cannot_be_evaluated_changes_nothing(
    server: ResponsesServer, client_kind: str
) -> None:
    def value(arguments: Json) -> float:
        return {5.0: 5.0, 6.0: 6.0}[arguments["amount"]]

    edit = {**YES, "arguments": {"order": "2", "amount": 4}}
    with runtime(client_kind, server, over(5)) as client:
        client.tool("refund", refund, value_from_args=value)
        last = client.run_with_approval(lambda _: edit)["execution"]["last"]
        assert [report["status"] for report in client.bighub.reports] == ["SUCCESS", "BLOCKED"]
        assert client.bighub.resolutions == []
    assert last["status"] == "blocked"
    assert "value_from_args of 'refund' raised KeyError" in last["error"]


def test_an_approval_that_bighub_leaves_open_is_no_denial(server: ResponsesServer) -> None:
    with runtime("blocking", server, over(5)) as client:
        client.tool("refund", refund)
        [interruption] = client.run().interruptions
        request_id, arguments = interruption["request_id"], interruption["arguments"]
        client.bighub.approvals.resolve = lambda *_, **__: {"status": "pending"}
        open_result = client.resume_after_approval("refund", arguments, request_id)
        client.bighub.approvals.resolve = client.bighub._resolve
        result = client.resume_after_approval("refund", arguments, request_id)
        assert [item["resolution"] for item in client.bighub.resolutions] == ["approved"] * 2
    assert open_result["resumed"] is False
    assert result["tool_output"] == "refunded 2 for 6"


ADA, BOB = (Approver(name, verified=True, roles=frozenset({"approver"})) for name in ("ada", "bob"))


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[BighubGuard]:
    """A guard with which two people have to approve each call."""
    two_people = ApprovalPolicy(required_approvals=2)
    bighub, journal = ScriptedBighub(REVIEW), tmp_path / "calls.db"
    with BighubGuard(bighub=bighub, journal=journal, approvals=two_people) as guard:
        yield guard


def test_where_two_people_have_to_approve_a_callback_is_asked_once_and_reads_why(
    server: ResponsesServer, client_kind: str, guard: BighubGuard
) -> None:
    contexts: list[Json] = []

    def ask(context: Json) -> Json:
        contexts.append(context)
        return {**YES, "approver": "ada"}

    with runtime(client_kind, server, bighub=None, guard=guard) as client:
        client.tool("refund", refund)
        result = client.run_with_approval(ask)
    assert (result.status, len(contexts)) == ("interrupted", 2)
    loop = result["approval_loop"]
    assert (loop["resolved"], loop["resumed"]) == (False, False)
    for item in (*loop["approvals"], *result.interruptions):
        assert item["error"].startswith("only people who are signed in may approve it")


def test_two_people_who_are_signed_in_let_a_run_go_on(
    server: ResponsesServer, client_kind: str, guard: BighubGuard
) -> None:
    pay = record_calls(refund)
    with runtime(client_kind, server, bighub=None, guard=guard) as client:
        client.tool("refund", pay)
        result = client.run()
        inbox = ApprovalInbox(cast("Journal", guard.journal))
        for approver in (ADA, BOB):
            result = client.resume(result.to_state())
            assert (result.status, pay.calls) == ("interrupted", [])
            for card in inbox.list():
                inbox.answer(card.key, "approve", approver=approver)
        result = client.resume(result.to_state())
    assert result["output_text"] == "All refunded."
    assert sorted(call["order"] for call in pay.calls) == ["1", "2"]


def test_a_callback_does_not_run_a_call_of_two_people_again(
    server: ResponsesServer, client_kind: str, guard: BighubGuard
) -> None:
    pay = record_calls(refund)
    with runtime(client_kind, server, bighub=None, guard=guard) as client:
        client.tool("refund", pay)
        result = client.run()
        inbox = ApprovalInbox(cast("Journal", guard.journal))
        for card in inbox.list():
            for approver in (ADA, BOB):
                inbox.answer(card.key, "approve", approver=approver)
            for event in (ExecutionStarted("a1", 0.0), OwnerLost("a1", "killed")):
                guard.journal.transition(card.key, event, ReportingConfig())
        result = client.resume(result.to_state())
        assert {item["outcome_unknown"] for item in result.interruptions} == {True}
        state = result.to_state()
        for item in state.interruptions:
            state.approve(item, approver="mallory")
        result = client.resume(state)
    assert pay.calls == []
    assert {item["outcome_unknown"] for item in result.interruptions} == {True}
    for item in result.interruptions:
        assert item["error"].startswith("only people who are signed in may approve it")
