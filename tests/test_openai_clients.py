"""Making a client, sharing what is behind it, and closing it."""

import asyncio
import inspect
import subprocess
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from bighub import BighubClient

from bighub_langgraph import (
    AdapterConfigurationError,
    AsyncBighubOpenAI,
    AsyncGuardedOpenAI,
    BighubGuard,
    BighubOpenAI,
    GuardedOpenAI,
    Journal,
    LocalBighub,
    ToolPolicy,
)
from bighub_langgraph.openai.function_schema import SchemaWarning
from tests.openai_answers import calls, says
from tests.openai_bighub import PROCEED, REVIEW, AsyncScriptedBighub, ScriptedBighub
from tests.openai_runtime import CLIENT_KINDS, runtime
from tests.openai_server import ResponsesServer

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "BIGHUB_API_KEY", "BIGHUB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def look(place: str) -> str:
    return f"seen {place}"


def look_up() -> Any:
    return calls(("look", {"place": "here"}))


CLIENT = SimpleNamespace(responses=SimpleNamespace(create=lambda **_: None))


def test_importing_the_client_loads_no_framework() -> None:
    code = (
        "import sys; from bighub_langgraph import BighubOpenAI, AsyncBighubOpenAI; "
        "heavy = ('openai', 'langgraph', 'langchain', 'langchain_core'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", [BighubOpenAI, AsyncBighubOpenAI])
def test_signature_and_help_show_every_option(kind: Any) -> None:
    options = inspect.signature(kind).parameters
    assert {"bighub_api_key", "actor", "openai_client", "fail_mode", "signing_key"} <= set(options)
    documentation = inspect.getdoc(kind.__init__) or ""
    assert [name for name in options if f"\n    {name}: " not in documentation] == []


def test_the_published_names_are_the_same_classes() -> None:
    assert GuardedOpenAI is BighubOpenAI
    assert AsyncGuardedOpenAI is AsyncBighubOpenAI


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no BIGHUB is configured"),
        ({"bighub": "local", "openai_client": None}, "no model is configured"),
        ({"bighub": "local", "openai_client": object()}, "no responses.create"),
        ({"bighub": "local", "bighub_client": ScriptedBighub()}, "not both"),
        ({"bighub": object()}, "cannot evaluate calls"),
        (
            {"bighub": "local", "fail_mode": "ajar"},
            "fail_mode is one of 'closed', 'review', 'open'",
        ),
        ({"bighub": "local", "decision_mode": "guess"}, "decision_mode is one of"),
        ({"bighub": "local", "max_tool_rounds": 0}, "max_tool_rounds is a number from 1"),
        ({"bighub": "local", "provider_max_retries": True}, "provider_max_retries"),
        ({"bighub": "local", "signing_key": ""}, "signing_key"),
        (
            {"bighub": "local", "outcome_reporting": False, "outcome_reporting_required": True},
            "needs outcome_reporting",
        ),
        ({"bighub": "local", "on_decision": "print"}, "on_decision is a function"),
        ({"guard": BighubGuard(bighub=ScriptedBighub()), "journal": "sqlite://"}, "only the guard"),
    ],
)
@pytest.mark.parametrize("kind", [BighubOpenAI, AsyncBighubOpenAI])
def test_invalid_options_are_refused_at_construction(
    kind: Any, options: Json, message: str
) -> None:
    with pytest.raises(AdapterConfigurationError, match=message):
        kind(**{"openai_client": CLIENT, **options})


@pytest.mark.parametrize(
    ("kind", "client"), [(BighubOpenAI, openai.AsyncOpenAI), (AsyncBighubOpenAI, openai.OpenAI)]
)
def test_a_client_of_the_other_kind_is_refused(kind: Any, client: Any) -> None:
    with pytest.raises(AdapterConfigurationError, match="pass it to"):
        kind(openai_client=client(api_key="key"), bighub="local")


def generate(place: str) -> Iterator[str]:
    yield place


class Generator:
    def __call__(self, place: str) -> Iterator[str]:
        yield place


async def agenerate(place: str) -> AsyncIterator[str]:
    yield place


@pytest.mark.parametrize(
    ("name", "fn", "options", "message"),
    [
        ("two words", look, {}, "letters, digits"),
        ("look", "look", {}, "callable"),
        ("look", look, {"decision_mode": "guess"}, "decision_mode"),
        ("look", look, {"unheard": 1}, "unheard"),
        ("look", look, {"parameters_schema": {"type": "string"}}, "type 'object'"),
        ("look", generate, {}, "generator"),
        ("look", agenerate, {}, "generator"),
        ("look", Generator(), {}, "generator"),
        ("look", partial(Generator(), "here"), {}, "generator"),
    ],
)
def test_a_tool_that_cannot_work_is_refused_at_registration(
    name: str, fn: Any, options: Json, message: str
) -> None:
    client = BighubOpenAI(openai_client=CLIENT, bighub=ScriptedBighub())
    with pytest.raises(AdapterConfigurationError, match=message):
        client.tool(name, fn, **options)


def test_a_warning_points_at_the_registration() -> None:
    client = BighubOpenAI(openai_client=CLIENT, bighub=ScriptedBighub())
    with pytest.warns(SchemaWarning, match="parameter 'place'") as warning_list:
        client.tool("look", lambda place: place)
    assert warning_list[0].filename == __file__


def test_an_action_tells_bighub_its_facts(server: ResponsesServer) -> None:
    server.script(calls(("reset", {"user": "ann"})))
    with runtime("blocking", server) as client:
        own_client: BighubOpenAI = client.client

        @own_client.action(system="okta", risk="high", environment="production")
        def reset(user: str) -> str:
            """Reset a password."""
            return "reset"

        client.run()
        [request] = client.bighub.evaluations
    assert request["domain"] == "okta"
    facts = {"system": "okta", "risk": "high", "environment": "production"}
    assert facts.items() <= request["context"].items()
    assert client.client.list_tools()[0]["function"]["description"] == "Reset a password."


def test_tools_are_listed_in_the_shape_of_chat_completions() -> None:
    client = BighubOpenAI(openai_client=CLIENT, bighub=ScriptedBighub())
    client.tool("look", look)
    [definition] = client.list_tools()
    assert definition["type"] == "function"
    assert definition["function"]["name"] == "look"
    assert definition["function"]["strict"] is True
    assert definition["function"]["parameters"]["required"] == ["place"]


@pytest.mark.parametrize("client_kind", CLIENT_KINDS)
def test_a_guard_is_shared_with_its_policies_and_its_hook(
    server: ResponsesServer, client_kind: str
) -> None:
    bighub, requests = ScriptedBighub(), list[Json]()
    policy = ToolPolicy(always_review=True)
    guard = BighubGuard(
        bighub=bighub, tools={"look": policy}, on_decision=requests.append, actor="bot"
    )
    server.script(look_up())
    with runtime(client_kind, server, guard=guard, bighub=None) as client:
        client.tool("look", look)
        assert client.run().status == "interrupted"
        assert client.client.actor == "bot"
    assert [event["tool"] for event in requests] == ["look"]
    assert not bighub.closed
    guard.close()


@pytest.mark.parametrize("client_kind", CLIENT_KINDS)
def test_close_leaves_the_users_clients_open(server: ResponsesServer, client_kind: str) -> None:
    with runtime(client_kind, server) as client:
        client.tool("look", look)
        client.run()
    assert not client.bighub.closed


@pytest.mark.parametrize("client_kind", CLIENT_KINDS)
@pytest.mark.parametrize("bighub", ["local", None])
def test_either_client_takes_the_embedded_engine(
    server: ResponsesServer, client_kind: str, bighub: str | None
) -> None:
    server.script(look_up())
    engine = bighub or LocalBighub()
    with runtime(client_kind, server, bighub=engine) as client:
        client.tool("look", look)
        answer = client.run_with_approval(lambda _: {"resolution": "approved"})
    assert answer["execution"]["last"]["status"] == "executed"
    assert answer["execution"]["last"]["decision"]["recommendation"]


async def test_a_blocking_bighub_serves_an_async_client(server: ResponsesServer) -> None:
    bighub = ScriptedBighub()
    server.script(look_up())
    model = openai.AsyncOpenAI(api_key="key", base_url=server.url)
    async with AsyncBighubOpenAI(openai_client=model, bighub=bighub) as client:
        client.tool("look", look)
        await client.run(messages="Go.", model="gpt-5")
    assert [outcome["status"] for outcome in bighub.reports] == ["SUCCESS"]
    await model.close()


def test_an_async_bighub_serves_a_blocking_client(server: ResponsesServer) -> None:
    bighub = AsyncScriptedBighub()
    server.script(look_up())
    with (
        openai.OpenAI(api_key="key", base_url=server.url) as model,
        BighubOpenAI(openai_client=model, bighub=bighub) as client,
    ):
        client.tool("look", look)
        client.run(messages="Go.", model="gpt-5")
    assert [outcome["status"] for outcome in bighub.reports] == ["SUCCESS"]


async def test_a_blocking_client_works_inside_a_running_loop(server: ResponsesServer) -> None:
    server.script(look_up())
    with runtime("blocking", server) as client:
        client.tool("look", look)
        assert client.run()["execution"]["last"]["status"] == "executed"
        assert client.stream()[-1]["type"] == "final_response"


@pytest.mark.parametrize("client_kind", CLIENT_KINDS)
def test_a_run_does_not_wait_for_a_slow_report(server: ResponsesServer, client_kind: str) -> None:
    let_go = threading.Event()
    server.script(look_up())
    with runtime(
        client_kind, server, memory_ingest_timeout_ms=0, bighub=(slow := Slow(let_go))
    ) as client:
        client.tool("look", look)
        assert client.run().status == "completed"
        assert slow.reports == []
        let_go.set()
    assert [outcome["status"] for outcome in slow.reports] == ["SUCCESS"]


class Slow(ScriptedBighub):
    """A BIGHUB whose reports hang until they are let go."""

    def __init__(self, let_go: threading.Event) -> None:
        super().__init__()
        self._let_go = let_go
        self.outcomes = SimpleNamespace(report=self._slowly)

    def _slowly(self, **outcome: Any) -> Json:
        self._let_go.wait(20)
        return self._report(**outcome)


@pytest.mark.parametrize("client_kind", CLIENT_KINDS)
def test_outcomes_and_memory_can_be_turned_off(server: ResponsesServer, client_kind: str) -> None:
    server.script(look_up())
    with runtime(client_kind, server, outcome_reporting=False, memory_enabled=False) as client:
        client.tool("look", look)
        client.run()
    assert (client.bighub.reports, client.bighub.memories) == ([], [])


async def test_a_cancelled_run_finishes_its_tool_and_reports_its_outcome(
    server: ResponsesServer, tmp_path: Any
) -> None:
    start, let_go = threading.Event(), threading.Event()

    def slow(place: str) -> str:
        start.set()
        let_go.wait(20)
        return "seen"

    server.script(calls(("slow", {"place": "here"})))
    journal = Journal(f"sqlite:///{tmp_path}/calls.db")
    bighub = ScriptedBighub()
    model = openai.AsyncOpenAI(api_key="key", base_url=server.url)
    client = AsyncBighubOpenAI(openai_client=model, bighub=bighub, journal=journal)
    client.tool("slow", slow)
    run = asyncio.ensure_future(client.run(messages="Go.", model="gpt-5"))
    await asyncio.to_thread(start.wait, 20)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    let_go.set()
    while not journal.pending_count():  # noqa: ASYNC110 - a thread settles it, in a database
        await asyncio.sleep(0.01)
    await client.close()
    assert [outcome["status"] for outcome in bighub.reports] == ["SUCCESS"]
    journal.close()
    await model.close()


def test_runs_in_several_threads_do_not_mix(server: ResponsesServer) -> None:
    server.otherwise = lambda body: (
        look_up() if len(body["input"]) == 1 else says(body["input"][0]["content"])
    )
    answers: dict[str, str] = {}
    with runtime("blocking", server) as client:
        client.tool("look", look)

        def run(name: str) -> None:
            answers[name] = client.run(name)["output_text"]

        threads = [threading.Thread(target=run, args=(f"run {n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {f"run {n}": f"run {n}" for n in range(8)}


@pytest.mark.parametrize("reply", [PROCEED, REVIEW])
def test_a_reply_of_the_submit_payload_mode_is_the_same(
    server: ResponsesServer, reply: Json
) -> None:
    with runtime("blocking", server, reply, decision_mode="submit_payload") as client:
        client.tool("look", look)
        decision = client.client.check_tool("look", {"place": "here"})
    assert reply.items() <= decision.items()


def test_a_client_with_a_decisions_resource_is_asked_for_the_raw_decision(
    server: ResponsesServer,
) -> None:
    bighub = ScriptedBighub()
    bighub.decisions = SimpleNamespace(evaluate=bighub._evaluate)  # type: ignore[attr-defined]  # newer SDKs
    with runtime("blocking", server, bighub=bighub) as client:
        client.tool("look", look)
        client.client.check_tool("look", {"place": "here"})
    [request] = bighub.evaluations
    assert request["raw"] is True
    assert request["context"]["objective"] == "better_decision"
    assert request["context"]["model_selection"] == "auto"


@dataclass
class KeyHolder:
    """A client whose `repr` shows its key, as those of BIGHUB's SDK do."""

    api_key: str = "bh-secret-key"


def test_nothing_that_can_be_printed_shows_a_key() -> None:
    with BighubGuard(bighub=BighubClient(api_key="bh-secret-key")) as guard:
        texts = [repr(part) for part in (guard, guard.runtime, guard.runtime.clients)]
    keys: Json = {"bighub_api_key": "bh-secret-key", "signing_key": "bh-secret-key"}
    with BighubOpenAI(openai_api_key="bh-secret-key", **keys) as client:
        texts += [repr(client), repr(vars(client)["_runtime"])]
    others: list[Json] = [
        {"openai_client": KeyHolder()},
        {"bighub": KeyHolder(), "openai_api_key": "key"},
    ]
    for options in others:
        with pytest.raises(AdapterConfigurationError) as error_info:
            BighubOpenAI(**{"bighub": "local", **options})
        texts.append(str(error_info.value))
    assert not any("bh-secret-key" in text for text in texts)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://u:hunter2-pw@127.0.0.1:1/db",
        "postgresql://u:hunter2-pw@127.0.0.1:no-port/db",
        "postgresql+psycopg://h/db?host=127.0.0.1&port=1&password=hunter2-pw",
        "mysql://u:hunter2-pw@h/db",
        "ftp://u:hunter2-pw@h/",
        "http://u:hunter2-pw@example.com/",
    ],
)
@pytest.mark.parametrize("place", ["bighub", "journal"])
def test_passwords_in_urls_are_masked_wherever_they_are_refused(place: str, url: str) -> None:
    options: Json = {"bighub": "local", place: url}
    with pytest.raises(Exception) as error_info:  # noqa: PT011 - of our classes, and of the engine's
        BighubGuard(**options)
    lines = traceback.format_exception(error_info.value)
    assert not any("hunter2-pw" in line for line in lines)
