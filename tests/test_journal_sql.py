"""The journal on SQLite and PostgreSQL: what it keeps, who wins, and what it survives."""

import itertools
import logging
import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from bighub_langgraph import BighubGuard, BighubOpenAI, Journal, LocalBighub
from bighub_langgraph.core.errors import (
    ConfigurationError,
    InvalidTransition,
    JournalError,
    RecordNotFound,
)
from bighub_langgraph.core.lifecycle import (
    ClaimReleased,
    ExecutionFinished,
    ExecutionPaused,
    ExecutionStarted,
    OwnerLost,
    RerunAllowed,
)
from bighub_langgraph.core.models import CallRecord, State, ToolFailed, ToolSucceeded
from bighub_langgraph.core.ports import WorkClaim
from bighub_langgraph.core.reporting import ReportingConfig, ReportKind
from bighub_langgraph.journal import schema
from bighub_langgraph.journal.liveness import is_alive
from bighub_langgraph.journal.memory_journal import MemoryJournal
from bighub_langgraph.local import tables
from bighub_langgraph.sqldb import Database, execute
from tests import postgres
from tests.calls import decided_record
from tests.engines import ScriptedBighub
from tests.faults.killing import forkserver
from tests.local_engine import Signal

REPORTING = ReportingConfig()


def call(key: str = "a" * 32, **fields: Any) -> CallRecord:
    """A call that may run."""
    return decided_record()._replace(key=key, created_at=1.0, **fields)


def ran(journal: Journal, record: CallRecord, at: float = 0.0) -> CallRecord:
    """Take a call from its claim to its result."""
    owner = f"{journal.owner}/1"
    journal.insert([record], REPORTING)
    journal.transition(record.key, ExecutionStarted(owner, at), REPORTING)
    return journal.transition(
        record.key, ExecutionFinished(owner, ToolSucceeded("done")), REPORTING
    )


@pytest.mark.parametrize("kind", [str, Path, lambda path: f"sqlite:///{path}"])
def test_a_journal_and_a_guard_take_the_path_or_the_url_of_a_file(
    tmp_path: Path, kind: Callable[[Path], Any]
) -> None:
    location = kind(tmp_path / "calls.db")
    with closing(Journal(location)) as journal:
        ran(journal, call())
    openai: Any = SimpleNamespace(responses=SimpleNamespace(create=print))
    bighub = ScriptedBighub()
    client = BighubOpenAI(openai_client=openai, bighub_client=bighub, journal=location)
    with client, BighubGuard(bighub=bighub, journal=location) as guard:
        assert guard.journal.find([call().key])
    assert [file.name for file in tmp_path.iterdir()] == ["calls.db"]


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_url_of_postgresql_needs_no_driver(postgres_server: str, scheme: str) -> None:
    with postgres.database(postgres_server) as database:
        url = f"{scheme}://{database.partition('://')[2]}"
        with closing(Journal(url)) as journal, LocalBighub(url):
            assert ran(journal, call()).state is State.EXECUTED


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("", "in_memory"),
        (":memory:", "in_memory"),
        ("sqlite://", "in_memory"),
        ("mysql://me:secret@host/name", "not on mysql"),
        ("postgresql://me:secret@x@host:port/name", "cannot be parsed"),
        ("://me:secret@host", "cannot be parsed"),
    ],
)
def test_a_location_that_is_none_is_refused_without_its_password(
    location: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        Journal(location)
    assert "secret" not in str(refused.value)


@pytest.fixture
def journal(database: str) -> Iterator[Journal]:
    journal = Journal(database)
    yield journal
    journal.close()


def test_a_record_comes_back_as_it_went_in(journal: Journal, database: str) -> None:
    [stored] = journal.insert([call()], REPORTING)
    final = journal.transition(stored.key, ExecutionStarted(f"{journal.owner}/1", 5.0), REPORTING)
    other = Journal(database)
    assert other.find([stored.key]) == {stored.key: final}
    other.close()


@pytest.mark.parametrize(
    "result", [ToolSucceeded({"a": [1, 2.5, None]}), ToolSucceeded("x"), ToolFailed("no", {"b": 1})]
)
def test_a_result_comes_back_as_it_went_in(journal: Journal, database: str, result: Any) -> None:
    [stored] = journal.insert([call()], REPORTING)
    owner = f"{journal.owner}/1"
    journal.transition(stored.key, ExecutionStarted(owner, 0.0), REPORTING)
    journal.transition(stored.key, ExecutionFinished(owner, result), REPORTING)
    other = Journal(database)
    assert other.find([stored.key])[stored.key].result == result
    other.close()


def test_any_text_of_a_model_can_be_stored(journal: Journal, database: str) -> None:
    odd = {"thread": "t\0", "tool": "\ud83d refund", "call_id": "\0", "turn": "\udfff"}
    [stored] = journal.insert([call(**odd)], REPORTING)
    owner = f"{journal.owner}/1"
    journal.transition(stored.key, ExecutionStarted(owner, 0.0), REPORTING)
    final = journal.transition(
        stored.key, ExecutionFinished(owner, ToolFailed("\0 \ud800")), REPORTING
    )
    journal.close()
    other = Journal(database)
    assert other.find([stored.key]) == {stored.key: final}
    assert [entry.kind for entry in other.lease_batch(1e12, 10, "\udfff")] == [
        ReportKind.OUTCOME,
        ReportKind.MEMORY,
    ]
    other.close()


def test_the_first_to_store_a_call_wins(journal: Journal, database: str) -> None:
    [stored] = journal.insert([call()], REPORTING)
    other = Journal(database)
    [theirs] = other.insert([call()._replace(state=State.AWAITING)], REPORTING)
    assert theirs == stored
    other.close()


def test_a_call_starts_once(journal: Journal, database: str) -> None:
    journal.insert([call()], REPORTING)
    other = Journal(database)
    journal.transition(call().key, ExecutionStarted("a/1", 0.0), REPORTING)
    with pytest.raises(InvalidTransition):
        other.transition(call().key, ExecutionStarted("b/1", 0.0), REPORTING)
    with pytest.raises(InvalidTransition):
        journal.transition(call().key, ExecutionStarted("a/2", 0.0), REPORTING)
    other.close()


def test_a_record_that_another_process_changed_is_read_again(
    journal: Journal, database: str
) -> None:
    journal.insert([call()], REPORTING)
    journal.transition(
        call().key, ExecutionStarted("a/1", 0.0), REPORTING
    )  # and remembered as running
    other = Journal(database)
    other.transition(call().key, OwnerLost("a/1", "gone"), REPORTING)
    other.transition(call().key, RerunAllowed("idempotent"), REPORTING)
    again = journal.transition(call().key, ExecutionStarted("a/2", 0.0), REPORTING)
    assert (again.state, again.owner, again.starts) == (State.RUNNING, "a/2", 2)
    other.close()


def test_the_owner_may_finish_late(journal: Journal) -> None:
    journal.insert([call()], REPORTING)
    journal.transition(call().key, ExecutionStarted("a/1", 0.0), REPORTING)
    journal.transition(call().key, OwnerLost("a/1", "gone, it seemed"), REPORTING)
    late = journal.transition(
        call().key, ExecutionFinished("a/1", ToolSucceeded("done")), REPORTING
    )
    assert (late.state, late.result) == (State.EXECUTED, ToolSucceeded("done"))
    assert journal.pending_count() == 2  # its outcome and its memory event


def test_a_transition_of_a_missing_call_is_an_error(journal: Journal) -> None:
    with pytest.raises(RecordNotFound, match="evaluate the call again"):
        journal.transition("b" * 32, ExecutionStarted("a/1", 0.0), REPORTING)


def test_the_result_and_its_outcome_are_one_transaction(journal: Journal) -> None:
    journal.insert([call()], REPORTING)
    journal.transition(call().key, ExecutionStarted("a/1", 0.0), REPORTING)
    unserializable = ReportingConfig(source=object())  # type: ignore[arg-type]  # no JSON, so it cannot be queued
    with pytest.raises(TypeError):
        journal.transition(
            call().key, ExecutionFinished("a/1", ToolSucceeded("done")), unserializable
        )
    assert journal.find([call().key])[call().key].state is State.RUNNING
    assert (journal.pending_count(), len(journal.admin.history(call().key))) == (0, 2)


def test_a_redaction_runs_outside_the_write_transaction(journal: Journal) -> None:
    other = call("b" * 32)
    journal.insert([call(), other], REPORTING)
    owner = f"{journal.owner}/1"
    journal.transition(call().key, ExecutionStarted(owner, 0.0), REPORTING)

    def claims_another(value: Any) -> Any:
        if not journal.find([other.key])[other.key].starts:
            journal.transition(other.key, ExecutionStarted(owner, 0.0), REPORTING)
        return value

    reporting = ReportingConfig(redact=claims_another)
    assert journal.transition(
        call().key, ExecutionFinished(owner, ToolSucceeded("done")), reporting
    ).is_final
    assert journal.find([other.key])[other.key].state is State.RUNNING


def test_threads_of_one_process_claim_each_call_once(journal: Journal) -> None:
    keys = [f"{number:032x}" for number in range(25)]
    journal.insert([call(key) for key in keys], REPORTING)
    won: list[str] = []

    def claim_all(owner: str) -> None:
        for key in keys:
            try:
                journal.transition(
                    key, ExecutionStarted(f"{journal.owner}/{owner}", 0.0), REPORTING
                )
            except InvalidTransition:
                continue
            won.append(key)

    threads = [threading.Thread(target=claim_all, args=(str(number),)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == keys


# -- owners ----------------------------------------------------------------------------------------


def _claim_and_hang(database: str, ready: Any) -> None:
    journal = Journal(database)
    journal.transition(call().key, ExecutionStarted(f"{journal.owner}/1", 0.0), REPORTING)
    ready.set()
    signal.pause()


def test_a_killed_process_is_dead_at_once_even_as_a_zombie(journal: Journal, database: str) -> None:
    journal.insert([call()], REPORTING)
    ours = multiprocessing.get_context("spawn")  # a child of our own, to leave as a zombie
    ready = ours.Event()
    process = ours.Process(target=_claim_and_hang, args=(database, ready))
    process.start()
    assert ready.wait(30)
    running = journal.find([call().key])[call().key]
    assert not journal.is_owner_dead(running)
    os.kill(process.pid or 0, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid or 0, os.WEXITED | os.WNOWAIT)  # dead, and a zombie still
    assert journal.is_owner_dead(running)
    process.join()
    assert journal.is_owner_dead(running)


def test_a_reused_process_number_is_another_process(journal: Journal) -> None:
    where, number, started, chance = journal.owner.split(":")
    assert is_alive(journal.owner) is True
    assert is_alive(f"{where}:{number}:{int(started) - 1}:{chance}") is False


def let_pass(journal: Journal, seconds: float) -> None:
    """Let time pass by the clock of the database, which no process can set."""
    with journal._db.transaction() as db:
        for table, column in (("bighub_owners", "beat_at"), ("bighub_outbox", "leased_until")):
            execute(db, f"UPDATE {table} SET {column} = {column} - :seconds", seconds=seconds)


def run_elsewhere(journal: Journal, here: Journal) -> CallRecord:
    """Claim a call in a process that cannot be looked at from here: of another container."""
    boot = here.owner.partition(":")[0].rpartition("-")[0]
    process = f"{boot}-elsewhere:7:7:x"
    journal._process._cached_name = (process, os.getpid())
    journal.insert([call()], REPORTING)
    return journal.transition(call().key, ExecutionStarted(f"{process}/1", 0.0), REPORTING)


def test_a_process_that_cannot_be_seen_is_dead_when_its_lease_expires(database: str) -> None:
    with closing(Journal(database)) as here, closing(Journal(database)) as there:
        running = run_elsewhere(there, here)
        assert not here.is_owner_dead(running)
        let_pass(here, 29.0)
        assert not here.is_owner_dead(running)
        let_pass(here, 2.0)
        assert here.is_owner_dead(running)


@pytest.mark.parametrize("runner", [0.0, -60.0, -3600.0, 3600.0])
@pytest.mark.parametrize("waiter", [0.0, 60.0, 3600.0, -3600.0])
def test_a_clock_that_is_set_makes_no_process_dead_and_ends_no_lease(
    database: str, runner: float, waiter: float
) -> None:
    steps = {"runner": 0.0, "waiter": 0.0}
    with (
        closing(Journal(database, clock=lambda: time.time() + steps["waiter"])) as here,
        closing(Journal(database, clock=lambda: time.time() + steps["runner"])) as there,
    ):
        running = run_elsewhere(there, here)
        ran(there, call("b" * 32))
        steps |= {"runner": runner, "waiter": waiter}
        there._beat()
        assert not here.is_owner_dead(running)
        assert here.lease_batch(1e12, 10) == []
        assert len(there.lease_batch(1e12, 10)) == 2


def test_a_process_from_before_the_machine_started_is_dead_on_sqlite(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "calls.db")) as journal:
        journal.insert([call()], REPORTING)
        owner = "00000000-0000-1:7:7:x/1"
        assert journal.is_owner_dead(
            journal.transition(call().key, ExecutionStarted(owner, 0.0), REPORTING)
        )


def test_a_forked_child_has_a_name_and_connections_of_its_own(
    journal: Journal, database: str
) -> None:
    journal.insert([call(), call("b" * 32)], REPORTING)
    running = journal.transition(call().key, ExecutionStarted(f"{journal.owner}/1", 0.0), REPORTING)
    child = os.fork()
    if child == 0:
        try:
            record = journal.transition(
                "b" * 32, ExecutionStarted(f"{journal.owner}/1", 0.0), REPORTING
            )
            os._exit(
                0 if record.owner != running.owner and not journal.is_owner_dead(running) else 1
            )
        except BaseException:  # noqa: BLE001 - the exit code reports it
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert journal.is_owner_dead(journal.find(["b" * 32])["b" * 32])
    assert journal.transition(
        call().key, ExecutionFinished(running.owner or "", ToolSucceeded(1)), REPORTING
    ).is_final


# -- opening ---------------------------------------------------------------------------------------


def _open_and_close(database: str, go: Any) -> None:
    go.wait(30)
    Journal(database).close()


def test_many_processes_may_open_a_new_database_at_once(database: str) -> None:
    go = forkserver.Event()
    opening = [forkserver.Process(target=_open_and_close, args=(database, go)) for _ in range(8)]
    for process in opening:
        process.start()
    go.set()
    for process in opening:
        process.join()
    assert [process.exitcode for process in opening] == [0] * 8


@pytest.mark.parametrize("opener", [Journal, LocalBighub])
def test_threads_that_open_a_new_file_together_wait_for_each_other(
    tmp_path: Path, opener: Any
) -> None:
    for number in range(30):
        together = threading.Barrier(4)

        def open_and_close(url: str, together: threading.Barrier = together) -> None:
            together.wait(30)
            opener(url).close()

        with ThreadPoolExecutor(4) as openers:
            list(openers.map(open_and_close, [f"sqlite:///{tmp_path}/{number}.db"] * 4))


def test_a_database_from_a_newer_program_is_refused(database: str) -> None:
    Journal(database).close()
    engine = sa.create_engine(database)
    with engine.begin() as db:
        db.execute(sa.text("UPDATE bighub_schema_versions SET version = 99"))
    engine.dispose()
    with pytest.raises(JournalError, match=r"version 99.*upgrade bighub-langgraph"):
        Journal(database)


def test_an_older_database_is_brought_up_to_date_once(database: str) -> None:
    tables = sa.MetaData()
    sa.Table("things", tables, sa.Column("name", sa.Text))
    steps_run: list[str] = []
    db = Database(database, label="the store", error=JournalError)
    assert db.migrate("things", tables) == 1
    steps = [lambda connection: steps_run.append(connection.dialect.name)]
    assert [db.migrate("things", tables, steps), db.migrate("things", tables, steps)] == [2, 2]
    assert len(steps_run) == 1
    with pytest.raises(JournalError, match="schema version 2, this program knows 1"):
        db.migrate("things", tables)
    db.close()


def test_no_table_of_the_journal_is_also_one_of_the_engine() -> None:
    assert not schema.metadata.tables.keys() & tables.metadata.tables.keys()


def test_journal_and_engine_may_share_a_database(database: str) -> None:
    with LocalBighub(database) as bighub:
        journal = Journal(database)
        journal.insert([call()], REPORTING)
        assert bighub.actions.status()["decisions"] == 0
        journal.close()


def test_calls_are_found_by_request_id_newest_first(journal: Journal, database: str) -> None:
    first, edited = call(), call("b" * 32)
    journal.insert([first], REPORTING)
    journal.insert([edited._replace(created_at=2.0)], REPORTING)
    assert first.request_id
    other = Journal(database)
    assert [record.key for record in other.find_by_request_id(first.request_id)] == [
        edited.key,
        first.key,
    ]
    assert other.find_by_request_id("another") == []
    other.close()


def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    Journal(f"sqlite:///{tmp_path / 'calls.db'}").close()
    assert (tmp_path / "calls.db").stat().st_mode & 0o777 == 0o600


def test_a_closed_journal_leaves_one_file_behind(tmp_path: Path) -> None:
    journal = Journal(f"sqlite:///{tmp_path / 'calls.db'}")
    ran(journal, call())
    journal.find([call().key])
    journal.close()
    assert [file.name for file in tmp_path.iterdir()] == ["calls.db"]


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("mysql://x/y", "sqlite:/// or postgresql"),
        ("sqlite://", "in_memory"),
        ("sqlite:///:memory:", "in_memory"),
    ],
)
def test_a_url_that_cannot_work_is_refused_with_the_remedy(url: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=remedy):
        Journal(url)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(f"sqlite:///{tmp_path / 'nowhere' / 'calls.db'}")


def test_an_error_never_contains_the_password() -> None:
    with pytest.raises(JournalError) as refused:
        Journal("postgresql+psycopg://user:geheim@127.0.0.1:1/none")
    assert "geheim" not in str(refused.value)


# -- when it is closed -----------------------------------------------------------------------------


def test_a_journal_that_is_closed_while_it_is_read_leaves_no_connection_open(
    tmp_path: Path,
) -> None:
    journal = Journal(f"sqlite:///{tmp_path / 'calls.db'}")
    journal.insert([call()], REPORTING)
    closed: list[object] = []
    reading: list[object] = []

    def close_it(connection: object, *_: object) -> None:
        reading.append(connection)
        journal.close()

    def note(connection: object, _: object) -> None:
        closed.append(connection)

    sa.event.listen(sa.Pool, "checkout", close_it)
    sa.event.listen(sa.Pool, "close", note)
    try:
        assert journal.find(["a" * 32])
        assert reading
        assert all(connection in closed for connection in reading)
    finally:
        sa.event.remove(sa.Pool, "checkout", close_it)
        sa.event.remove(sa.Pool, "close", note)


def test_a_journal_that_is_closed_while_it_is_written_leaves_no_connection_open(
    tmp_path: Path,
) -> None:
    journal = Journal(f"sqlite:///{tmp_path / 'calls.db'}")
    ran(journal, call())
    with journal.database.transaction():
        journal.close()
    # SQLite removes its log when the last connection is closed.
    assert [file.name for file in tmp_path.iterdir()] == ["calls.db"]


def test_an_interrupt_anywhere_leaves_the_journal_writable_and_closable(tmp_path: Path) -> None:
    for number in range(1, 200):
        journal = Journal(f"sqlite:///{tmp_path}/{number}.db")
        signal = Signal("bighub_langgraph/sqldb.py", number)
        try:
            with signal.comes():
                journal.insert([call()], REPORTING)
        except KeyboardInterrupt:
            pass
        for others in (partial(journal.insert, [call("b" * 32)], REPORTING), journal.close):
            other = threading.Thread(target=others, daemon=True)
            other.start()
            other.join(20)
            assert not other.is_alive(), f"it stays locked after call {number}"
        if signal.remaining > 0:
            break  # there are no more calls
    assert 5 < number < 199


def test_a_write_that_times_out_is_an_error_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bighub_langgraph.sqldb.BUSY_TIMEOUT", 0.01)
    journal = Journal(f"sqlite:///{tmp_path / 'calls.db'}")
    failed: list[JournalError] = []

    def open_another() -> None:
        with pytest.raises(JournalError, match="no turn to use it within") as error:
            journal.insert([call("b" * 32)], REPORTING)
        failed.append(error.value)

    with journal._db.transaction():
        other = threading.Thread(target=open_another)
        other.start()
        other.join()
    assert failed
    assert journal.find(["b" * 32]) == {}
    assert journal.insert([call()], REPORTING)
    journal.close()


# -- when the database cannot ----------------------------------------------------------------------


@pytest.fixture
def full_disk() -> Iterator[threading.Event]:
    """Every SQLite connection made while it is set can grow its file no further."""
    full = threading.Event()

    def limit(connection: Any, _: object) -> None:
        if full.is_set() and isinstance(connection, sqlite3.Connection):
            [pages] = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count={pages}")

    sa.event.listen(sa.Engine, "connect", limit)
    yield full
    sa.event.remove(sa.Engine, "connect", limit)


def test_on_a_full_disk_nothing_starts_and_the_error_says_why(
    tmp_path: Path, full_disk: threading.Event
) -> None:
    url = f"sqlite:///{tmp_path / 'calls.db'}"
    journal = Journal(url)
    keys = [f"{number:032x}" for number in range(200)]
    journal.insert([call(key) for key in keys], REPORTING)
    journal.close()
    full_disk.set()
    journal = Journal(url)
    started: list[str] = []

    def start_all() -> None:
        for key in keys:
            journal.transition(key, ExecutionStarted(f"{journal.owner}/1", 0.0), REPORTING)
            started.append(key)

    with pytest.raises(JournalError, match=r"calls\.db cannot be used: .*full.*not full"):
        start_all()
    states = {key: record.state for key, record in journal.find(keys).items()}
    assert {key for key, state in states.items() if state is State.RUNNING} == set(started)
    journal.close()


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (lambda owner: ExecutionFinished(owner, ToolSucceeded("done")), State.EXECUTED),
        (lambda owner: OwnerLost(owner, "cancelled"), State.UNKNOWN),
        (ExecutionPaused, State.PAUSED),
        (ClaimReleased, State.ALLOWED),
    ],
)
def test_an_event_that_could_not_be_stored_is_written_when_the_database_returns(
    tmp_path: Path, event: Any, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "calls.db"
    journal = Journal(f"sqlite:///{file}")
    journal.insert([call()], REPORTING)
    owner = f"{journal.owner}/1"
    journal.transition(call().key, ExecutionStarted(owner, 0.0), REPORTING)
    with _unusable(file), pytest.raises(JournalError):
        journal.transition(call().key, event(owner), REPORTING)
    with caplog.at_level(logging.WARNING):
        journal.close()
    again = Journal(f"sqlite:///{file}")
    assert again.find([call().key])[call().key].state is state
    again.close()


def test_an_event_that_could_not_be_stored_is_written_without_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "calls.db"
    journal = Journal(f"sqlite:///{file}", lease=30.0)
    journal.insert([call()], REPORTING)
    owner = f"{journal.owner}/1"
    journal.transition(call().key, ExecutionStarted(owner, 0.0), REPORTING)
    with _unusable(file), pytest.raises(JournalError):
        journal.transition(call().key, ExecutionFinished(owner, ToolSucceeded("done")), REPORTING)
    waiting = threading.Event()
    for _ in range(200):
        if journal.find([call().key])[call().key].state is State.EXECUTED:
            break
        waiting.wait(0.05)
    assert journal.pending_count() == 2
    journal.close()


def test_a_claim_that_could_not_be_stored_is_not_written_later(tmp_path: Path) -> None:
    file = tmp_path / "calls.db"
    journal = Journal(f"sqlite:///{file}")
    journal.insert([call()], REPORTING)
    with _unusable(file), pytest.raises(JournalError):
        journal.transition(call().key, ExecutionStarted(f"{journal.owner}/1", 0.0), REPORTING)
    journal.close()
    again = Journal(f"sqlite:///{file}")
    assert again.find([call().key])[call().key].state is State.ALLOWED
    again.close()


class _unusable:  # noqa: N801 - reads as a sentence
    """A database whose table is elsewhere for a while."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def _rename(self, old: str, new: str) -> None:
        db = sqlite3.connect(self._file)
        db.execute(f"ALTER TABLE {old} RENAME TO {new}")
        db.close()

    def __enter__(self) -> None:
        self._rename("bighub_calls", "elsewhere")

    def __exit__(self, *_: object) -> None:
        self._rename("elsewhere", "bighub_calls")


def test_a_live_process_is_never_taken_for_dead_while_the_clock_is_set(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = itertools.count(psutil.boot_time(), 1.0)
    assert is_alive(journal.owner)
    monkeypatch.setattr(psutil, "boot_time", lambda: next(times))
    assert is_alive(journal.owner) is None


# -- claims of work that is no call ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgresql"])
def test_one_process_has_a_claim_until_it_ends_it_or_is_gone(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    with ExitStack() as resources:
        if kind == "memory":
            here: Any = Journal.in_memory()
        else:
            url = f"sqlite:///{tmp_path / 'calls.db'}"
            if kind == "postgresql":
                server = request.getfixturevalue("postgres_server")
                url = resources.enter_context(postgres.database(server))
            here = resources.enter_context(closing(Journal(url)))
        first, second = f"{here.owner}/1", f"{here.owner}/2"
        assert here.claim_work("k", first) == here.claim_work("k", second) == WorkClaim(first)
        here.end_work_claim("k", second)  # not its own
        assert here.claim_work("k", second) == WorkClaim(first)
        here.end_work_claim("k", first)
        assert here.claim_work("k", second) == WorkClaim(second)
        child = os.fork()
        if child == 0:
            # A forked child is another process, and its parent is alive where that can be seen.
            here.claim_work("other", f"{here.owner}/1")
            os._exit(0 if here.claim_work("k", "x/1").owner == second or kind == "memory" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert here.claim_work("other", first) == WorkClaim(first)  # the child is gone
        here.end_work_claim("k", second, {"answer": 42})
        here.end_work_claim("k", second)
        assert here.claim_work("k", first) == WorkClaim(second, {"answer": 42})
        here.prune(-1.0)
        if kind != "memory":  # one in memory keeps the newest results
            assert here.claim_work("k", first) == WorkClaim(first)


def test_a_journal_in_memory_keeps_the_newest_results_of_claims() -> None:
    journal = MemoryJournal(max_final_calls=2)
    for key in "abc":
        journal.claim_work(key, f"{journal.owner}/1")
        journal.end_work_claim(key, f"{journal.owner}/1", {"key": key})
    results = [journal.claim_work(key, f"{journal.owner}/2").result for key in "cba"]
    assert results == [{"key": "c"}, {"key": "b"}, None]


# -- the file of the journal -----------------------------------------------------------------------


def _delete(path: Path, _: Path) -> None:
    path.unlink()


def _replace_by_new(path: Path, other: Path) -> None:
    Journal(other).close()
    other.replace(path)


def _replace_by_text(path: Path, other: Path) -> None:
    other.write_text("no database" * 1000)
    other.replace(path)


@pytest.mark.parametrize("change", [_delete, _replace_by_new, _replace_by_text])
def test_a_file_that_is_deleted_or_replaced_while_it_is_open_is_noticed(
    tmp_path: Path, change: Callable[[Path, Path], None]
) -> None:
    path, backup = tmp_path / "calls.db", tmp_path / "backup.db"
    with closing(Journal(path)) as journal:
        journal.insert([call(), call("b" * 32)], REPORTING)
        backup.hardlink_to(path)
        change(path, tmp_path / "other.db")
        for use in (
            lambda: ran(journal, call("c" * 32)),
            lambda: journal.transition(call().key, ExecutionStarted("me/1", 0.0), REPORTING),
            lambda: journal.find([call().key]),
            journal.pending_count,
        ):
            with pytest.raises(JournalError, match="deleted or replaced while it was open"):
                use()
        backup.replace(path)
        assert ran(journal, call("b" * 32)).state is State.EXECUTED


@pytest.mark.parametrize("content", ["text " * 500, "x" * 20])
def test_a_file_that_is_no_database_is_an_error_of_the_journal(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(JournalError, match=r"notes\.txt cannot be used: file is not a database"):
        Journal(path)
    assert path.read_text() == content


def test_no_thread_reads_sqlite_while_the_process_forks(tmp_path: Path) -> None:
    reading, forking, ended = threading.Event(), threading.Event(), []
    with closing(Journal(tmp_path / "calls.db")) as journal:

        def hold_reading() -> None:
            with journal._db.read_connection():  # SQLite's own locks cannot be freed in a child
                reading.set()
                forking.wait(10)
                ended.append(True)

        reader = threading.Thread(target=hold_reading)
        reader.start()
        reading.wait(10)
        os.register_at_fork(before=forking.set)  # before the hooks that were registered earlier
        child = os.fork()
        if child == 0:
            os._exit(0 if ended and journal.find([call().key]) == {} else 1)
        reader.join()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
