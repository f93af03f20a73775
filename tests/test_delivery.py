"""Outcomes reach BIGHUB: in order per call, at least once, over any outage."""

import asyncio
import gc
import logging
import random
import socketserver
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bighub_langgraph import BighubGuard, BighubOpenAI, Journal
from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.claims import ToolFinished, claim_and_execute
from bighub_langgraph.core.delivery import (
    LONGEST_DELAY,
    MAX_REFUSALS,
    MAX_UNCONFIRMED,
    deliver_reports,
    retry_delay,
)
from bighub_langgraph.core.errors import JournalError
from bighub_langgraph.core.lifecycle import AnswerGiven, ExecutionFinished, ExecutionStarted
from bighub_langgraph.core.models import CallRecord, State, ToolSucceeded, Verdict
from bighub_langgraph.core.ports import DELIVERY_LEASE, QueuedReport
from bighub_langgraph.core.reporting import ReportingConfig, ReportKind
from bighub_langgraph.journal.memory_journal import MemoryJournal
from bighub_langgraph.sqldb import execute
from tests.calls import approval, decided_record
from tests.engines import Answer, AsyncScriptedBighub, ScriptedBighub, service
from tests.local_engine import Clock, Signal
from tests.test_journal_sql import let_pass

REPORTING = ReportingConfig()


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000_000.0, step=0.0)


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryJournal(chosen=True, clock=clock)
        return
    journal = Journal(f"sqlite:///{tmp_path / 'calls.db'}", clock=clock)
    yield journal
    journal.close()


def call(number: int, turn: str = "message-1") -> CallRecord:
    record = decided_record(Verdict.REVIEW)
    return record._replace(key=f"{number:032x}", turn=turn, created_at=1.0)


def run(journal: Any, record: CallRecord) -> None:
    """A call that a person approved and that ran: three reports."""
    journal.insert([record], REPORTING)
    journal.transition(record.key, AnswerGiven(approval()), REPORTING)
    journal.transition(record.key, ExecutionStarted(f"{journal.owner}/1", 0.0), REPORTING)
    journal.transition(
        record.key, ExecutionFinished(f"{journal.owner}/1", ToolSucceeded("ok")), REPORTING
    )


@pytest.fixture
def deliveries() -> list[tuple[str, str]]:
    return []


class RecordingBighub(ScriptedBighub):
    """Records the reports in the order of their arrival; refuses those that a test chooses."""

    def __init__(self, deliveries: list[tuple[str, str]]) -> None:
        super().__init__()
        self._received = deliveries
        self.refuses: Callable[[str, dict[str, Any]], Any] = lambda kind, body: None

    def _receive(self, kind: str, body: dict[str, Any], key: str) -> None:
        self._check()
        if error := self.refuses(kind, body):
            raise error
        self._received.append((kind, key))

    def resolve(self, request_id: str, **resolution: Any) -> dict[str, Any]:
        self._receive("approval", resolution, request_id)
        return {}

    def report_batch(self, outcomes: list[dict[str, Any]]) -> dict[str, Any]:
        for outcome in outcomes:
            if error := self.refuses("outcome", outcome):
                raise error
        self._check()
        self.batches.append(len(outcomes))
        self._received += [
            ("outcome", outcome["details"]["idempotency_key"]) for outcome in outcomes
        ]
        return {}

    def report(self, **outcome: Any) -> None:
        self._receive("outcome", outcome, outcome["details"]["idempotency_key"])

    def ingest_memory(self, **round_: Any) -> None:
        self._receive("memory", round_, str(len(round_["events"])))


@pytest.fixture
def bighub(deliveries: list[tuple[str, str]]) -> RecordingBighub:
    return RecordingBighub(deliveries)


@pytest.fixture
def guard(
    journal: Any, bighub: RecordingBighub, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BighubGuard]:
    monkeypatch.setattr("bighub_langgraph.delivery_worker.AT_EXIT", 0.2)
    guard = BighubGuard(bighub=bighub, journal=journal, clock=clock, retries=0)
    yield guard
    bighub.away, bighub.refuses = False, lambda kind, body: None
    guard.close()


def test_reports_of_a_call_arrive_in_order_and_memory_events_of_a_turn_together(
    guard: BighubGuard, journal: Any, deliveries: list[tuple[str, str]]
) -> None:
    run(journal, call(1))
    run(journal, call(2))
    run_sync(deliver_reports(guard.runtime.ports, "message-1"))
    kinds = [kind for kind, _ in deliveries]
    assert kinds == ["approval", "approval", "outcome", "outcome", "memory"]
    assert deliveries[-1] == ("memory", "2")
    assert journal.pending_count() == 0


def test_a_memory_event_waits_for_the_rest_of_its_turn_and_then_goes_alone(
    guard: BighubGuard, journal: Any, deliveries: list[tuple[str, str]], clock: Clock
) -> None:
    run(journal, call(1))
    run_sync(deliver_reports(guard.runtime.ports))
    assert [kind for kind, _ in deliveries] == ["approval", "outcome"]
    clock.now += 6.0
    run_sync(deliver_reports(guard.runtime.ports))
    assert deliveries[-1] == ("memory", "1")


def test_outcomes_go_in_batches_of_a_hundred(
    guard: BighubGuard, journal: Any, bighub: RecordingBighub
) -> None:
    for number in range(120):
        run(journal, call(number)._replace(decision=None))
    for number in range(120, 260):
        run(journal, call(number))
    assert guard.flush() == 0
    assert max(bighub.batches) <= 100
    assert sum(bighub.batches) >= 250


def test_an_outage_of_days_makes_no_dead_letters(
    guard: BighubGuard, journal: Any, bighub: RecordingBighub, clock: Clock
) -> None:
    run(journal, call(1))
    bighub.away = True
    for _ in range(30):
        clock.now += 400.0
        run_sync(deliver_reports(guard.runtime.ports))
    assert journal.pending_count() == 3
    bighub.away = False
    assert guard.flush() == 0


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_makes_no_dead_letters(
    guard: BighubGuard, journal: Any, bighub: RecordingBighub, clock: Clock, status: int
) -> None:
    wrong = RuntimeError("no")
    wrong.status_code = status  # type: ignore[attr-defined]
    bighub.refuses = lambda kind, body: wrong
    run(journal, call(1))
    for _ in range(2 * MAX_REFUSALS):
        clock.now += 400.0
        run_sync(deliver_reports(guard.runtime.ports))
    assert journal.pending_count() == 3


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_delivery_until_it_is_accepted_and_is_logged_once(
    guard: BighubGuard,
    journal: Any,
    bighub: RecordingBighub,
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    requests: list[str] = []
    wrong = RuntimeError("no")
    wrong.status_code = status  # type: ignore[attr-defined]

    def refuse(kind: str, _: Any) -> Exception:
        requests.append(kind)
        return wrong

    bighub.refuses = refuse
    for number in range(20):
        run(journal, call(number, f"message-{number}"))
        guard.runtime.delivery.deliver(f"message-{number}")
        assert guard.runtime.delivery.wait(10)
    guard.runtime.delivery.schedule()
    # A key may be valid and lack the right to resolve approvals: the outcome shows which it is.
    tried = ["approval"] if status == 401 else ["approval", "outcome"]
    assert requests == tried
    assert guard.flush(5) == 60
    assert requests == 2 * tried
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "delivery has stopped" in caplog.text
    bighub.refuses = lambda kind, body: None
    assert guard.flush() == 0
    run(journal, call(20, "message-20"))
    guard.runtime.delivery.deliver("message-20")
    assert guard.runtime.delivery.wait(10)
    assert journal.pending_count() == 0


def test_an_outage_is_logged_once_until_something_is_delivered(
    guard: BighubGuard, journal: Any, bighub: RecordingBighub, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(2):
        run(journal, call(number, f"message-{number}"))
        bighub.away = True
        for _ in range(3):
            assert guard.flush() == 3
        bighub.away = False
        assert guard.flush() == 0
    assert [record.message.split(";")[0] for record in caplog.records] == [
        "BIGHUB is unreachable"
    ] * 2


def test_a_report_refused_eight_times_becomes_a_dead_letter_and_blocks_no_other_call(
    guard: BighubGuard,
    journal: Any,
    bighub: RecordingBighub,
    clock: Clock,
    deliveries: list[tuple[str, str]],
) -> None:
    poison = call(1).key
    bighub.refuses = lambda kind, body: (
        ValueError("odd")
        if kind == "outcome" and body["details"]["idempotency_key"] == poison
        else None
    )
    run(journal, call(1, "message-1"))
    run(journal, call(2, "message-2"))
    for tries in range(1, MAX_REFUSALS + 1):
        clock.now += 400.0
        run_sync(deliver_reports(guard.runtime.ports))
        # The other call is not held up; later reports of the poison wait until it is a dead letter.
        assert ("outcome", call(2).key) in deliveries
        assert journal.pending_count() == (2 if tries < MAX_REFUSALS else 0)
    assert journal.pending_count(include_dead_letters=True) == 1
    assert [kind for kind, _ in deliveries].count("memory") == 2


def test_a_refused_entry_waits_longer_each_time_also_when_everything_is_flushed(
    guard: BighubGuard, journal: Any, bighub: RecordingBighub
) -> None:
    attempts: list[str] = []

    def refuse(kind: str, _: Any) -> ValueError:
        attempts.append(kind)
        return ValueError("odd")

    bighub.refuses = refuse
    run(journal, call(1))
    for _ in range(5):
        guard.flush(0)
    assert attempts == ["approval", "outcome"]


def forbidden() -> Exception:
    error = RuntimeError("this key may not approve")
    error.status_code = 403  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize("refusal", [forbidden, lambda: ValueError("odd")])
@pytest.mark.parametrize("queued", ["together", "later"])
def test_a_refused_resolution_never_holds_back_the_outcome_of_its_call(  # noqa: PLR0917
    guard: BighubGuard,
    journal: Any,
    bighub: RecordingBighub,
    clock: Clock,
    deliveries: list[tuple[str, str]],
    refusal: Callable[[], Exception],
    queued: str,
) -> None:
    bighub.refuses = lambda kind, body: refusal() if kind == "approval" else None
    record = call(1)
    journal.insert([record], REPORTING)
    journal.transition(record.key, AnswerGiven(approval(at=0.0)), REPORTING)
    if queued == "later":
        run_sync(deliver_reports(guard.runtime.ports))
        assert deliveries == []
    journal.transition(record.key, ExecutionStarted("me", 0.0), REPORTING)
    journal.transition(record.key, ExecutionFinished("me", ToolSucceeded("ok")), REPORTING)
    run_sync(deliver_reports(guard.runtime.ports, "message-1"))
    assert [kind for kind, _ in deliveries] == ["outcome", "memory"]
    for number in range(2, 2 + MAX_REFUSALS):  # it is listed in the end
        clock.now += 400.0
        run(journal, call(number, "message-2"))
        run_sync(deliver_reports(guard.runtime.ports))
    assert journal.pending_count(include_dead_letters=True) > journal.pending_count()


def test_a_cancelled_delivery_releases_the_reports_it_has_not_sent(
    guard: BighubGuard, journal: Any
) -> None:
    run(journal, call(1))

    async def raise_cancelled(body: Any) -> None:
        raise asyncio.CancelledError

    engine = replace(guard.runtime.ports.engine, resolve_approval=raise_cancelled)
    with pytest.raises(asyncio.CancelledError):
        run_sync(deliver_reports(replace(guard.runtime.ports, engine=engine)))
    assert [leased.kind for leased in journal.lease_batch(2e6, 10)] == list(ReportKind)


def test_a_slow_delivery_releases_reports_after_half_their_lease(
    guard: BighubGuard, journal: Any, clock: Clock
) -> None:
    for number in range(3):
        run(journal, call(number))
    taken: list[int] = []

    async def slow(body: Any) -> None:
        clock.now += 31.0
        taken.append(journal.pending_count())

    engine = replace(guard.runtime.ports.engine, resolve_approval=slow)
    ports = replace(guard.runtime.ports, engine=engine, monotonic=clock)
    assert run_sync(deliver_reports(ports)).delivered_count == 9
    assert taken == [9, 8, 7]


def test_an_expired_lease_makes_its_reports_available_again(journal: Any, clock: Clock) -> None:
    run(journal, call(1))
    assert len(journal.lease_batch(2e6, 10)) == 3
    assert not journal.lease_batch(2e6, 10)
    clock.now += DELIVERY_LEASE + 1.0
    if journal.durable:
        let_pass(journal, DELIVERY_LEASE + 1.0)
    assert len(journal.lease_batch(2e6, 10)) == 3


@pytest.mark.parametrize("step", [-86_400.0, -1_000.0, 86_400.0])
def test_a_clock_that_is_set_keeps_no_report_back(
    journal: Any, bighub: RecordingBighub, clock: Clock, step: float
) -> None:
    with BighubGuard(bighub=bighub, journal=journal, clock=clock, retries=0) as guard:
        bighub.away = True
        run(journal, call(1))
        run_sync(deliver_reports(guard.runtime.ports))
        bighub.away = False
        clock.now += step
        assert run_sync(deliver_reports(guard.runtime.ports)).delivered_count == 3


# An interrupt between the creation of a coroutine and its start.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_an_interrupt_anywhere_after_a_tool_does_not_lose_its_outcome() -> None:
    for number in range(1, 1_000):
        bighub = ScriptedBighub()
        bighub.in_process = True  # type: ignore[attr-defined]  # answers in process
        with BighubGuard(bighub=bighub) as guard:
            interrupted = _interrupts_delivery(guard, number)
            assert guard.journal.find([call(1).key])[call(1).key].state is State.EXECUTED
            assert guard.flush() == 0, f"a report is pending after call {number}"
        assert set(bighub.statuses) == {"SUCCESS"}
        if not interrupted:
            break  # there are no more calls
    assert 50 < number < 999


def _interrupts_delivery(guard: BighubGuard, number: int) -> bool:
    """Whether an interrupt hits the `number`th Python call after the tool, if there is one."""
    before = sys.getprofile()

    async def tool(record: CallRecord) -> ToolFinished:
        ended = ToolFinished(ToolSucceeded("ok"))
        sys.setprofile(Signal("/bighub_langgraph/", number))
        return ended

    guard.journal.insert([decided_record()._replace(key=call(1).key, turn="message-1")], REPORTING)
    try:
        run_sync(claim_and_execute(call(1).key, guard.runtime.ports, tool))
        guard.runtime.delivery.deliver("message-1")
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(before)
    return False


def test_two_workers_share_an_outbox_and_deliver_each_report_once(
    guard: BighubGuard, journal: Any, deliveries: list[tuple[str, str]]
) -> None:
    for number in range(150):
        run(journal, call(number))
    workers = [threading.Thread(target=guard.flush) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert guard.flush() == 0
    kinds = [kind for kind, _ in deliveries]
    assert (kinds.count("approval"), kinds.count("outcome")) == (150, 150)


@given(st.integers(0, 10**9), st.floats(0, 1))
def test_waits_are_bounded(tries: int, chance: float) -> None:
    assert 1.0 <= retry_delay(tries, lambda: chance) <= 1.25 * LONGEST_DELAY


def test_an_outage_takes_no_random_numbers_from_a_program_that_seeded_them(journal: Any) -> None:
    random.seed(7)
    expected = random.random()
    random.seed(7)
    bighub = ScriptedBighub()
    bighub.away = True
    run(journal, call(1))
    with BighubGuard(bighub=bighub, journal=journal, retries=0) as guard:
        assert guard.flush() == 3
        assert random.random() == expected
        bighub.away = False


@pytest.mark.parametrize("way", ["deliver", "schedule"])
def test_reports_are_delivered_at_close_if_no_thread_can_be_started(
    journal: Any, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    def full(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    bighub = ScriptedBighub()
    run(journal, call(1))
    guard = BighubGuard(bighub=bighub, journal=journal)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", full)
        getattr(guard.runtime.delivery, way)()
    guard.runtime.delivery.close()
    assert bighub.statuses == ["SUCCESS"]


# -- a service that fails --------------------------------------------------------------------------

FAILURES = {
    "500": Answer(500, {"detail": "oops"}),
    "429": Answer(429, {"detail": "slow down"}),
    "html": Answer(200, "<html>hello</html>", "text/html"),
    "garbage": Answer(200, "\x00{{{"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failing_service_stops_no_run_and_loses_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    monkeypatch.setenv("BIGHUB_API_KEY", "k")
    monkeypatch.setattr("bighub_langgraph.delivery_worker.AT_EXIT", 0.2)
    journal = Journal(f"sqlite:///{tmp_path / 'calls.db'}")
    run(journal, call(1))
    with service(FAILURES[failure]) as bad:
        guard = BighubGuard(bighub=bad.url, journal=journal, retries=0)
        guard.runtime.delivery.deliver("message-1")
        guard.close()
    pending = journal.pending_count(include_dead_letters=True)
    kept = [entry.report.kind for entry in journal.admin.outbox()]
    assert pending == len(kept)
    assert pending == 3
    journal.close()


NOTHING = [
    Answer(200, "<html>We will be back</html>", "text/html"),
    Answer(200, ""),
    Answer(200, '{"status": "rec'),
    Answer(200, "[]"),
    Answer(200, '[{"status": "recorded"}]'),
    Answer(200, "{}"),
    Answer(200, "null"),
    Answer(204, ""),
    Answer(202, "queued", "text/plain"),
    Answer(200, {"error": "maintenance"}),
    Answer(200, {"success": False}),
]


@pytest.mark.parametrize("reply", NOTHING, ids=lambda reply: f"{reply.status}{reply.body}")
def test_a_reply_of_the_service_that_confirms_nothing_is_no_delivery(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, reply: Answer
) -> None:
    monkeypatch.setenv("BIGHUB_API_KEY", "k")
    journal = MemoryJournal(chosen=True, clock=clock)
    for number in range(2):
        run(journal, call(number))
    yes = Answer(200, {"ok": True})
    with (
        service(reply, reply, yes) as bighub,
        BighubGuard(bighub=bighub.url, journal=journal, clock=clock, retries=0) as guard,
    ):
        run_sync(deliver_reports(guard.runtime.ports))
        # Both resolutions; the outcomes do not wait for them.
        assert (len(bighub.requests), journal.pending_count()) == (3, 4)
        clock.now += 400.0
        run_sync(deliver_reports(guard.runtime.ports))
        assert (len(bighub.requests), journal.pending_count()) == (6, 0)


@pytest.mark.parametrize(
    "part",
    [
        {"results": [{"ok": True}, {"ok": False}]},
        {"results": [{"id": 1}, {"error": "unknown request"}]},
        {"outcomes": [{"id": 1}], "errors": [{"index": 1}]},
        {"accepted": 1},
        {"reported": 1, "failed": 1},
    ],
)
def test_each_outcome_of_a_batch_is_judged(
    monkeypatch: pytest.MonkeyPatch, part: dict[str, Any]
) -> None:
    monkeypatch.setenv("BIGHUB_API_KEY", "k")
    journal = MemoryJournal(chosen=True)
    for number in range(2):
        run(journal, call(number))
    yes = Answer(200, {"ok": True})
    with (
        service(yes, yes, Answer(200, part), yes, Answer(422, {"detail": "no"}), yes) as bighub,
        BighubGuard(bighub=bighub.url, journal=journal) as guard,
    ):
        run_sync(deliver_reports(guard.runtime.ports))
        sent = [path.rpartition("/")[2] for path, _, _ in bighub.requests]
        assert sent == ["resolve", "resolve", "batch", "report", "report"]
        assert journal.pending_count() == 3  # an outcome, and memory that is not due yet


def test_a_delivery_that_is_never_confirmed_becomes_a_dead_letter(
    monkeypatch: pytest.MonkeyPatch, journal: Any, clock: Clock
) -> None:
    monkeypatch.setenv("BIGHUB_API_KEY", "k")
    monkeypatch.setattr("bighub_langgraph.delivery_worker.AT_EXIT", 0.2)
    run(journal, call(1))
    with service(Answer(204, "")) as bad, BighubGuard(bighub=bad.url, journal=journal) as guard:
        ports = replace(guard.runtime.ports, clock=clock)
        for tries in range(3 * MAX_UNCONFIRMED):
            assert journal.pending_count(include_dead_letters=True) == 3, tries
            clock.now += 400.0
            run_sync(deliver_reports(ports))
    assert journal.pending_count() == 0
    assert journal.pending_count(include_dead_letters=True) == 3
    assert len(bad.requests) == 3 * MAX_UNCONFIRMED


# -- entries that cannot be read -------------------------------------------------------------------

UNREADABLE = ["body = 'oops'", "body = '[]'", "body = 'null'", "body = '{}'", "kind = 'other'"]


@pytest.mark.parametrize("change", UNREADABLE)
def test_an_entry_that_cannot_be_read_becomes_a_dead_letter_and_the_rest_is_delivered(
    database: str, bighub: RecordingBighub, deliveries: list[tuple[str, str]], change: str
) -> None:
    with closing(Journal(database)) as journal:
        for number in range(3):
            run(journal, call(number))
        bad = {entry.report.kind: entry.report.id for entry in journal.admin.outbox()}
        with journal._db.transaction() as db:
            for number in bad.values():  # one of each kind
                execute(db, f"UPDATE bighub_outbox SET {change} WHERE id = :id", id=number)
        with BighubGuard(bighub=bighub, journal=journal) as guard:
            guard.runtime.delivery.deliver("message-1")
            assert guard.runtime.delivery.wait(10)
            kinds = [kind for kind, _ in deliveries]
            # A body without fields may still be refused by BIGHUB first, and is tried again.
            assert guard.flush() == 0 or change == "body = '{}'"
        assert kinds.count("approval") == kinds.count("outcome") == 2
        assert sum(int(number) for kind, number in deliveries if kind == "memory") == 2
        entries = journal.admin.outbox()
        assert {entry.report.id for entry in entries} == set(bad.values())
        for entry in entries:
            assert entry.dead_letter or change == "body = '{}'"
            assert "cannot be read" in entry.error or change == "body = '{}'"


def test_dropped_connections_lose_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIGHUB_API_KEY", "k")
    monkeypatch.setattr("bighub_langgraph.delivery_worker.AT_EXIT", 0.2)
    journal = Journal(f"sqlite:///{tmp_path / 'calls.db'}")
    run(journal, call(1))
    with cutting_connections() as (url, cut):
        guard = BighubGuard(bighub=url, journal=journal, retries=0)
        guard.runtime.delivery.deliver("message-1")
        guard.close()
    assert cut
    assert journal.pending_count() == 3
    journal.close()


@contextmanager
def cutting_connections() -> Iterator[tuple[str, list[Any]]]:
    """A service that hangs up as soon as it is called."""
    cut: list[Any] = []

    class HangUp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            cut.append(self.client_address)

    with socketserver.TCPServer(("127.0.0.1", 0), HangUp) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", cut
        server.shutdown()
        serving.join()


def test_a_service_that_hangs_does_not_delay_a_run_beyond_its_timeout(tmp_path: Path) -> None:
    held = threading.Event()
    bighub = ScriptedBighub()
    bighub.resolve = lambda **_: held.wait(20)  # type: ignore[method-assign,assignment]
    journal = Journal(f"sqlite:///{tmp_path / 'calls.db'}")
    run(journal, call(1))
    guard = BighubGuard(bighub=bighub, journal=journal, retries=0)
    guard.runtime.delivery.deliver("message-1")
    assert guard.runtime.delivery.wait(0.01) is False
    assert guard.flush(0.01) == 3
    held.set()
    assert guard.flush(10) == 0
    guard.close()
    journal.close()


def test_an_unavailable_journal_does_not_fail_a_run_that_has_ended(
    guard: BighubGuard, journal: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def raise_away(*_: Any, **__: Any) -> Any:
        raise JournalError("away")

    run(journal, call(1))
    immediate = replace(guard.runtime.ports.engine, in_process=True)
    away = type(
        "Away", (), {"lease_batch": raise_away, "pending_count": raise_away, "durable": True}
    )()
    ports = replace(guard.runtime.ports, engine=immediate, journal=away)
    worker = type(guard.runtime.delivery)(ports, guard.runtime.async_ports, on_loop=False)
    with caplog.at_level(logging.ERROR):
        worker.deliver()
        worker.close()
    assert "it will be tried again" in caplog.text


def test_a_call_that_ends_after_its_guard_is_closed_is_reported(
    guard: BighubGuard, journal: Any, deliveries: list[tuple[str, str]]
) -> None:
    guard.close()
    run(journal, call(1))
    guard.runtime.delivery.schedule()
    assert guard.runtime.delivery.wait(10)
    assert [kind for kind, _ in deliveries] == ["approval", "outcome"]


async def test_an_async_client_receives_reports_on_its_own_loop(tmp_path: Path) -> None:
    bighub = AsyncScriptedBighub()
    journal = Journal(f"sqlite:///{tmp_path / 'calls.db'}")
    run(journal, call(1))
    guard = BighubGuard(bighub=bighub, journal=journal, retries=0)
    await guard.runtime.delivery.deliver_async("message-1")
    assert await guard.runtime.delivery.wait_async(10)
    assert (bighub.blocking.statuses, journal.pending_count()) == (["SUCCESS"], 0)
    guard.close()
    journal.close()


async def test_delivery_on_the_loop_resumes_by_itself_after_an_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bighub_langgraph.delivery_schedule.retry_delay", lambda tries: 0.01)
    monkeypatch.setattr("bighub_langgraph.core.delivery.retry_delay", lambda tries: 0.0)
    bighub = AsyncScriptedBighub()
    bighub.blocking.away = True
    journal = Journal(f"sqlite:///{tmp_path / 'calls.db'}")
    run(journal, call(1))
    guard = BighubGuard(bighub=bighub, journal=journal, retries=0)
    await guard.runtime.delivery.deliver_async("message-1")
    assert await guard.runtime.delivery.wait_async(10)
    assert journal.pending_count() == 3
    bighub.blocking.away = False
    for _ in range(1_000):
        if not journal.pending_count():
            break
        await asyncio.sleep(0.01)
    assert journal.pending_count() == 0
    guard.close()
    journal.close()


# -- reports that are pending after an outage ------------------------------------------------------

WAYS = ("from a thread", "in place", "from the loop", "in place on the loop")


class DeliveryHost:
    """A guard that delivers its reports in one of four ways."""

    def __init__(self, way: str, journal: Any, clock: Clock) -> None:
        client: Any = AsyncScriptedBighub() if "loop" in way else ScriptedBighub()
        client.in_process = "in place" in way
        self.blocking: ScriptedBighub = client.blocking if "loop" in way else client
        self.guard = BighubGuard(bighub=client, journal=journal, clock=clock, retries=0)
        self._journal = journal

    async def end_turn(self, turn: str) -> None:
        await self.guard.runtime.delivery.deliver_async(turn)
        assert await self.guard.runtime.delivery.wait_async(10)

    async def has_delivered_everything(self) -> bool:
        for _ in range(500):
            if not self._journal.pending_count():
                return True
            await asyncio.sleep(0.01)
        return False


@pytest.fixture(params=WAYS)
def host(
    request: pytest.FixtureRequest, journal: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DeliveryHost]:
    monkeypatch.setattr("bighub_langgraph.delivery_worker.AT_EXIT", 0.2)
    made = DeliveryHost(request.param, journal, clock)
    yield made
    made.blocking.away = False
    made.guard.close()


async def test_pending_reports_are_delivered_after_an_outage_without_another_turn(
    host: DeliveryHost, journal: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bighub_langgraph.delivery_schedule.retry_delay", lambda tries: 0.01)
    host.blocking.away = True
    run(journal, call(1))
    await host.end_turn("message-1")
    assert journal.pending_count() == 3
    host.blocking.away = False
    clock.now += 10.0
    assert await host.has_delivered_everything()


async def test_pending_reports_are_delivered_after_an_outage_while_turns_continue(
    host: DeliveryHost, journal: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The delivery of a turn does not count as a failed attempt; its success ends the outage."""
    # After a failed attempt nothing is tried again until the delivery of a turn succeeds.
    monkeypatch.setattr(
        "bighub_langgraph.delivery_schedule.retry_delay", lambda tries: 1e6 if tries else 0.0
    )
    host.blocking.away = True
    for number in range(1, 6):
        run(journal, call(number, f"message-{number}"))
        await host.end_turn(f"message-{number}")
    host.blocking.away = False
    clock.now += 400.0
    run(journal, call(6, "message-6"))
    await host.end_turn("message-6")
    assert await host.has_delivered_everything()


def test_an_idle_blocking_client_delivers_pending_reports_after_an_outage(
    journal: Any, bighub: RecordingBighub, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bighub_langgraph.delivery_schedule.retry_delay", lambda tries: 0.01)
    bighub.in_process = bighub.away = True  # type: ignore[attr-defined]  # answers in process
    run(journal, call(1))
    with BighubGuard(bighub=bighub, journal=journal, clock=clock, retries=0) as guard:
        guard.runtime.delivery.deliver("message-1")
        bighub.away = False
        clock.now += 10.0
        assert eventually(lambda: not journal.pending_count())


def test_a_delivered_turn_leases_no_other_turn_when_nothing_is_pending(
    bighub: RecordingBighub, clock: Clock
) -> None:
    journal = RecordingJournal(chosen=True, clock=clock)
    with BighubGuard(bighub=bighub, journal=journal, clock=clock) as guard:
        for number in range(3):
            run(journal, call(number, f"message-{number}"))
            guard.runtime.delivery.deliver(f"message-{number}")
            assert guard.runtime.delivery.wait(10)
        assert journal.calls == ["lease_batch", "pending_count"] * 3


class RecordingJournal(MemoryJournal):
    """Records which of its methods the delivery calls."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.calls: list[str] = []

    def lease_batch(
        self, at: float, limit: int, turn: str | None = None, **how: bool
    ) -> Sequence[QueuedReport]:
        self.calls.append("lease_batch")
        return super().lease_batch(at, limit, turn, **how)

    def pending_count(self, *, include_dead_letters: bool = False) -> int:
        self.calls.append("pending_count")
        return super().pending_count(include_dead_letters=include_dead_letters)


def eventually(comes: Callable[[], bool]) -> bool:
    """Whether a condition that another thread fulfils becomes true."""
    pause = threading.Event()
    return any(comes() or pause.wait(0.01) for _ in range(500))


# -- the end of the program ------------------------------------------------------------------------

PROGRAM = """
import sys
from bighub_langgraph import BighubGuard, Journal
from tests.engines import ScriptedBighub
from tests.test_delivery import call, run

class PrintingBighub(ScriptedBighub):
    def report(self, **outcome):
        self._check()
        print("reported", outcome["status"], flush=True)
    report_batch = None

bighub = PrintingBighub()
bighub.away = sys.argv[1] == "away"
guard = BighubGuard(bighub=bighub, journal=Journal.in_memory())
run(guard.journal, call(1))
"""


def _run_program(how: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, how],
        capture_output=True,
        text=True,
        check=True,
    )


def test_reports_in_memory_are_delivered_when_the_program_ends() -> None:
    assert _run_program("there").stdout == "reported SUCCESS\n"


def test_reports_that_are_lost_when_the_program_ends_are_logged() -> None:
    ended = _run_program("away")
    assert ended.stdout == ""
    assert "3 entries for BIGHUB are lost" in ended.stderr


REFUSED_PROGRAM = """
import sys
from bighub_langgraph import BighubGuard, Journal
from tests.engines import ScriptedBighub
from tests.test_delivery import call, run

class Refusing(ScriptedBighub):
    def resolve(self, request_id, **resolution):
        print("request", flush=True)
        error = RuntimeError("the key is unknown")
        error.status_code = 401
        raise error

journal = Journal(sys.argv[1]) if sys.argv[1] else Journal.in_memory()
guard = BighubGuard(bighub=Refusing(), journal=journal)
run(guard.journal, call(1))
"""


@pytest.mark.parametrize(
    ("journal", "ending"),
    [("memory", ""), ("sqlite", ""), ("memory", "raise SystemExit"), ("sqlite", "guard.close()")],
)
def test_a_program_whose_key_is_refused_ends_after_one_request_and_one_line_of_log(
    tmp_path: Path, journal: str, ending: str
) -> None:
    url = f"sqlite:///{tmp_path / 'calls.db'}" if journal == "sqlite" else ""
    ran = subprocess.run(
        [sys.executable, "-c", REFUSED_PROGRAM + ending, url],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "request\n"
    [line] = ran.stderr.splitlines()
    assert "the key is unknown; check BIGHUB_API_KEY" in line
    assert ("delivery has stopped" if url else "3 entries for BIGHUB are lost") in line


def test_a_guard_or_client_that_was_not_used_delivers_nothing_when_it_is_forgotten(
    bighub: RecordingBighub, caplog: pytest.LogCaptureFixture
) -> None:
    gc.collect()  # what earlier tests have forgotten is not counted here
    caplog.clear()
    journal = Journal.in_memory()
    with BighubGuard(bighub=bighub, journal=journal) as guard:
        run(journal, call(1))
        bighub.away = True
        openai: Any = SimpleNamespace(responses=SimpleNamespace(create=print))
        for client in (
            BighubGuard(bighub=bighub, journal=journal),
            BighubOpenAI(openai_client=openai, bighub_client=bighub, journal=journal),
            BighubOpenAI(openai_client=openai, guard=guard),
        ):
            del client
        gc.collect()
        assert caplog.text == ""
        assert journal.pending_count() == 3
        bighub.away = False


def test_a_guard_that_is_garbage_collected_leaves_nothing_open(tmp_path: Path) -> None:
    guard = BighubGuard(bighub=ScriptedBighub(), journal=f"sqlite:///{tmp_path / 'calls.db'}")
    run(guard.journal, call(1))
    journal = weakref.ref(guard.journal)
    del guard
    gc.collect()
    # Its thread holds no reference to it, and its connections are closed without a ResourceWarning.
    assert journal() is None
