"""Stopped runs: stored, answered, resumed elsewhere, at once and again; and what is refused."""

import asyncio
import copy
import inspect
import json
import multiprocessing
import pickle
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import openai
import pytest

from bighub_langgraph import AsyncBighubOpenAI, BighubOpenAI, Journal, RunState
from bighub_langgraph.core.errors import BighubGuardError, InvalidCall
from bighub_langgraph.core.ports import WorkClaim
from bighub_langgraph.openai.errors import InvalidRunState, ProviderResponseError
from tests.openai_answers import Answer, calls, fails, says
from tests.openai_bighub import PROCEED, REVIEW, AsyncScriptedBighub, ScriptedBighub
from tests.openai_runtime import Runtime, runtime
from tests.openai_server import ResponsesServer

Json = dict[str, Any]


@pytest.fixture
def server() -> Iterator[ResponsesServer]:
    with ResponsesServer() as server:
        server.script(two(), says("All refunded."))
        yield server


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/calls.db"


def two() -> Any:
    return calls(("refund", {"order": "1", "amount": 5}), ("refund", {"order": "2", "amount": 6}))


def refund(order: str, amount: float) -> str:
    return f"refunded {order}"


def store_run(client: Runtime, answer: Callable[[RunState], None] = lambda _: None) -> str:
    state = client.run().to_state()
    answer(state)
    return state.to_json()


def request_id_of(blob: str, order: str = "1") -> str:
    """The calls of a turn are evaluated at once: either may be the first."""
    stored_calls = json.loads(blob)["run"]["calls"]
    [call] = [call for call in stored_calls if call["arguments"]["order"] == order]
    return str(call["event"]["request_id"])


def approve_all(state: RunState) -> None:
    for item in state.interruptions:
        state.approve(item, approver="ann")


def change_blob(blob: str, change: Callable[[Json], Any]) -> str:
    stored_run = json.loads(blob)
    change(stored_run)
    return json.dumps(stored_run)


def test_a_stored_run_is_plain_json_with_version_and_fingerprints(
    server: ResponsesServer, client_kind: str
) -> None:
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("refund", refund)
        stored_run = json.loads(store_run(client))
    assert stored_run["version"] == 1
    assert set(stored_run["fingerprints"]) == {"refund"}


def test_a_stored_run_continues_in_another_client(
    server: ResponsesServer, client_kind: str, journal: str
) -> None:
    with runtime(client_kind, server, REVIEW, journal=journal) as client:
        client.tool("refund", refund)
        blob = store_run(client, approve_all)
    with runtime(client_kind, server, REVIEW, journal=journal) as client:
        client.tool("refund", refund)
        answer = client.resume(client.client.state_from_json(blob))
        assert client.bighub.evaluations == []
        assert [report["status"] for report in client.bighub.reports] == ["SUCCESS", "SUCCESS"]
        assert {item["request_id"] for item in client.bighub.resolutions} == {"req_1", "req_2"}
    assert answer["output_text"] == "All refunded."


def test_a_stored_run_continues_without_a_shared_journal(
    server: ResponsesServer, client_kind: str
) -> None:
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("refund", refund)
        blob = store_run(client, approve_all)
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("refund", refund)
        assert client.resume(client.client.state_from_json(blob)).status == "completed"


def test_partial_answers_run_what_they_allow_and_wait_on(
    server: ResponsesServer, client_kind: str
) -> None:
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("refund", refund)
        state = client.run().to_state()
        state.approve(state.interruptions[1])
        answer = client.resume(state)
        assert (answer.status, len(answer.interruptions)) == ("interrupted", 1)
        assert answer["execution"]["last"]["output"] == "refunded 2"
        state = answer.to_state()
        state.reject(state.interruptions[0], rejection_message="too much")
        assert client.resume(state).status == "completed"
    outputs = [item["output"] for item in server.requests[-1]["input"] if "output" in item]
    assert "too much" in outputs[0]
    assert "refunded 2" in outputs[1]


def test_the_same_state_resumed_again_gives_the_same_answer_and_runs_nothing(
    server: ResponsesServer, client_kind: str, journal: str
) -> None:
    ran: list[str] = []

    def once(order: str, amount: float) -> str:
        ran.append(order)
        return "refunded"

    with runtime(client_kind, server, REVIEW, journal=journal) as client:
        client.tool("refund", once)
        blob = store_run(client, approve_all)
        first = client.resume(client.client.state_from_json(blob))
    with runtime(client_kind, server, REVIEW, journal=journal) as client:
        client.tool("refund", once)
        again = client.resume(client.client.state_from_json(blob))
    assert sorted(ran) == ["1", "2"]
    assert again.replayed
    assert again == first
    assert len(server.requests) == 2


def test_a_later_answer_does_not_overrule_the_first(
    server: ResponsesServer, client_kind: str, journal: str
) -> None:
    with runtime(client_kind, server, REVIEW, journal=journal) as client:
        client.tool("refund", refund)
        state = client.run().to_state()
        blob = state.to_json()
        for item in state.interruptions:
            state.reject(item)
        client.resume(state)
        late = client.client.state_from_json(blob)
        approve_all(late)
        answer = client.resume(late)
    assert {event["status"] for event in answer["execution"]["events"]} == {
        "approval_required",
        "blocked",
    }


def test_two_clients_that_resume_at_once_run_each_call_once(
    server: ResponsesServer, journal: str
) -> None:
    ran: list[str] = []
    together = threading.Barrier(2)
    answers: list[Any] = []

    def slow(order: str, amount: float) -> str:
        ran.append(order)
        threading.Event().wait(0.2)
        return "refunded"

    with runtime("blocking", server, REVIEW, journal=journal) as client:
        client.tool("refund", slow)
        blob = store_run(client, approve_all)

    def go_on() -> None:
        with runtime("blocking", server, REVIEW, journal=journal) as client:
            client.tool("refund", slow)
            state = client.client.state_from_json(blob)
            together.wait()
            answers.append(client.resume(state))

    threads = [threading.Thread(target=go_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ran) == ["1", "2"]
    assert [answer["output_text"] for answer in answers] == ["All refunded."] * 2
    assert len(server.requests) == 2


async def test_two_tasks_that_resume_at_once_run_each_call_once(
    server: ResponsesServer,
) -> None:
    ran: list[str] = []

    async def slow(order: str, amount: float) -> str:
        ran.append(order)
        await asyncio.sleep(0.2)
        return "refunded"

    model = openai.AsyncOpenAI(api_key="key", base_url=server.url)
    async with AsyncBighubOpenAI(openai_client=model, bighub=AsyncScriptedBighub(REVIEW)) as client:
        client.tool("refund", slow)
        state = (await client.run(messages="Go.", model="gpt-5")).to_state()
        approve_all(state)
        first, second = await asyncio.gather(client.resume(state), client.resume(state))
    assert sorted(ran) == ["1", "2"]
    assert first == second
    assert {first.replayed, second.replayed} == {True, False}
    await model.close()


class SlowToClaim(Journal):
    """A journal that is slow to note that the run goes on, after the calls of one turn."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.claiming, self.let_go = threading.Event(), threading.Event()

    def claim_work(self, key: str, owner: str, *, durable: bool = True) -> WorkClaim:
        self.claiming.set()
        self.let_go.wait(10)
        return super().claim_work(key, owner)


async def test_a_run_that_is_cancelled_while_resuming_can_be_resumed(
    server: ResponsesServer, journal: str
) -> None:
    model = openai.AsyncOpenAI(api_key="key", base_url=server.url)
    slow, bighub = SlowToClaim(journal), AsyncScriptedBighub(REVIEW)
    async with AsyncBighubOpenAI(openai_client=model, bighub=bighub, journal=slow) as client:
        client.tool("refund", refund)
        state = (await client.run(messages="Refund both.", model="gpt-5")).to_state()
        approve_all(state)
        task = asyncio.create_task(client.resume(state))
        await asyncio.to_thread(slow.claiming.wait, 10)
        task.cancel()
        slow.let_go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.resume(state))["output_text"] == "All refunded."
    assert len(bighub.reports) == 2
    await model.close()


SECOND_PROCESS = textwrap.dedent(
    """
    import sys
    import openai
    from bighub_langgraph import BighubOpenAI
    from tests.openai_bighub import ScriptedBighub

    url, journal, blob, ran = sys.argv[1:]

    def refund(order: str, amount: float) -> str:
        with open(ran, "a") as file:
            file.write(order)
        return f"refunded {order}"

    client = openai.OpenAI(api_key="key", base_url=url)
    with BighubOpenAI(openai_client=client, bighub=ScriptedBighub(), journal=journal) as runtime:
        runtime.tool("refund", refund)
        state = runtime.state_from_json(open(blob).read())
        for item in state.interruptions:
            state.approve(item, approver="ann")
        print(runtime.resume(state)["output_text"])
    """
)


def test_second_processes_resume_at_once(
    server: ResponsesServer, journal: str, tmp_path: Path
) -> None:
    with runtime("blocking", server, REVIEW, journal=journal) as client:
        client.tool("refund", refund)
        blob = tmp_path / "run.json"
        blob.write_text(store_run(client))
    ran = tmp_path / "ran"
    command = [sys.executable, "-c", SECOND_PROCESS, server.url, journal, str(blob), str(ran)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    lines = [process.communicate()[0].strip() for process in processes]
    assert lines == ["All refunded."] * 2
    assert sorted(ran.read_text()) == ["1", "2"]
    with closing(Journal(journal)) as calls_journal:  # how a run continued is no call
        assert [view.record.tool for view in calls_journal.admin.calls()] == ["refund"] * 2


def test_a_run_that_fails_while_resuming_can_be_resumed(
    server: ResponsesServer, client_kind: str, journal: str
) -> None:
    server._script.insert(1, fails(400, "not now"))
    with runtime(client_kind, server, REVIEW, journal=journal) as client:
        client.tool("refund", refund)
        blob = store_run(client, approve_all)
        with pytest.raises(Exception, match="not now"):
            client.resume(client.client.state_from_json(blob))
        answer = client.resume(client.client.state_from_json(blob))
        assert len(client.bighub.reports) == 2
    assert answer["output_text"] == "All refunded."


WIKI: Json = {"type": "mcp", "server_label": "wiki", "server_url": "https://wiki.example/mcp"}
KEYS: Json = {"authorization": "wiki-key", "headers": {"x-team": "support"}}


@pytest.mark.parametrize("streaming", [True, False])
def test_a_stored_run_holds_no_keys_and_is_resumed_with_them(
    client_kind: str, journal: str, streaming: bool
) -> None:
    keys = {"extra_headers": {"x-tenant": "acme"}, "tools": [{**WIKI, **KEYS}]}
    with ResponsesServer() as server:
        third = calls(("refund", {"order": "3", "amount": 1}))
        server.script(two(), third, fails(400, "not now"), says("Refunded."))
        with runtime(client_kind, server, REVIEW, journal=journal) as client:
            client.tool("refund", refund)
            blob = client.run(extra_create_args=keys).to_state().to_json()
        assert not any(secret in blob for secret in ("wiki-key", "support", "acme"))
        with runtime(client_kind, server, PROCEED, journal=journal) as client:
            client.tool("refund", refund)
            for _ in range(2):  # the second time, the first response is that of the journal
                state = client.client.state_from_json(blob)
                approve_all(state)
                with suppress(ProviderResponseError):
                    if streaming:
                        client.stream(state=state, extra_create_args=keys)
                    else:
                        client.resume(state, **keys)
    assert len(server.requests) == 4
    for request, headers in zip(server.requests, server.headers, strict=True):
        assert headers["x-tenant"] == "acme"
        assert request["tools"][-1] == {**WIKI, **KEYS}


@pytest.mark.parametrize(
    ("credentials", "message"),
    [
        ({"tools": [{**WIKI, "server_url": "https://other.example"}]}, "server_url|only their"),
        ({"tools": []}, "only their authorization and headers"),
        ({"temperature": 1.0}, "temperature cannot change in a run"),
    ],
)
def test_only_keys_can_be_given_to_a_resumed_run(
    server: ResponsesServer, client_kind: str, credentials: Json, message: str
) -> None:
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("refund", refund)
        state = client.run(extra_create_args={"tools": [WIKI]}).to_state()
        with pytest.raises(InvalidRunState, match=message):
            client.stream(state=state, extra_create_args=credentials)
    assert len(server.requests) == 1


def _forget(stored_run: Json) -> None:
    stored_run["version"] = 99


def _swap(stored_run: Json) -> None:
    stored_run["run"]["calls"][0]["arguments"]["amount"] = 5000


def _strange(stored_run: Json) -> None:
    stored_run["format"] = "something else"


def _unreadable(stored_run: Json) -> None:
    del stored_run["run"]["run_id"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_forget, "newer version"),
        (_swap, "was changed after it was asked about"),
        (_strange, "not a run stored"),
        (_unreadable, "cannot be read"),
    ],
)
def test_a_changed_state_is_refused_at_load(
    server: ResponsesServer, client_kind: str, change: Callable[[Json], None], message: str
) -> None:
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("refund", refund)
        blob = change_blob(store_run(client), change)
        with pytest.raises(InvalidRunState, match=message):
            client.client.state_from_json(blob)


@pytest.mark.parametrize("blob", ["", "[]", "{", None, 5])
def test_an_invalid_state_is_refused(server: ResponsesServer, blob: Any) -> None:
    with runtime("blocking", server) as client, pytest.raises(InvalidRunState):
        client.client.state_from_json(blob)


def test_a_state_whose_tool_has_changed_is_refused(
    server: ResponsesServer, client_kind: str
) -> None:
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("refund", refund)
        blob = store_run(client)
        client.tool(
            "refund", lambda order, amount, to: None, parameters_schema=CHANGED_SCHEMA, strict=False
        )
        with pytest.raises(InvalidRunState, match="register it as it was"):
            client.client.state_from_json(blob)


CHANGED_SCHEMA = {"type": "object", "properties": {"order": {}, "amount": {}, "to": {}}}


def _forge_arguments(stored_run: Json) -> None:
    from bighub_langgraph.core.models import ToolCall

    run, call = stored_run["run"], stored_run["run"]["calls"][0]
    call["arguments"] = {"order": "1", "amount": 5000.0}
    own_call = ToolCall(
        run["run_id"], run["turn_id"], call["call_id"], call["tool"], call["arguments"]
    )
    call["key"] = own_call.key


def test_a_forged_call_is_not_in_the_journal(
    server: ResponsesServer, client_kind: str, journal: str
) -> None:
    with runtime(client_kind, server, REVIEW, journal=journal) as client:
        client.tool("refund", refund)
        blob = change_blob(store_run(client), _forge_arguments)
        with pytest.raises(InvalidRunState, match="the journal does not hold"):
            client.client.state_from_json(blob)


def test_a_signature_protects_without_a_shared_journal(
    server: ResponsesServer, client_kind: str
) -> None:
    with runtime(client_kind, server, REVIEW, signing_key="secret") as client:
        client.tool("refund", refund)
        blob = store_run(client)
    with runtime(client_kind, server, REVIEW, signing_key="secret") as client:
        client.tool("refund", refund)
        with pytest.raises(InvalidRunState, match="signature"):
            client.client.state_from_json(change_blob(blob, _forge_arguments))
        with pytest.raises(InvalidRunState, match="signature"):
            client.client.state_from_json(
                change_blob(blob, lambda stored_run: stored_run.pop("signature"))
            )
        state = client.client.state_from_json(blob)
        approve_all(state)
        assert client.resume(state).status == "completed"


MUTANTS = 40
JUNK: tuple[Any, ...] = (
    None,
    "",
    "x",
    "\ud800",
    0,
    -1,
    10**30,
    1.5,
    True,
    [],
    {},
    [None],
    {"x": 1},
    [[]],
    [{"x": []}],
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a JSON value with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def mutants(stored_run: Json, count: int) -> Iterator[Json]:
    """The stored run, each with one part missing or replaced by something else."""
    every = [
        (place, junk)
        for place in range(sum(1 for _ in places(stored_run)))
        for junk in ("missing", *JUNK)
    ]
    for place, junk in Random(count).sample(every, min(count, len(every))):
        mutant = deepcopy(stored_run)
        container, key = list(places(mutant))[place]
        if junk == "missing":
            del container[key]
        else:
            container[key] = junk
        yield mutant


@pytest.mark.parametrize("is_durable", [False, True])
def test_a_state_that_was_changed_anywhere_is_refused_or_runs_what_it_shows(
    journal: str, is_durable: bool
) -> None:
    ran: list[tuple[str, float]] = []

    def pay(order: str, amount: float) -> str:
        ran.append((order, amount))
        return "paid"

    options: Json = {"journal": journal} if is_durable else {}
    with ResponsesServer() as server, runtime("blocking", server, REVIEW, **options) as client:
        client.tool("refund", pay)
        server.script(two(), Answer([hosted_request()]))
        state = client.run(extra_create_args={"tools": [WIKI]}).to_state()
        state.approve(state.interruptions[0], always_approve=True)
        state.edit(state.interruptions[0], arguments={"order": "2", "amount": 4})
        function_calls = json.loads(state.to_json())
        hosted_call = json.loads(client.resume(state).to_state().to_json())
        assert hosted_call["run"]["calls"][0]["kind"] == "mcp"
    refusals = 0
    for stored_run in (function_calls, hosted_call):
        for mutant in mutants(stored_run, MUTANTS):
            options = {"journal": journal} if is_durable else {}
            options |= {"provider_max_retries": 0, "memory_ingest_timeout_ms": 0}
            bighub = ScriptedBighub(REVIEW)
            with BighubOpenAI(openai_client=Silent(), bighub=bighub, **options) as other:
                other.tool("refund", pay)
                try:
                    loaded_state = other.state_from_json(json.dumps(mutant))
                    for item in loaded_state.interruptions:
                        call = next(
                            c for c in loaded_state.run.calls if c.call_id == item["call_id"]
                        )
                        assert (item["tool"], item["arguments"]) == (call.tool, call.arguments)
                        loaded_state.approve(item)
                    other.resume(loaded_state)
                except (InvalidRunState, ProviderResponseError):
                    refusals += 1
    assert refusals > MUTANTS
    assert len(ran) <= 4 or not is_durable


class Silent:
    """A model's service that is down."""

    class responses:  # noqa: N801 - the name of the SDK's attribute
        @staticmethod
        def create(**_: Any) -> Any:
            raise ConnectionError("down")


def hosted_request() -> Json:
    return {
        "type": "mcp_approval_request",
        "server_label": "wiki",
        "name": "close_issue",
        "arguments": '{"number": 7}',
    }


def test_a_run_that_has_ended_cannot_be_resumed(server: ResponsesServer, client_kind: str) -> None:
    with runtime(client_kind, server, PROCEED) as client:
        client.tool("refund", refund)
        with pytest.raises(InvalidRunState, match="has ended"):
            client.resume(client.run().to_state())


def test_only_waiting_calls_can_be_answered_and_only_with_valid_arguments(
    server: ResponsesServer, client_kind: str
) -> None:
    with runtime(client_kind, server, REVIEW) as client:
        client.tool("refund", refund)
        state = client.run().to_state()
    nothing: tuple[Any, ...] = ("elsewhere", {"call_id": "elsewhere"}, [], None)
    for item in nothing:
        with pytest.raises(InvalidRunState, match="is not waiting"):
            state.approve(item)
    with pytest.raises(InvalidCall, match="amount"):
        state.edit(state.interruptions[0], arguments={"order": "1", "amount": "much"})


def test_an_answer_is_for_the_call_that_it_names_though_ids_come_again(
    server: ResponsesServer, client_kind: str
) -> None:
    paid: list[str] = []

    def pay(order: str, amount: float) -> str:
        paid.append(order)
        return f"paid {order}"

    with runtime(client_kind, server, {**REVIEW, "request_id": "always the same"}) as client:
        client.tool("refund", pay)
        state = client.run().to_state()
        first, second = state.interruptions
        with pytest.raises(InvalidRunState, match="names 2 calls"):
            state.approve("always the same")
        other_turn = {**second, "request_id": "req of an earlier turn"}
        with pytest.raises(InvalidRunState, match="is not waiting"):
            state.approve(other_turn)
        state.reject(first)
        state.approve(second)
        client.resume(state)
    assert paid == ["2"]


def test_an_edited_call_runs_with_the_new_arguments_in_another_client(
    server: ResponsesServer, client_kind: str, journal: str
) -> None:
    with runtime(client_kind, server, REVIEW, journal=journal) as client:
        client.tool("refund", refund)
        state = client.run().to_state()
        first, second = state.interruptions
        state.edit(first, arguments={"order": "7", "amount": 1}, approver="ann")
        state.reject(second)
        blob = state.to_json()
    with runtime(client_kind, server, REVIEW, journal=journal) as client:
        client.tool("refund", refund)
        for _ in range(2):
            answer = client.resume(client.client.state_from_json(blob))
        assert len(client.bighub.evaluations) == 1
    outputs = [event["output"] for event in answer["execution"]["events"] if event["output"]]
    assert outputs == ["refunded 7"]


def _begin_and_die(url: str, journal: str, blob: str, start: Any) -> None:
    import os

    import openai

    from bighub_langgraph import BighubOpenAI
    from tests.openai_bighub import ScriptedBighub

    def die(order: str, amount: float) -> str:
        start.set()
        os._exit(9)

    client = openai.OpenAI(api_key="key", base_url=url)
    runtime = BighubOpenAI(openai_client=client, bighub=ScriptedBighub(), journal=journal)
    runtime.tool("refund", die)
    state = runtime.state_from_json(blob)
    state.approve(state.interruptions[0])
    runtime.resume(state)


def test_a_call_whose_process_died_waits_for_a_person_and_is_not_run_again(
    server: ResponsesServer, journal: str
) -> None:
    with runtime("blocking", server, REVIEW, journal=journal) as client:
        client.tool("refund", refund)
        blob = store_run(client)
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Event()
    process = spawn.Process(target=_begin_and_die, args=(server.url, journal, blob, start))
    process.start()
    process.join()
    assert start.is_set()
    with runtime("blocking", server, REVIEW, journal=journal) as client:
        client.tool("refund", refund)
        state = client.client.state_from_json(blob)
        approve_all(state)
        answer = client.resume(state)
        [interruption] = answer.interruptions
        assert (answer.status, interruption["status"], interruption["outcome_unknown"]) == (
            "interrupted",
            "tool_error",
            True,
        )
        state = answer.to_state()
        state.reject(interruption, rejection_message="it never reached the bank")
        assert client.resume(state).status == "completed"


@pytest.mark.parametrize("first", ["its request id", "its state"])
def test_a_call_resumed_by_state_and_by_request_id_at_once_runs_once(
    server: ResponsesServer, client_kind: str, journal: str, first: str
) -> None:
    ran: list[str] = []

    def once(order: str, amount: float) -> str:
        ran.append(order)
        return f"refunded {order}"

    with runtime(client_kind, server, REVIEW, journal=journal) as client:
        client.tool("refund", once)
        blob = store_run(client, approve_all)
    with runtime(client_kind, server, REVIEW, journal=journal) as client:
        client.tool("refund", once)
        ways: list[Callable[[], str]] = [
            lambda: client.resume_after_approval(
                "refund", {"order": "1", "amount": 5}, request_id_of(blob)
            )["tool_output"],
            lambda: client.resume(client.client.state_from_json(blob))["output_text"],
        ]
        results = [way() for way in (ways if first == "its request id" else ways[::-1])]
    assert sorted(ran) == ["1", "2"]
    assert sorted(results) == ["All refunded.", "refunded 1"]


def test_a_call_resumed_by_its_request_id_is_not_run_by_its_state(
    server: ResponsesServer, client_kind: str
) -> None:
    ran: list[str] = []

    def once(order: str, amount: float) -> str:
        ran.append(order)
        return f"refunded {order}"

    with runtime(client_kind, server, REVIEW) as client:
        client.tool("refund", once)
        blob = store_run(client, approve_all)
    with runtime(client_kind, server, REVIEW) as client:  # its journal knows nothing of the run
        client.tool("refund", once)
        request_id = request_id_of(blob)
        client.resume_after_approval("refund", {"order": "1", "amount": 5}, request_id)
        with pytest.raises(InvalidRunState, match=f"was answered by its request id {request_id}"):
            client.resume(client.client.state_from_json(blob))
    assert ran == ["1"]


def test_a_result_can_be_pickled_answered_and_resumed(
    server: ResponsesServer, client_kind: str
) -> None:
    with runtime(client_kind, server, REVIEW, signing_key="key") as client:
        client.tool("refund", refund)
        key = {"extra_headers": {"x-key": "secret-1"}}
        result = client.run(extra_create_args=key)
        blob = pickle.dumps(result)
        again = pickle.loads(blob)
        assert b"secret-1" not in blob
        assert (again, again.status, again.interruptions, again.usage) == (
            result,
            "interrupted",
            result.interruptions,
            result.usage,
        )
        assert copy.deepcopy(result).to_state().interruptions == again.interruptions
        assert client.resume(again.to_state()).status == "interrupted"
        state = client.client.state_from_json(again.to_state())
        approve_all(state)
        assert client.resume(state).status == "completed"


def test_an_error_of_a_run_can_be_pickled_and_resumed(client_kind: str) -> None:
    with ResponsesServer() as server, runtime(client_kind, server) as client:
        server.script(calls(("refund", {"order": "1", "amount": 5})), fails(400), says("Done."))
        client.tool("refund", refund)
        with pytest.raises(ProviderResponseError) as error_info:
            client.run()
        again = pickle.loads(pickle.dumps(error_info.value))
        assert type(again) is ProviderResponseError
        assert (str(again), again.events) == (str(error_info.value), error_info.value.events)
        assert client.resume(again.state)["output_text"] == "Done."


def all_subclasses(kind: type) -> set[type]:
    return {kind}.union(*map(all_subclasses, kind.__subclasses__()))


ERRORS = sorted(all_subclasses(BighubGuardError), key=lambda kind: kind.__qualname__)


@pytest.mark.parametrize("kind", [kind for kind in ERRORS if not kind.__module__.startswith("tes")])
def test_every_exception_can_be_pickled(kind: Any) -> None:
    arguments = inspect.signature(kind.__init__).parameters.values()
    required = [
        item for item in arguments if item.default is item.empty and "VAR" not in item.kind.name
    ]
    error = kind(*["text"] * max(1, len(required) - 1))
    error.note = {"more": 1}
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (kind, str(error), vars(error))
