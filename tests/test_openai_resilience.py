"""Retries, the circuit breaker, and clients of every kind."""

import json
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, Mock

import openai
import pytest
from openai.types.responses.parsed_response import (
    ParsedResponseFunctionToolCall,
    ParsedResponseOutputMessage,
    ParsedResponseOutputText,
)

from bighub_langgraph.circuit_breaker import CircuitBreaker
from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.openai.client import BighubOpenAI
from bighub_langgraph.openai.errors import (
    AdapterConfigurationError,
    CircuitOpenError,
    ProviderResponseError,
)
from bighub_langgraph.openai.resilience import (
    RetryPolicy,
    ServiceBreaker,
    delays,
    is_transient,
    parse_retry_after,
    retry_transient,
)
from tests.openai_answers import calls, fails, says
from tests.openai_bighub import ScriptedBighub
from tests.openai_server import ResponsesServer


class Http(Exception):
    """An error with a status, as every SDK has them."""

    def __init__(self, status: int, **headers: str) -> None:
        self.status_code = status
        self.response = SimpleNamespace(
            headers={k.replace("_", "-"): v for k, v in headers.items()}
        )


def breaker(now: list[float], failures: int = 2) -> CircuitBreaker:
    return ServiceBreaker(failures, 10, clock=lambda: now[0])


def attempt(breaker: CircuitBreaker, error: BaseException | None = None) -> None:
    with breaker:
        if error is not None:
            raise error


def fail_within(breaker: CircuitBreaker, error: BaseException) -> None:
    with pytest.raises(type(error)):
        attempt(breaker, error)


def test_the_circuit_opens_after_so_many_faults_in_a_row() -> None:
    circuit = breaker([0.0])
    fail_within(circuit, Http(503))
    attempt(circuit)
    fail_within(circuit, Http(503))
    fail_within(circuit, ConnectionError())
    with pytest.raises(CircuitOpenError, match="no request is sent"):
        attempt(circuit)


def test_the_callers_own_mistakes_do_not_open_it() -> None:
    circuit = breaker([0.0], failures=1)
    for status in (400, 401, 404, 422):
        fail_within(circuit, Http(status))
    fail_within(circuit, ValueError("mine"))
    attempt(circuit)


def test_half_open_lets_one_probe_through() -> None:
    now = [0.0]
    circuit = breaker(now, failures=1)
    fail_within(circuit, Http(429))
    now[0] = 10.0
    with circuit, pytest.raises(CircuitOpenError):
        attempt(circuit)
    attempt(circuit)


def test_a_probe_that_fails_opens_it_again() -> None:
    now = [0.0]
    circuit = breaker(now)
    fail_within(circuit, Http(500))
    fail_within(circuit, Http(500))
    now[0] = 10.0
    fail_within(circuit, Http(500))
    now[0] = 19.0
    with pytest.raises(CircuitOpenError):
        attempt(circuit)


def test_an_interrupted_probe_does_not_count() -> None:
    now = [0.0]
    circuit = breaker(now, failures=1)
    fail_within(circuit, Http(500))
    now[0] = 10.0
    fail_within(circuit, KeyboardInterrupt())
    attempt(circuit)


def test_a_breaker_of_no_failures_never_opens() -> None:
    circuit = breaker([0.0], failures=0)
    for _ in range(20):
        fail_within(circuit, Http(500))
    attempt(circuit)


def test_threads_share_one_count() -> None:
    circuit, together = breaker([0.0], failures=8), threading.Barrier(8)

    def fail() -> None:
        together.wait()
        fail_within(circuit, Http(500))

    threads = [threading.Thread(target=fail) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(CircuitOpenError):
        attempt(circuit)


def test_waits_double_up_to_the_longest() -> None:
    policy = RetryPolicy(attempts=5, first_delay=0.5, max_delay=2.0, jitter=0.1)
    assert list(delays(policy, random_number=lambda: 1.0)) == [0.6, 1.1, 2.1, 2.1]


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (Http(429), True),
        (Http(408), True),
        (Http(503), True),
        (ConnectionError(), True),
        (TimeoutError(), True),
        (Http(400), False),
        (ValueError(), False),
    ],
)
def test_only_transient_errors_are_retried(error: Exception, transient: bool) -> None:
    assert is_transient(error) is transient


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after_ms": "250"}, 0.25),
        ({"retry_after": "9999"}, 60.0),
        ({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry_after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_each_of_its_forms(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert parse_retry_after(Http(429, **headers)) == seconds


def test_a_client_without_retries_is_retried_as_it_asks() -> None:
    waits: list[float] = []
    answers: Iterator[Exception | str] = iter([Http(429, retry_after="3"), Http(503), "done"])

    async def ask() -> str:
        if isinstance(answer := next(answers), Exception):
            raise answer
        return answer

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    assert run_sync(retry_transient(ask, RetryPolicy(first_delay=0.5, jitter=0), sleep)) == "done"
    assert waits == [3.0, 1.0]


def runtime(client: Any, **options: Any) -> BighubOpenAI:
    guarded_client = BighubOpenAI(openai_client=client, bighub=ScriptedBighub(), **options)
    guarded_client.tool("pay", lambda: None, parameters_schema={"type": "object"}, strict=False)
    return guarded_client


def openai_client(server: ResponsesServer, **options: Any) -> openai.OpenAI:
    """A client of the user's own."""
    return openai.OpenAI(api_key="key", base_url=server.url, **options)


def test_there_is_one_layer_of_retries() -> None:
    with ResponsesServer() as server, openai_client(server, max_retries=5) as client:
        server.script(*[fails(503, retry_after="0")] * 9)
        with pytest.raises(ProviderResponseError) as error_info:
            runtime(client, provider_max_retries=2).run(messages="hello", model="gpt-5")
        assert len(server.requests) == 3
    assert isinstance(error_info.value.__cause__, openai.InternalServerError)


def test_a_fault_that_passes_is_not_seen() -> None:
    with ResponsesServer() as server, openai_client(server) as client:
        server.script(fails(429, retry_after="0"), says("Here I am."))
        answer = runtime(client).run(messages="hello", model="gpt-5")
    assert answer["output_text"] == "Here I am."


def test_an_open_circuit_sends_no_request() -> None:
    with ResponsesServer() as server, openai_client(server) as client:
        server.script(fails(500), says("never heard"))
        guarded_client = runtime(
            client, provider_max_retries=0, provider_circuit_breaker_failures=1
        )
        for error in (ProviderResponseError, CircuitOpenError):
            with pytest.raises(error):
                guarded_client.run(messages="hello", model="gpt-5")
        assert len(server.requests) == 1


def test_the_users_client_stays_open() -> None:
    with ResponsesServer() as server, openai_client(server) as client:
        runtime(client).close()
        assert not client.is_closed()


class Bare:
    """A client with nothing but `responses.create`."""

    def __init__(self, *answers: Any) -> None:
        self.responses = self
        self.answers = list(answers)
        self.requests: list[dict[str, Any]] = []

    def create(self, *, model: str, input: Any, tools: Any, store: bool, include: Any = ()) -> Any:  # noqa: A002 - the API's name
        self.requests.append({"model": model, "input": input})
        if isinstance(answer := self.answers.pop(0), Exception):
            raise answer
        return answer


def test_a_bare_client_and_bare_objects_will_do() -> None:
    message = {"type": "message", "content": [{"type": "output_text", "text": "Hello."}]}
    client = Bare(ConnectionError(), SimpleNamespace(output=[message]))
    answer = runtime(client, provider_retry_backoff_seconds=0, provider_retry_jitter_seconds=0).run(
        messages="hello", model="any"
    )
    assert (answer.status, answer["output_text"], answer["response_id"]) == (
        "completed",
        "Hello.",
        None,
    )
    assert len(client.requests) == 2


@pytest.mark.parametrize("kind", [Mock, MagicMock])
def test_what_a_mock_makes_up_is_no_part_of_an_answer(kind: type[Mock]) -> None:
    call = kind(type="function_call", call_id="c", arguments="{}")
    call.name = "count"
    client = Bare(kind(id="r1", output=[call]), kind(id="r2", output=[], output_text="Done."))
    guarded_client = runtime(client)
    guarded_client.tool("count", lambda: 3, description="Count.")
    answer = guarded_client.run(messages="count", model="any")
    assert (answer.status, answer["output_text"]) == ("completed", "Done.")
    assert answer["execution"]["last"]["output"] == 3


def test_a_mock_of_bighub_is_used_like_a_client_with_the_methods_it_was_given() -> None:
    bighub = MagicMock()
    bighub.decisions.evaluate.return_value = {"recommendation": "proceed", "request_id": "req_1"}
    calls = [
        SimpleNamespace(type="function_call", call_id=str(number), name="pay", arguments="{}")
        for number in range(3)
    ]
    answers = (SimpleNamespace(output=calls), SimpleNamespace(output=[], output_text="Done."))
    with BighubOpenAI(openai_client=Bare(*answers), bighub_client=bighub) as guarded_client:
        guarded_client.tool("pay", lambda: None, description="Pay.")
        answer = guarded_client.run(messages="pay three times", model="any")
    assert [event["status"] for event in answer["execution"]["events"]] == ["executed"] * 3
    assert bighub.decisions.evaluate.call_count == bighub.outcomes.report.call_count == 3


def test_fields_that_the_sdk_adds_to_a_parsed_answer_are_not_sent_back() -> None:
    call: Any = ParsedResponseFunctionToolCall(
        type="function_call", call_id="c", name="count", arguments="{}", parsed_arguments={"a": 1}
    )
    text: Any = ParsedResponseOutputText(
        type="output_text", text="Counting.", annotations=[], parsed={"b": 2}
    )
    message: Any = ParsedResponseOutputMessage(
        type="message", id="m", role="assistant", status="completed", content=[text]
    )
    client = Bare({"id": "r", "output": [message, call]}, {"output": [], "output_text": "Done."})
    guarded_client = runtime(client)
    guarded_client.tool("count", lambda: 1, parameters_schema={"type": "object"}, strict=False)
    assert guarded_client.run(messages="hello", model="any")["output_text"] == "Done."
    items = json.dumps(client.requests[1]["input"])
    assert "Counting." in items
    assert "parsed" not in items


def test_a_client_that_does_not_stream_gives_one_delta() -> None:
    client = Bare({"id": "r", "output": [], "output_text": "Hello."})
    events = list(runtime(client).run_stream(messages="hello", model="any"))
    assert [event["type"] for event in events] == ["llm_delta", "response_done", "final_response"]


@pytest.mark.parametrize("answer", [None, "<html>Bad gateway</html>", {"error": "no"}])
def test_an_answer_that_is_no_response_is_an_error(answer: Any) -> None:
    with pytest.raises(ProviderResponseError, match="not a response"):
        runtime(Bare(answer)).run(messages="hello", model="any")


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("ids", [["a", "a", "a"], ["a", "b", "a"], [None, None, None], [1, 2, 1]])
def test_a_server_whose_ids_come_again_has_every_call_run(ids: list[Any], asks: bool) -> None:
    call = {"type": "function_call", "call_id": "call", "name": "count", "arguments": "{}"}
    answers: list[Any] = [{"id": response_id, "output": [call]} for response_id in ids]
    ran: list[int] = []
    guarded_client = runtime(Bare(*answers, {"id": ids[0], "output": [], "output_text": "Done."}))
    schema = {"type": "object"}
    guarded_client.tool(
        "count",
        lambda: ran.append(1),
        parameters_schema=schema,
        strict=False,
        always_review=asks,
    )
    result = guarded_client.run(messages="hello", model="any")
    while result.status == "interrupted":
        state = guarded_client.state_from_json(result.to_state().to_json())
        state.approve("call")
        result = guarded_client.resume(state)
    assert result["output_text"] == "Done."
    assert len(ran) == 3


def test_without_messages_or_state_there_is_nothing_to_stream() -> None:
    with pytest.raises(AdapterConfigurationError, match="messages="):
        runtime(Bare()).run_stream(model="any")


def test_the_users_client_keeps_its_retries() -> None:
    with ResponsesServer() as server, openai_client(server, max_retries=4) as client:
        server.script(*[fails(503, retry_after_ms="1")] * 9)
        with pytest.raises(ProviderResponseError):
            runtime(client).run(messages="hello", model="gpt-5")
        assert len(server.requests) == 5


@pytest.mark.parametrize(
    ("options", "extra", "timeout"),
    [
        ({}, {}, 77.0),
        ({"provider_timeout_seconds": 5}, {}, 5),
        ({"provider_timeout_seconds": 5}, {"timeout": 9}, 9),
        ({"provider_max_retries": 1}, {}, 77.0),
    ],
)
def test_the_users_client_keeps_its_timeout_unless_another_is_set(
    options: dict[str, Any], extra: dict[str, Any], timeout: float
) -> None:
    timeouts: list[float | None] = []
    hooks = {"request": [lambda sent: timeouts.append(sent.extensions["timeout"]["read"])]}
    own = openai.DefaultHttpxClient(event_hooks=hooks)
    with (
        ResponsesServer() as server,
        openai_client(server, timeout=77.0, http_client=own) as client,
    ):
        guarded_client = runtime(client, **options)
        guarded_client.run(messages="hello", model="gpt-5", extra_create_args=extra)
        list(guarded_client.run_stream(messages="hello", model="gpt-5", extra_create_args=extra))
    assert timeouts == [timeout, timeout]


@pytest.mark.parametrize(
    "options",
    [{}, {"provider_timeout_seconds": 9}, {"provider_max_retries": 3}],
    ids=repr,
)
def test_tracing_patched_onto_the_users_client_sees_every_request(options: dict[str, Any]) -> None:
    texts: list[str] = []
    with ResponsesServer() as server, openai_client(server, max_retries=3) as client:
        server.script(calls(("pay", {})), says("Done."), says("Done."))
        create = client.responses.create

        def create_traced(*args: Any, **request: Any) -> Any:
            texts.append(request["model"])
            return create(*args, **request)

        client.responses.create = create_traced  # type: ignore[method-assign]
        guarded_client = runtime(client, **options)
        guarded_client.run(messages="hello", model="gpt-5")
        list(guarded_client.run_stream(messages="hello", model="gpt-5"))
    assert texts == ["gpt-5"] * 3


def test_a_client_that_we_open_has_stated_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    with ResponsesServer() as server:
        server.script(*[fails(503, retry_after_ms="1")] * 9)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with (
            runtime(None, openai_api_key="key") as guarded_client,
            pytest.raises(ProviderResponseError),
        ):
            guarded_client.run(messages="hello", model="gpt-5")
        assert len(server.requests) == 3
