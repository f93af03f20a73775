"""A stored run whose calls went on elsewhere, or in a process that died, goes on from there."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bighub_langgraph import Journal
from bighub_langgraph.core.lifecycle import (
    AnswerGiven,
    ExecutionFinished,
    ExecutionStarted,
    OwnerLost,
)
from bighub_langgraph.core.models import Answer, Approval, ToolSucceeded
from bighub_langgraph.core.reporting import ReportingConfig
from tests.openai_answers import calls, says
from tests.openai_bighub import REVIEW
from tests.openai_runtime import CLIENT_KINDS, Runtime, runtime
from tests.openai_server import ResponsesServer

Json = dict[str, Any]
REPORTING = ReportingConfig()
APPROVAL = AnswerGiven(Approval(Answer.APPROVE, 0.0))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'calls.db'}"


@pytest.fixture(params=CLIENT_KINDS)
def client(request: pytest.FixtureRequest, url: str) -> Iterator[Runtime]:
    with (
        ResponsesServer() as server,
        runtime(request.param, server, REVIEW, journal=url) as client,
    ):
        server.script(calls(("refund", {"order": "1"}), ("refund", {"order": "2"})), says("Done."))
        yield client


def refund_tool(ran: list[str]) -> Any:
    def refund(order: str) -> str:
        ran.append(order)
        return f"refunded {order}"

    return refund


def elsewhere(url: str, events: str) -> None:
    """What another process did with the call of order 1."""
    with closing(Journal(url)) as journal:
        records = [view.record for view in journal.admin.calls()]
        [key] = [item.key for item in records if "'1'" in str(item.request.context["arguments"])]
        host, pid, start_time, random = journal.owner.split(":")
        alive, dead = f"{journal.owner}/1", f"{host}:{pid}:{int(start_time) - 1}:{random}/1"
        records_by_name: dict[str, list[Any]] = {
            "nothing": [],
            "approved": [APPROVAL],
            "runs": [APPROVAL, ExecutionStarted(alive, 0.0)],
            "died": [APPROVAL, ExecutionStarted(dead, 0.0)],
            "lost": [APPROVAL, ExecutionStarted(dead, 0.0), OwnerLost(dead, "it is gone")],
            "ran": [
                APPROVAL,
                ExecutionStarted(alive, 0.0),
                ExecutionFinished(alive, ToolSucceeded("refunded there")),
            ],
        }
        for event in records_by_name[events]:
            journal.transition(key, event, REPORTING)


@pytest.mark.parametrize(
    ("events", "policy", "ran", "output"),
    [
        ("nothing", {}, [], None),
        ("approved", {}, ["1"], "refunded 1"),
        ("ran", {}, [], "refunded there"),
        *((events, {}, [], None) for events in ("runs", "died", "lost")),
        ("runs", {"idempotent": True}, [], None),
        *((events, {"idempotent": True}, ["1"], "refunded 1") for events in ("died", "lost")),
        ("died", {"probe": lambda *_: "found"}, [], "found"),
        ("died", {"probe": lambda *_: None}, ["1"], "refunded 1"),
    ],
)
def test_a_call_without_an_answer_goes_on_as_the_journal_and_its_policy_say(  # noqa: PLR0917
    client: Runtime, url: str, events: str, policy: Json, ran: list[str], output: str | None
) -> None:
    starts: list[str] = []
    client.tool("refund", refund_tool(starts), **policy)
    blob = client.run().to_state().to_json()
    elsewhere(url, events)
    result = client.resume(client.client.state_from_json(blob))
    assert starts == ran
    outputs = [event["output"] for event in result["execution"]["events"] if event["output"]]
    assert outputs == ([output] if output else [])
    assert len(result.interruptions) == (1 if output else 2)


@pytest.mark.parametrize(
    ("answer", "policy", "ran", "waiting"),
    [
        ("reject", {}, [], ["2"]),
        ("reject", {"idempotent": True}, [], ["2"]),
        ("approve", {}, [], ["1", "2"]),
        ("approve", {"idempotent": True}, ["1"], ["2"]),
    ],
)
def test_an_answer_to_a_call_whose_process_died_may_stop_it_but_not_run_it_again(  # noqa: PLR0917
    client: Runtime, url: str, answer: str, policy: Json, ran: list[str], waiting: list[str]
) -> None:
    starts: list[str] = []
    client.tool("refund", refund_tool(starts), **policy)
    blob = client.run().to_state().to_json()
    elsewhere(url, "died")
    state = client.client.state_from_json(blob)
    [unknown] = [item for item in state.interruptions if item.get("outcome_unknown")]
    getattr(state, answer)(unknown, comment="no record of it")
    result = client.resume(state)
    assert starts == ran
    assert [item["arguments"]["order"] for item in result.interruptions] == waiting


def test_an_answer_to_one_call_does_not_wait_for_another_that_still_runs(
    client: Runtime, url: str
) -> None:
    starts: list[str] = []
    client.tool("refund", refund_tool(starts))
    blob = client.run().to_state().to_json()
    elsewhere(url, "runs")
    state = client.client.state_from_json(blob)
    [pending_call] = [item for item in state.interruptions if not item.get("outcome_unknown")]
    state.approve(pending_call)
    assert len(client.resume(state).interruptions) == 1
    assert starts == ["2"]
