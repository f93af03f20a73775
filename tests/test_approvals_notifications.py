"""Notifications: who is told that a call waits, what the message says, and what it does not."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from bighub_langgraph import BighubGuard, Journal, create_guarded_agent
from bighub_langgraph.approvals.notifications import (
    MAX_CALLS,
    Notification,
    NotificationError,
    Notifications,
    NotificationWorker,
    Notifier,
    WaitingCall,
)
from bighub_langgraph.approvals.notifiers import EmailNotifier, SlackNotifier, WebhookNotifier
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.lifecycle import (
    AnswerGiven,
    CallCancelled,
    ExecutionStarted,
    OwnerLost,
)
from bighub_langgraph.core.models import State
from bighub_langgraph.core.reporting import ReportingConfig
from tests.agents import ScriptedModel, Shop, asks_for, call
from tests.calls import approval, decided_record
from tests.engines import ScriptedBighub
from tests.notification_servers import mail_server, webhook

PAGE = "https://inbox.example.com"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CALL = WaitingCall(
    key="a" * 64,
    tool="refund",
    agent="support-desk",
    risk_score=0.72,
    asked_at=0.0,
    expires_at=1_800_000_000.0,
    outcome_unknown=False,
    starts=0,
)


def create_notification(*calls: WaitingCall) -> Notification:
    return Notification(calls or (CALL,), PAGE)


# -- what a message says ---------------------------------------------------------------------------


def test_a_message_names_tool_agent_risk_and_the_page() -> None:
    assert create_notification().text == (
        "refund of support-desk waits for a person\n\n"
        "refund of support-desk: high risk (0.72), until 2027-01-15 08:00 UTC\n\n"
        f"Sign in to answer: {PAGE}/calls/{'a' * 64}"
    )


def test_one_message_about_many_calls_names_the_first_and_links_to_the_list() -> None:
    message = create_notification(*(replace(CALL, tool=f"tool_{number}") for number in range(14)))
    assert message.subject == "14 calls wait for a person"
    assert message.lines[-2:] == [
        "tool_9 of support-desk: high risk (0.72), until 2027-01-15 08:00 UTC",
        "and 4 more",
    ]
    assert message.url == f"{PAGE}/"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"risk_score": None}, "refund of support-desk: unknown risk"),
        ({"risk_score": 0.1}, "refund of support-desk: low risk (0.10)"),
        ({"agent": ""}, "refund: high risk (0.72)"),
        (
            {"outcome_unknown": True},
            (
                "refund of support-desk: high risk (0.72), "
                "it was started, and nobody knows whether it took effect"
            ),
        ),
        ({"agent": "a\nb\x1b[2J\u202e<b>"}, r"refund of a b\x1b[2J\u202e\x3cb>: high risk (0.72)"),
    ],
)
def test_a_line_says_what_is_known_as_data(changes: dict[str, Any], line: str) -> None:
    assert create_notification(replace(CALL, expires_at=None, **changes)).lines == [line]


# -- where it goes ---------------------------------------------------------------------------------


def test_slack_gets_text_that_it_does_not_interpret_and_a_link() -> None:
    with webhook() as slack:
        SlackNotifier(slack.url).send(create_notification(replace(CALL, agent="<!channel> & *co*")))
    [message] = slack.messages
    text, link = message["blocks"]
    assert text["text"]["type"] == "plain_text"
    assert text["text"]["text"].startswith(r"refund of \x3c!channel> & \x2aco\x2a: high risk")
    assert message["text"] == r"refund of \x3c!channel&gt; &amp; \x2aco\x2a waits for a person"
    assert link["text"]["text"] == f"<{PAGE}/calls/{'a' * 64}|Sign in to answer>"


def test_the_address_of_a_webhook_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with webhook() as slack:
        SlackNotifier(slack.url).send(create_notification())
        httpx.post(slack.url + "/other", json={})
    assert [record.getMessage().count(slack.url) for record in caplog.records] == [1]
    assert "hunter2/other" in caplog.text  # other requests are logged as ever


@pytest.mark.parametrize("secret", [SECRET, "a text of at least 24 bytes"])
def test_a_webhook_is_signed_as_the_standard_says(secret: str) -> None:
    with webhook() as receiver:
        WebhookNotifier(receiver.url, secret).send(create_notification())
    key = secret if secret == SECRET else secret.encode()
    message = Verifier(key).verify(receiver.bodies[0], receiver.headers)
    assert message["type"] == "approvals.waiting"
    assert message["data"]["url"] == f"{PAGE}/calls/{'a' * 64}"
    assert message["data"]["calls"][0]["tool"] == "refund"
    with pytest.raises(WebhookVerificationError):
        Verifier(key).verify(receiver.bodies[0] + b" ", receiver.headers)


def test_a_message_that_is_sent_again_has_the_same_id() -> None:
    again = create_notification(replace(CALL, risk_score=0.9))
    assert create_notification().id == again.id != create_notification(replace(CALL, starts=1)).id


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # the server's TLS
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_goes_over_tls_with_a_password(security: Any) -> None:
    with mail_server(starttls=security == "starttls") as server:
        notifier = EmailNotifier(
            host="127.0.0.1",
            port=server.port,
            sender="bighub@example.com",
            recipients=["alice@example.com", "bob@example.com"],
            security=security,
            username="bighub",
            password="hunter2",
            tls=server.trusted,
        )
        notifier.send(create_notification())
        with pytest.raises(NotificationError, match="535"):
            replace(notifier, password="wrong").send(create_notification())
        with pytest.raises(NotificationError, match="certificate"):
            replace(notifier, tls=None).send(create_notification())
    [message] = server.messages
    assert message["Subject"] == "refund of support-desk waits for a person"
    assert message["To"] == "alice@example.com, bob@example.com"
    assert message.get_content().splitlines() == create_notification().text.splitlines()


@pytest.mark.parametrize("status", [302, 307, 404, 500])
def test_a_message_that_is_not_accepted_is_an_error_without_the_urls_secret(status: int) -> None:
    with webhook(status) as receiver:
        for notifier in (SlackNotifier(receiver.url), WebhookNotifier(receiver.url, SECRET)):
            with pytest.raises(NotificationError) as error_info:
                notifier.send(create_notification())
            assert str(error_info.value) == f"127.0.0.1 answered with status {status}"


NOTIFIERS: list[Any] = [
    SlackNotifier("http://127.0.0.1:9/services/hunter2"),
    WebhookNotifier("http://127.0.0.1:9/hunter2", "hunter2" * 4),
    EmailNotifier(
        host="127.0.0.1", port=9, sender="a@b", recipients=["c@d"], username="a", password="hunter2"
    ),
]


@pytest.mark.parametrize("notifier", NOTIFIERS, ids=lambda notifier: type(notifier).__name__)
def test_a_destination_shows_its_secret_nowhere(notifier: Any) -> None:
    with pytest.raises(NotificationError) as error_info:
        notifier.send(create_notification())
    for text in (str(error_info.value), repr(notifier), notifier.channel):
        assert "hunter2" not in text


MISTAKES: dict[str, Any] = {
    "webhook_url is the URL": lambda: SlackNotifier("hooks.slack.com/x"),
    "url is the URL": lambda: WebhookNotifier("ftp://x", SECRET),
    "at least 24 bytes": lambda: WebhookNotifier("https://x", "short"),
    "no base64": lambda: WebhookNotifier("https://x", "whsec_ä"),
    "recipients is a list": lambda: EmailNotifier(host="h", sender="a@b", recipients="c@d"),
    "without TLS": lambda: EmailNotifier(
        host="h", sender="a@b", recipients=["c@d"], security="none", password="hunter2"
    ),
    "starttls, tls or none": lambda: replace(NOTIFIERS[2], security="ssl"),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_reported_when_the_destination_is_made(message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        MISTAKES[message]()


# -- when a message is sent ------------------------------------------------------------------------

REPORTING = ReportingConfig()


@pytest.fixture
def journal(database: str) -> Iterator[Journal]:
    with closing(Journal(database)) as journal:
        yield journal


OpenWorker = Callable[..., NotificationWorker]


class Sent:
    """A notifier that keeps what it is to send, and may refuse."""

    def __init__(self, channel: str = "desk") -> None:
        self.channel = channel
        self.sent: list[list[str]] = []
        self.error: Exception | None = None

    def send(self, notification: Notification) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append([call.tool for call in notification.calls])


def ask_about(journal: Journal, tool: str, risk: float = 0.2) -> str:
    record = decided_record()
    assert record.decision is not None
    reply = {**record.decision.reply, "risk_score": risk}
    waiting_record = record._replace(
        key=tool.ljust(64, "0"),
        tool=tool,
        state=State.AWAITING,
        decision=replace(record.decision, reply=reply),
    )
    journal.insert([waiting_record], REPORTING)
    return waiting_record.key


@pytest.fixture
def worker(journal: Journal) -> Iterator[OpenWorker]:
    """Opens workers that send only when they are asked to."""
    with ExitStack() as workers:

        def open_worker(*notifiers: Notifier) -> NotificationWorker:
            worker = Notifications(*notifiers, inbox_url=PAGE, burst=1000).start(journal)
            return workers.enter_context(closing(worker))

        yield open_worker


def test_calls_that_come_together_are_in_one_message_and_never_in_a_second(
    journal: Journal, worker: OpenWorker
) -> None:
    desk = Sent()
    for tool, risk in (("a", 0.1), ("b", 0.9), ("c", 0.5)):
        ask_about(journal, tool, risk)
    sender = worker(desk)
    assert sender.deliver()
    ask_about(journal, "d")
    assert sender.deliver()
    assert worker(desk).deliver()  # another process
    assert desk.sent == [["b", "c", "a"], ["d"]]


def test_of_more_calls_than_one_message_takes_none_is_left_out(
    journal: Journal, worker: OpenWorker
) -> None:
    desk = Sent()
    sender = worker(desk)
    tools = [f"tool-{number}" for number in range(2 * MAX_CALLS + 200)]
    first = decided_record()._replace(state=State.AWAITING)
    journal.insert([first._replace(key=tool, tool=tool) for tool in tools], REPORTING)
    assert sender.deliver()
    assert [len(message) for message in desk.sent] == [MAX_CALLS, MAX_CALLS, 200]
    assert sorted(tool for message in desk.sent for tool in message) == sorted(tools)
    ask_about(journal, "late")
    assert sender.deliver()
    assert desk.sent[3:] == [["late"]]


def test_a_channel_that_fails_between_two_messages_gets_the_rest_later(
    journal: Journal, worker: OpenWorker
) -> None:
    class Fails(Sent):
        def send(self, notification: Notification) -> None:
            super().send(notification)
            if len(self.sent) == 1:
                self.error = NotificationError("closed")

    desk = Fails()
    sender = worker(desk)
    first = decided_record()._replace(state=State.AWAITING)
    keys = [f"call-{number}" for number in range(MAX_CALLS + 1)]
    journal.insert([first._replace(key=key) for key in keys], REPORTING)
    assert not sender.deliver()
    desk.error = None
    assert sender.deliver()
    assert [len(message) for message in desk.sent] == [MAX_CALLS, 1]


def test_a_call_that_nobody_waits_for_is_in_no_message(
    journal: Journal, worker: OpenWorker
) -> None:
    desk = Sent()
    keys = [ask_about(journal, tool) for tool in "abc"]
    journal.transition(keys[0], AnswerGiven(approval(at=1.0)), REPORTING)
    journal.transition(keys[1], CallCancelled("a new message"), REPORTING)
    assert worker(desk).deliver()
    assert desk.sent == [["c"]]


def test_people_are_notified_again_when_the_outcome_is_unknown(
    journal: Journal, worker: OpenWorker
) -> None:
    desk = Sent()
    key = ask_about(journal, "pay")
    sender = worker(desk)
    sender.deliver()
    journal.transition(key, AnswerGiven(approval(at=1.0)), REPORTING)
    journal.transition(key, ExecutionStarted("gone/1", 2.0), REPORTING)
    journal.transition(key, OwnerLost("gone/1", "its process is gone"), REPORTING)
    sender.deliver()
    sender.deliver()
    assert desk.sent == [["pay"], ["pay"]]


def test_a_channel_that_fails_gets_the_message_later_and_the_others_get_it_once(
    journal: Journal, worker: OpenWorker, caplog: pytest.LogCaptureFixture
) -> None:
    desk, mail = Sent("desk"), Sent("mail")
    desk.error = NotificationError("desk is closed; password=hunter2")
    sender = worker(desk, mail)
    ask_about(journal, "a")
    assert not sender.deliver()
    assert "people were not notified" in caplog.text
    assert "hunter2" not in caplog.text
    desk.error = None
    assert sender.deliver()
    assert desk.sent == mail.sent == [["a"]]


def test_two_processes_do_not_send_the_same_message(journal: Journal, worker: OpenWorker) -> None:
    ask_about(journal, "a")
    inner = Sent()
    other = worker(inner)

    class Slow(Sent):
        def send(self, notification: Notification) -> None:
            assert not other.deliver()  # while this one is at it
            super().send(notification)

    outer = Slow()
    assert worker(outer).deliver()
    assert other.deliver()
    assert (outer.sent, inner.sent) == ([["a"]], [])


def test_the_messages_of_a_call_are_pruned_with_it(journal: Journal, worker: OpenWorker) -> None:
    key = ask_about(journal, "a")
    worker(Sent()).deliver()
    journal.transition(key, CallCancelled("gone"), REPORTING)
    journal.ack([entry.id for entry in journal.lease_batch(1e12, 100, early=True)])
    assert journal.prune(-60.0) == 1
    desk = Sent()
    ask_about(journal, "a")
    worker(desk).deliver()
    assert desk.sent == [["a"]]


# -- from a guard ----------------------------------------------------------------------------------


def refunds(guard: BighubGuard) -> Any:
    calls = [call("refund", str(n), order_id="hunter2", amount=987654321) for n in range(3)]
    model = ScriptedModel(script=[asks_for(*calls), "Done."])
    return create_guarded_agent(model, Shop().tools(), guard, checkpointer=InMemorySaver())


def guard_of(folder: Path, **options: Any) -> BighubGuard:
    engine = ScriptedBighub("review_recommended")
    return BighubGuard(bighub=engine, journal=folder / "calls.db", name="desk", **options)


ASK = {"messages": [("user", "Refund hunter2, please.")]}
CONFIG: Any = {"configurable": {"thread_id": "alice@example.com"}}


def test_an_agent_that_waits_sends_one_message_without_arguments(tmp_path: Path) -> None:
    with webhook() as receiver:
        notifications = Notifications(
            WebhookNotifier(receiver.url, SECRET), inbox_url=PAGE, burst=1.0
        )
        with guard_of(tmp_path, notifications=notifications) as guard:
            refunds(guard).invoke(ASK, CONFIG)
            receiver.wait()
    [message] = receiver.messages
    calls = message["data"]["calls"]
    assert [(item["tool"], item["agent"]) for item in calls] == [("refund", "desk")] * 3
    for text in (b"hunter2", b"987654321", b"alice", b"order_id"):
        assert text not in receiver.bodies[0]


def test_a_guard_that_closes_sends_what_waits(tmp_path: Path) -> None:
    desk = Sent()
    with guard_of(tmp_path, notifications=Notifications(desk, inbox_url=PAGE, burst=1000)) as guard:
        refunds(guard).invoke(ASK, CONFIG)
        assert desk.sent == []
    assert desk.sent == [["refund"] * 3]


def test_a_server_that_is_away_gets_the_message_when_it_is_back(tmp_path: Path) -> None:
    with webhook(503) as receiver:
        slack = SlackNotifier(receiver.url)
        notifications = Notifications(slack, inbox_url=PAGE, burst=0.1)
        with guard_of(tmp_path, notifications=notifications) as guard:
            refunds(guard).invoke(ASK, CONFIG)
            receiver.wait()
            receiver.status = 200
            receiver.wait()
    [message] = receiver.messages
    assert message["text"] == "3 calls wait for a person"


def test_a_guard_that_starts_sends_what_an_earlier_process_did_not(tmp_path: Path) -> None:
    desk = Sent()
    with guard_of(tmp_path) as guard:
        refunds(guard).invoke(ASK, CONFIG)
    with guard_of(tmp_path, notifications=Notifications(desk, inbox_url=PAGE)):
        pass
    assert desk.sent == [["refund"] * 3]


def test_a_journal_in_memory_is_refused_since_nobody_could_answer() -> None:
    with pytest.raises(ConfigurationError, match="journal in a database"):
        BighubGuard(bighub=ScriptedBighub(), notifications=Notifications(inbox_url=PAGE))


@pytest.mark.parametrize("url", ["inbox.example.com", "ftp://x", "https://me:hunter2@x"])
def test_a_page_without_an_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="inbox_url is the address"):
        Notifications(inbox_url=url)
