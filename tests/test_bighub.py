"""The real SDK over HTTP on loopback, and other clients: their responses become decisions."""

import threading
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from bighub import AsyncBighubClient, BighubClient

from bighub_langgraph import BighubGuard, LocalBighub, ToolPolicy
from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.evaluation import evaluate_calls
from bighub_langgraph.core.models import Decision, State, ToolCall
from tests.calls import reply
from tests.engines import Answer, AsyncScriptedBighub, ScriptedBighub, service

ARGUMENTS = {"order_id": "o1", "amount": 40, "password": "hunter2"}


def evaluate(url: str, client_kind: str, *, timeout: float = 5.0, **options: Any) -> Decision:
    """Evaluate a refund with a blocking or an async client of the SDK, without an event loop."""
    settings: dict[str, Any] = {"base_url": url, "timeout": timeout, "max_retries": 0}
    client = (
        BighubClient(**settings) if client_kind == "blocking" else AsyncBighubClient(**settings)
    )
    with BighubGuard(bighub=client, **options) as guard:
        return guard.evaluate("refund", ARGUMENTS)


def test_the_sdk_gets_an_idempotency_key_and_no_secrets(client_kind: str) -> None:
    with service(Answer()) as bighub:
        decision = evaluate(bighub.url, client_kind, actor="bot", domain="payments")
    [(path, headers, body)] = bighub.requests
    assert decision.request_id == "req-1"
    assert path == "/actions/evaluate"
    assert len(headers["idempotency-key"]) == 32
    assert (body["action"], body["value"], body["actor"]) == ("refund", 40, "bot")
    assert body["domain"] == "payments"
    assert body["context"]["arguments"]["password"] == "[redacted]"


def test_every_evaluation_has_a_key_of_its_own() -> None:
    with service(Answer()) as bighub:
        for _ in range(3):
            evaluate(bighub.url, "blocking")
    assert len({headers["idempotency-key"] for _, headers, _ in bighub.requests}) == 3


UNPARSABLE = [
    Answer(body="<html>busy</html>", kind="text/html"),
    Answer(body="{", kind="application/json"),
    Answer(body="[]"),
    Answer(body='"proceed"'),
    Answer(body={"recommendation": "proceed"}),
    Answer(body='{"recommendation": "proceed", "request_id": "r", "risk_score": NaN}'),
]
REFUSED = [Answer(status, {"detail": "no"}) for status in (400, 401, 403, 404, 409, 422)]
UNREACHABLE = [Answer(status, {"detail": "later"}) for status in (408, 429, 500, 502, 503, 504)]


@pytest.mark.parametrize(
    "answer", [*UNPARSABLE, *REFUSED], ids=lambda answer: f"{answer.status}{answer.raw!r}"
)
@pytest.mark.parametrize("fail_mode", ["closed", "open", "review"])
def test_unparsable_responses_and_refusals_block_in_every_mode(
    answer: Answer, fail_mode: str, client_kind: str
) -> None:
    with service(answer) as bighub:
        decision = evaluate(bighub.url, client_kind, fail_mode=fail_mode)
    assert (decision.raw_recommendation, decision.fault) == ("do_not_proceed", "refused")
    assert decision.request_id is None


@pytest.mark.parametrize("answer", UNREACHABLE, ids=lambda answer: str(answer.status))
@pytest.mark.parametrize(
    ("fail_mode", "recommendation"),
    [("closed", "do_not_proceed"), ("open", "proceed"), ("review", "review_recommended")],
)
def test_while_bighub_is_unreachable_the_fail_mode_decides(
    answer: Answer, fail_mode: str, recommendation: str, client_kind: str
) -> None:
    with service(answer) as bighub:
        decision = evaluate(bighub.url, client_kind, fail_mode=fail_mode)
    assert (decision.raw_recommendation, decision.fault) == (recommendation, "unavailable")


def test_a_service_that_is_not_running_is_unreachable(client_kind: str) -> None:
    with service() as bighub:
        url = bighub.url
    assert evaluate(url, client_kind).fault == "unavailable"


def test_a_response_after_the_timeout_is_ignored(client_kind: str) -> None:
    release = threading.Event()
    with service(Answer(hold=release)) as bighub:
        decision = evaluate(bighub.url, client_kind, timeout=0.05)
        release.set()
    assert (decision.raw_recommendation, decision.fault) == ("do_not_proceed", "unavailable")


def test_the_sdks_own_retries_are_the_only_ones() -> None:
    with service(Answer(503, {})) as bighub:
        client = BighubClient(base_url=bighub.url, max_retries=1)
        with BighubGuard(bighub=client, retries=5) as guard:
            guard.evaluate("refund", ARGUMENTS)
        client.close()
    assert len(bighub.requests) == 2
    assert len({headers["idempotency-key"] for _, headers, _ in bighub.requests}) == 1


@pytest.mark.parametrize(("retries", "requests"), [(0, 1), (1, 2)])
def test_an_evaluation_by_another_client_is_tried_again(retries: int, requests: int) -> None:
    client = ScriptedBighub(RuntimeError("down"))
    with BighubGuard(bighub=client, retries=retries) as guard:
        assert guard.evaluate("refund", ARGUMENTS).fault == "unavailable"
    assert len(client.evaluations) == requests


class ErrorWithoutText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_exception_without_a_readable_text_is_a_fault_like_any_other() -> None:
    client = ScriptedBighub(ErrorWithoutText())
    with BighubGuard(bighub=client, retries=0, fail_mode="open") as guard:
        decision = guard.evaluate("refund", ARGUMENTS)
    assert (decision.fault, decision.raw_recommendation) == ("unavailable", "proceed")
    assert "ErrorWithoutText: its text cannot be read" in decision.reason


def test_a_client_with_another_signature_is_a_refusal_and_not_tried_again() -> None:
    client = ScriptedBighub(TypeError("unexpected keyword"))
    with BighubGuard(bighub=client, fail_mode="open") as guard:
        assert guard.evaluate("refund", ARGUMENTS).fault == "refused"
    assert len(client.evaluations) == 1


def test_a_policy_may_submit_one_payload() -> None:
    client = ScriptedBighub()
    policy = ToolPolicy(decision_mode="submit_payload")
    with BighubGuard(bighub=client, tools={"refund": policy}) as guard:
        guard.evaluate("refund", ARGUMENTS)
        guard.evaluate("look_up", {})
    assert [fields.get("as_payload", False) for fields in client.evaluations] == [True, False]


class OlderClient:
    """An older client, whose methods have no parameter for an idempotency key."""

    class actions:  # noqa: N801 - as the SDK names it
        @staticmethod
        def submit(action: str, actor: str, context: dict[str, Any], value: float = 0.0) -> Any:
            return reply("proceed", echo=[action, actor, value, list(context)])


def test_a_client_without_an_idempotency_key_gets_none() -> None:
    with BighubGuard(bighub=OlderClient()) as guard:
        assert guard.evaluate("refund", ARGUMENTS).reply["echo"][0] == "refund"


async def test_every_client_serves_coroutines_too() -> None:
    for client in (
        ScriptedBighub(),
        AsyncScriptedBighub(),
        (ScriptedBighub(), AsyncScriptedBighub()),
    ):
        guard = BighubGuard(bighub=client)
        assert (await guard.aevaluate("refund", ARGUMENTS)).raw_recommendation == "proceed"
        guard.close()


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BIGHUB_API_KEY", "BIGHUB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_environment")
def test_without_any_engine_the_error_names_the_settings() -> None:
    with pytest.raises(ConfigurationError, match=r'BIGHUB_API_KEY.*bighub="local"'):
        BighubGuard()


@pytest.mark.usefixtures("no_environment")
def test_the_environment_names_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    with service(Answer()) as bighub:
        monkeypatch.setenv("BIGHUB_BASE_URL", bighub.url)
        monkeypatch.setenv("BIGHUB_API_KEY", "bh_test")
        with BighubGuard() as guard:
            guard.evaluate("refund", ARGUMENTS)
    assert bighub.requests[0][1]["x-api-key"] == "bh_test"


@pytest.mark.parametrize(
    "wrong", ["locale", "ftp://x", "http://example.org", object(), (ScriptedBighub(),), 42]
)
def test_a_value_that_is_no_engine_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        BighubGuard(bighub=wrong)


@pytest.mark.parametrize(
    "settings",
    [
        {"fail_mode": "ajar"},
        {"minimum_mode": "strict"},
        {"decision_mode": "post"},
        {"tools": {"refund": {"read_only": True}}},
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        BighubGuard(bighub=ScriptedBighub(), **settings)


class BatchBighub(ScriptedBighub):
    """A client that evaluates several calls at once, as the embedded engine does."""

    def __init__(self, response: Any) -> None:
        super().__init__(response)
        self.batch_sizes: list[int] = []
        self.decisions = self

    def evaluate_together(self, calls: Sequence[Mapping[str, Any]]) -> list[Any]:
        self.batch_sizes.append(len(calls))
        return [self._evaluate(**call) for call in calls]

    def _evaluate(self, raw: bool, **fields: Any) -> Any:
        assert raw
        try:
            return self.submit(**fields)
        except OSError as error:
            return error


def evaluate_turn(bighub: Any, *names: str, **settings: Any) -> list[Any]:
    """Return the records of the calls of a turn."""
    calls = [ToolCall("t", "m", name, name, {"amount": 1}) for name in names]
    with BighubGuard(bighub=bighub, **settings) as guard:
        return run_sync(evaluate_calls(calls, guard.runtime.settings, guard.runtime.ports))


def test_the_calls_of_a_turn_are_evaluated_at_once_where_the_client_can() -> None:
    bighub = BatchBighub({"refund": "proceed", "ship": "do_not_proceed"})
    records = evaluate_turn(bighub, "refund", "ship")
    assert [record.state for record in records] == [State.ALLOWED, State.BLOCKED]
    assert bighub.batch_sizes == [2]
    assert [fields["idempotency_key"] for fields in bighub.evaluations] == [
        record.key for record in records
    ]


def test_a_failed_evaluation_of_a_turn_does_not_affect_the_others() -> None:
    records = evaluate_turn(
        BatchBighub({"refund": "proceed", "ship": OSError("away"), "bill": {"nothing": 1}}),
        *("refund", "ship", "bill"),
        fail_mode="open",
    )
    assert [record.state for record in records] == [State.ALLOWED, State.ALLOWED, State.BLOCKED]
    assert [record.decision.fault for record in records] == ["", "unavailable", "refused"]


def test_a_failed_batch_fails_every_call_of_the_turn() -> None:
    class UnreachableBighub(BatchBighub):
        def evaluate_together(self, calls: Sequence[Mapping[str, Any]]) -> list[Any]:
            raise OSError(f"away, with {len(calls)} calls")

    records = evaluate_turn(UnreachableBighub("proceed"), "refund", "ship")
    assert [record.decision.fault for record in records] == ["unavailable", "unavailable"]


def test_a_turn_whose_keys_were_used_with_other_bodies_is_evaluated_anew() -> None:
    with LocalBighub() as bighub:
        turns = [
            evaluate_turn(bighub, "refund", "ship", domain=domain) for domain in ("eu", "us", "us")
        ]
    ids = [[record.request_id for record in turn] for turn in turns]
    assert not {*ids[0], None} & {*ids[1]}
    assert ids[1] == ids[2]


def test_a_call_that_is_sent_as_one_payload_is_evaluated_by_itself() -> None:
    bighub = BatchBighub("proceed")
    evaluate_turn(bighub, "refund", "ship", decision_mode="submit_payload")
    assert bighub.batch_sizes == []
    assert [fields["as_payload"] for fields in bighub.evaluations] == [True, True]


class UnhashableMethod:
    """A method that is an object which compares by value, as recorders and mocks may be."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.keys: list[str] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnhashableMethod)

    def __call__(self, *, idempotency_key: str, **fields: Any) -> dict[str, Any]:
        self.keys.append(idempotency_key)
        return {"recommendation": "proceed", "request_id": "req-1"}


def test_a_clients_method_may_be_an_object_without_a_hash() -> None:
    submit = UnhashableMethod()
    client = SimpleNamespace(actions=SimpleNamespace(submit=submit))
    with BighubGuard(bighub=client, outcome_reporting=False) as guard:
        assert guard.evaluate("refund", {"amount": 1}).raw_recommendation == "proceed"
    assert len(submit.keys) == 1
