"""The real SDK over HTTP on loopback, and look-alikes: what they say becomes a decision."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from bighub import AsyncBighubClient, BighubClient

from bighub_langgraph import BighubGuard, ToolPolicy
from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.evaluation import evaluate_calls
from bighub_langgraph.core.models import Decision, State, ToolCall
from tests.calls import reply
from tests.engines import Answer, AsyncScriptedBighub, ScriptedBighub, service

ARGUMENTS = {"order_id": "o1", "amount": 40, "password": "hunter2"}


@pytest.fixture(params=["blocking", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ask(url: str, colour: str, *, timeout: float = 5.0, **options: Any) -> Decision:
    """Ask a service about a refund by the SDK's client of one colour, without an event loop."""
    settings: dict[str, Any] = {"base_url": url, "timeout": timeout, "max_retries": 0}
    client = BighubClient(**settings) if colour == "blocking" else AsyncBighubClient(**settings)
    with BighubGuard(bighub=client, **options) as guard:
        return guard.evaluate("refund", ARGUMENTS)


def test_the_sdk_is_asked_with_an_idempotency_key_and_without_secrets(colour: str) -> None:
    with service(Answer()) as bighub:
        asked = ask(bighub.url, colour, actor="bot", domain="payments")
    [(path, headers, body)] = bighub.requests
    assert asked.request_id == "req-1"
    assert path == "/actions/evaluate"
    assert len(headers["idempotency-key"]) == 32
    assert (body["action"], body["value"], body["actor"]) == ("refund", 40, "bot")
    assert body["domain"] == "payments"
    assert body["context"]["arguments"]["password"] == "[redacted]"


def test_every_evaluation_has_a_key_of_its_own() -> None:
    with service(Answer()) as bighub:
        for _ in range(3):
            ask(bighub.url, "blocking")
    assert len({headers["idempotency-key"] for _, headers, _ in bighub.requests}) == 3


UNREADABLE = [
    Answer(body="<html>busy</html>", kind="text/html"),
    Answer(body="{", kind="application/json"),
    Answer(body="[]"),
    Answer(body='"proceed"'),
    Answer(body={"recommendation": "proceed"}),
    Answer(body='{"recommendation": "proceed", "request_id": "r", "risk_score": NaN}'),
]
REFUSED = [Answer(status, {"detail": "no"}) for status in (400, 401, 403, 404, 409, 422)]
AWAY = [Answer(status, {"detail": "later"}) for status in (408, 429, 500, 502, 503, 504)]


@pytest.mark.parametrize(
    "answer", [*UNREADABLE, *REFUSED], ids=lambda one: f"{one.status}{one.raw!r}"
)
@pytest.mark.parametrize("fail_mode", ["closed", "open", "review"])
def test_unreadable_and_refusing_replies_block_in_every_mode(
    answer: Answer, fail_mode: str, colour: str
) -> None:
    with service(answer) as bighub:
        asked = ask(bighub.url, colour, fail_mode=fail_mode)
    assert (asked.raw_recommendation, asked.fault) == ("do_not_proceed", "refused")
    assert asked.request_id is None


@pytest.mark.parametrize("answer", AWAY, ids=lambda one: str(one.status))
@pytest.mark.parametrize(
    ("fail_mode", "word"),
    [("closed", "do_not_proceed"), ("open", "proceed"), ("review", "review_recommended")],
)
def test_while_bighub_is_away_the_fail_mode_decides(
    answer: Answer, fail_mode: str, word: str, colour: str
) -> None:
    with service(answer) as bighub:
        asked = ask(bighub.url, colour, fail_mode=fail_mode)
    assert (asked.raw_recommendation, asked.fault) == (word, "unavailable")


def test_a_service_that_is_not_there_is_away(colour: str) -> None:
    with service() as bighub:
        url = bighub.url
    assert ask(url, colour).fault == "unavailable"


def test_a_reply_after_the_timeout_counts_for_nothing(colour: str) -> None:
    late = threading.Event()
    with service(Answer(hold=late)) as bighub:
        asked = ask(bighub.url, colour, timeout=0.05)
        late.set()
    assert (asked.raw_recommendation, asked.fault) == ("do_not_proceed", "unavailable")


def test_the_sdks_own_retries_are_the_only_ones() -> None:
    with service(Answer(503, {})) as bighub:
        client = BighubClient(base_url=bighub.url, max_retries=1)
        with BighubGuard(bighub=client, retries=5) as guard:
            guard.evaluate("refund", ARGUMENTS)
        client.close()
    assert len(bighub.requests) == 2
    assert len({headers["idempotency-key"] for _, headers, _ in bighub.requests}) == 1


@pytest.mark.parametrize(("retries", "asked"), [(0, 1), (1, 2)])
def test_a_look_alike_that_is_away_is_asked_again(retries: int, asked: int) -> None:
    client = ScriptedBighub(RuntimeError("down"))
    with BighubGuard(bighub=client, retries=retries) as guard:
        assert guard.evaluate("refund", ARGUMENTS).fault == "unavailable"
    assert len(client.asked) == asked


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_exception_without_a_readable_text_is_a_fault_like_any_other() -> None:
    client = ScriptedBighub(Mute())
    with BighubGuard(bighub=client, retries=0, fail_mode="open") as guard:
        asked = guard.evaluate("refund", ARGUMENTS)
    assert (asked.fault, asked.raw_recommendation) == ("unavailable", "proceed")
    assert "Mute: its text cannot be read" in asked.reason


def test_a_look_alike_that_does_not_fit_is_our_own_mistake_and_not_asked_again() -> None:
    client = ScriptedBighub(TypeError("unexpected keyword"))
    with BighubGuard(bighub=client, fail_mode="open") as guard:
        assert guard.evaluate("refund", ARGUMENTS).fault == "refused"
    assert len(client.asked) == 1


def test_a_whole_payload_is_submitted_where_the_policy_says_so() -> None:
    client = ScriptedBighub()
    policy = ToolPolicy(decision_mode="submit_payload")
    with BighubGuard(bighub=client, tools={"refund": policy}) as guard:
        guard.evaluate("refund", ARGUMENTS)
        guard.evaluate("look_up", {})
    assert [one.get("whole", False) for one in client.asked] == [True, False]


class Older:
    """A client of the first days: its methods know no idempotency key."""

    class actions:  # noqa: N801 - as the SDK names it
        @staticmethod
        def submit(action: str, actor: str, context: dict[str, Any], value: float = 0.0) -> Any:
            return reply("proceed", echo=[action, actor, value, list(context)])


def test_a_client_that_knows_no_idempotency_key_is_asked_without_one() -> None:
    with BighubGuard(bighub=Older()) as guard:
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
def test_with_nothing_to_ask_the_error_says_what_to_set() -> None:
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
def test_what_cannot_be_asked_is_refused_at_once(wrong: Any) -> None:
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


class Together(ScriptedBighub):
    """A client that evaluates several calls at once, like the embedded one."""

    def __init__(self, says: Any) -> None:
        super().__init__(says)
        self.turns: list[int] = []
        self.decisions = self

    def evaluate_together(self, calls: Sequence[Mapping[str, Any]]) -> list[Any]:
        self.turns.append(len(calls))
        return [self._evaluated(**each) for each in calls]

    def _evaluated(self, raw: bool, **fields: Any) -> Any:
        assert raw
        try:
            return self.submit(**fields)
        except OSError as error:
            return error


def considered(bighub: ScriptedBighub, *names: str, **guard: Any) -> list[Any]:
    """What becomes of the calls of a turn."""
    calls = [ToolCall("t", "m", name, name, {"amount": 1}) for name in names]
    with BighubGuard(bighub=bighub, **guard) as made:
        return run_sync(evaluate_calls(calls, made.runtime.settings, made.runtime.ports))


def test_a_client_that_can_is_asked_about_a_turn_at_once() -> None:
    bighub = Together({"refund": "proceed", "ship": "do_not_proceed"})
    found = considered(bighub, "refund", "ship")
    assert [one.state for one in found] == [State.ALLOWED, State.BLOCKED]
    assert bighub.turns == [2]
    assert [one["idempotency_key"] for one in bighub.asked] == [one.key for one in found]


def test_what_fails_among_calls_asked_about_at_once_fails_alone() -> None:
    found = considered(
        Together({"refund": "proceed", "ship": OSError("away"), "bill": {"nothing": 1}}),
        *("refund", "ship", "bill"),
        fail_mode="open",
    )
    assert [one.state for one in found] == [State.ALLOWED, State.ALLOWED, State.BLOCKED]
    assert [one.decision.fault for one in found] == ["", "unavailable", "refused"]


def test_a_client_that_cannot_answer_at_once_answers_for_none() -> None:
    class Away(Together):
        def evaluate_together(self, calls: Sequence[Mapping[str, Any]]) -> list[Any]:
            raise OSError(f"away, with {len(calls)} calls")

    found = considered(Away("proceed"), "refund", "ship")
    assert [one.decision.fault for one in found] == ["unavailable", "unavailable"]


def test_a_payload_that_goes_whole_is_asked_about_by_itself() -> None:
    bighub = Together("proceed")
    considered(bighub, "refund", "ship", decision_mode="submit_payload")
    assert bighub.turns == []
    assert [one["whole"] for one in bighub.asked] == [True, True]
