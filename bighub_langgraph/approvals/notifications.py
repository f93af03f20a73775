"""Notify people of the calls that wait for them, wherever they are.

That a call waits is stored with the call before it is asked about, and that a message about it was
sent is stored when it was, so a crash loses no message; at worst it is sent again. Calls that come
together are in one message. It names the tool, the agent and the risk, and links to the page where
people sign in: it has no arguments, and reading it permits nothing.
"""

import hashlib
import logging
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import uuid4

from bighub_langgraph.approvals.cards import find_risk_score
from bighub_langgraph.concurrency import fork_safe_lock
from bighub_langgraph.core.claims import build_work_key
from bighub_langgraph.core.delivery import retry_delay
from bighub_langgraph.core.errors import BighubGuardError, ConfigurationError
from bighub_langgraph.core.evidence import describe_risk, one_line
from bighub_langgraph.core.models import ASKABLE_STATES, State
from bighub_langgraph.core.redaction import redact_exception
from bighub_langgraph.core.urls import is_web_url, split_url
from bighub_langgraph.journal.admin import ApprovalView
from bighub_langgraph.journal.sql import Journal

log = logging.getLogger("bighub_langgraph")

# How long calls are collected for one message, in seconds.
BURST = 2.0
# How long a closing guard, or the end of the program, waits for a message to be sent, in seconds.
AT_EXIT = 3.0
MAX_LINES = 10
# How many calls are in one message at most; of more there are several.
MAX_CALLS = 1000


class NotificationError(BighubGuardError):
    """A message was not accepted; it is sent again later."""


@dataclass(frozen=True)
class WaitingCall:
    """What a message says of a call that waits for a person.

    Attributes:
        agent: The guard's name; "" where it has none.
        risk_score: From 0 to 1; None where BIGHUB gave none.
        asked_at: In seconds since the epoch, as `expires_at`.
        starts: How many times the tool was started; its outcome is unknown if it was.
    """

    key: str
    tool: str
    agent: str
    risk_score: float | None
    asked_at: float
    expires_at: float | None
    outcome_unknown: bool
    starts: int


@dataclass(frozen=True)
class Notification:
    """One message about calls that wait, the riskiest first.

    Attributes:
        calls: What waits.
        inbox_url: The page where people answer.
    """

    calls: Sequence[WaitingCall]
    inbox_url: str

    @property
    def id(self) -> str:
        """The same for every message about the same calls."""
        questions = sorted(f"{call.key}/{call.starts}" for call in self.calls)
        return f"msg_{hashlib.sha256(' '.join(questions).encode()).hexdigest()[:32]}"

    @property
    def url(self) -> str:
        """The call's page, or the list where there are several."""
        base = self.inbox_url.rstrip("/")
        return f"{base}/calls/{self.calls[0].key}" if len(self.calls) == 1 else f"{base}/"

    @property
    def subject(self) -> str:
        """What waits, in a few words."""
        if len(self.calls) > 1:
            return f"{len(self.calls)} calls wait for a person"
        return f"{_name(self.calls[0])} waits for a person"

    @property
    def lines(self) -> list[str]:
        """One line for each call; of many only the first."""
        lines = [_describe(call) for call in self.calls[:MAX_LINES]]
        if more := len(self.calls) - len(lines):
            lines.append(f"and {more} more")
        return lines

    @property
    def text(self) -> str:
        """The message as plain text."""
        return "\n".join([self.subject, "", *self.lines, "", f"Sign in to answer: {self.url}"])

    def to_json(self, at: int) -> dict[str, Any]:
        """Return the message for programs, as sent at a time."""
        sent_at = datetime.fromtimestamp(at, UTC).isoformat()
        data = {"url": self.url, "calls": [asdict(call) for call in self.calls]}
        return {"type": "approvals.waiting", "timestamp": sent_at, "data": data}


def _name(call: WaitingCall) -> str:
    agent = f" of {one_line(call.agent, 100)}" if call.agent else ""
    return f"{one_line(call.tool, 100)}{agent}"


def _describe(call: WaitingCall) -> str:
    parts = [f"{_name(call)}: {describe_risk(call.risk_score)}"]
    if call.outcome_unknown:
        parts.append("it was started, and nobody knows whether it took effect")
    if call.expires_at is not None:
        expires_at = datetime.fromtimestamp(call.expires_at, UTC)
        parts.append(f"until {expires_at:%Y-%m-%d %H:%M} UTC")
    return ", ".join(parts)


class Notifier(Protocol):
    """Where messages go to."""

    @property
    def channel(self) -> str:
        """A name of its own, under which the journal keeps what was sent."""
        ...

    def send(self, notification: Notification) -> None:
        """Send a message; raise where it was not accepted."""
        ...


class Notifications:
    """Who is notified of calls that wait: `BighubGuard(notifications=Notifications(...))`.

    Args:
        notifiers: Where messages go to; each by itself, with its own retries.
        inbox_url: The address of the page, as people reach it.
        burst: How many seconds calls are collected for one message.
    """

    def __init__(self, *notifiers: Notifier, inbox_url: str, burst: float = BURST) -> None:
        if not is_web_url(inbox_url) or split_url(inbox_url).username:
            raise ConfigurationError("inbox_url is the address of the page, https://...")
        self.notifiers, self.inbox_url, self.burst = notifiers, inbox_url, burst

    def start(self, journal: object) -> "NotificationWorker":
        """Start to notify people of the calls in a journal."""
        if not isinstance(journal, Journal):
            raise ConfigurationError(
                "people answer in another process, so notifications= needs a journal in a "
                'database, such as journal="calls.db"'
            )
        return NotificationWorker(self, journal)


class NotificationWorker:
    """Sends messages from a thread of its own, also those that an earlier process left."""

    def __init__(self, settings: Notifications, journal: Journal) -> None:
        self._settings = settings
        self._journal = journal
        self._owner = f"{journal.owner}/{uuid4().hex}"
        self._close_event = threading.Event()
        self._threads: list[threading.Thread] = []  # at most one
        self._is_requested = False
        self._lock = fork_safe_lock()
        self._send_lock = fork_safe_lock()
        # Also at interpreter exit.
        self._finish = weakref.finalize(self, _finish, self._close_event, self._threads)
        self.schedule()

    def schedule(self) -> None:
        """Send what waits in a moment, or later where that fails; never raise."""
        with self._lock:
            self._is_requested = True
            if self._close_event.is_set() or any(thread.is_alive() for thread in self._threads):
                return
            thread = threading.Thread(target=self._run, name="bighub-notifications", daemon=True)
            with suppress(RuntimeError):  # no more threads: another process sends it
                thread.start()
                self._threads[:] = [thread]

    def deliver(self) -> bool:
        """Send what waits now; return whether everything is sent. Never raise."""
        with self._send_lock:
            # Each of them, also where one fails.
            complete = {self._deliver(notifier) for notifier in self._settings.notifiers}
            return False not in complete

    def close(self) -> None:
        """Send what waits, for a few seconds at most."""
        self._finish()

    def _run(self) -> None:
        failures, pause = 0, self._settings.burst
        while True:
            is_last = self._close_event.wait(pause)
            with self._lock:
                self._is_requested = False
            is_done = self.deliver()
            with self._lock:
                if is_last or (is_done and not self._is_requested):
                    self._threads.clear()  # under the lock: `schedule` sees it
                    return
            failures = 0 if is_done else failures + 1
            pause = self._settings.burst if is_done else retry_delay(failures - 1)

    def _deliver(self, notifier: Notifier) -> bool:
        """Send what waits to one channel, unless another process is at it."""
        try:
            with _claim(self._journal, notifier.channel, self._owner) as is_ours:
                if is_ours:
                    self._send(notifier)
                return is_ours
        except Exception as error:  # noqa: BLE001 - logged; a notifier of the user's may raise anything
            message = "people were not notified of waiting calls (%s); it will be tried again"
            log.error(message, redact_exception(error))  # noqa: TRY400 - it says it all
            return False

    def _send(self, notifier: Notifier) -> None:
        admin, channel = self._journal.admin, notifier.channel
        filters: dict[str, Any] = {"state": ASKABLE_STATES, "not_notified": channel}
        while views := admin.approvals(**filters, limit=MAX_CALLS):
            calls = sorted(map(_to_waiting_call, views), key=lambda call: -(call.risk_score or 0.0))
            notifier.send(Notification(calls, self._settings.inbox_url))
            admin.record_notifications(channel, views)


def _to_waiting_call(view: ApprovalView) -> WaitingCall:
    record = view.call.record
    return WaitingCall(
        record.key,
        record.tool,
        view.question.agent if view.question else "",
        find_risk_score(record),
        view.asked_at or record.created_at,
        record.expires_at,
        outcome_unknown=record.state is State.UNKNOWN,
        starts=record.starts,
    )


@contextmanager
def _claim(journal: Journal, channel: str, owner: str) -> Iterator[bool]:
    """Claim a channel for the one process that sends to it; yields whether it is this one."""
    key = build_work_key("notify", channel)
    is_ours = journal.claim_work(key, owner, durable=False).owner == owner
    try:
        yield is_ours
    finally:
        if is_ours:
            with suppress(BighubGuardError):  # it ends with its process at the latest
                journal.end_work_claim(key, owner, durable=False)


def _finish(close_event: threading.Event, threads: Sequence[threading.Thread]) -> None:
    close_event.set()
    for thread in list(threads):
        thread.join(AT_EXIT)
