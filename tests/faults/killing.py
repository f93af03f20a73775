"""Starts processes, kills them, and checks what they leave behind."""

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any

import sqlalchemy as sa

from bighub_langgraph import Journal
from bighub_langgraph.core.models import State
from bighub_langgraph.journal.admin import CallView
from tests.faults.office import Office

# A server that has imported everything forks each process: hundreds are killed in a minute.
forkserver = multiprocessing.get_context("forkserver")
forkserver.set_forkserver_preload(["tests.faults.hosts", "tests.faults.page"])

LONGEST = 60.0


@dataclass
class Killer:
    """Kills processes at random moments of their lives, a stated number of times.

    Attributes:
        kills: How often to kill.
        pauses: The share of the processes that is stopped for a moment instead, and goes on.
        life: How long a process lives if it is not killed, estimated.
    """

    kills: int
    chance: random.Random
    life: float = 0.2
    pauses: float = 0.0
    killed: int = 0
    paused: int = 0
    finished: list[int | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        # The first process also starts the server, whose life is not counted.
        started = forkserver.Process(target=time.monotonic)
        started.start()
        started.join()

    def run(self, work: Callable[..., Any], *arguments: Any) -> bool:
        """Start a process and kill it, or not; says whether it came to its end."""
        process = forkserver.Process(target=work, args=arguments)
        process.start()
        self._kill_or_wait([process])
        return process.exitcode == 0

    @contextmanager
    def running(self, work: Callable[..., Any], *arguments: Any) -> Iterator[None]:
        """The same for a process that works while the block does something else."""
        process = forkserver.Process(target=work, args=arguments)
        process.start()
        yield
        if process.is_alive():
            self._kill_or_wait([process])
        else:
            self.finished.append(process.exitcode)

    def run_several(self, number: int, work: Callable[..., Any], *arguments: Any) -> None:
        """The same for some processes at once, until each has ended or is killed."""
        processes = [forkserver.Process(target=work, args=arguments) for _ in range(number)]
        for process in processes:
            process.start()
        self._kill_or_wait(processes)

    def _kill_or_wait(self, processes: Sequence[BaseProcess]) -> None:
        began = time.monotonic()
        stopped: list[BaseProcess] = []
        for process in processes:
            wanted = self.killed < self.kills
            if not wanted:  # it may wait for one that is stopped
                _signal_all(stopped, signal.SIGCONT)
            process.join(self.chance.uniform(0, self.life) if wanted else LONGEST)
            if not process.is_alive():
                self._note_end(process, began)
            elif wanted and self.chance.random() < self.pauses:
                _signal(process, signal.SIGSTOP)
                stopped.append(process)
            else:
                assert wanted, "a process hangs that is not killed"
                process.kill()
                process.join()
                self.killed += 1
        _signal_all(stopped, signal.SIGCONT)  # the others have worked, or died, meanwhile
        for process in stopped:
            self.paused += 1
            process.join(LONGEST)
            assert not process.is_alive(), "a process hangs after a pause"
            self._note_end(process, began)

    def _note_end(self, process: BaseProcess, began: float) -> None:
        self.finished.append(process.exitcode)
        # Most kills shall hit a process at work, on a fast machine and on a slow one.
        self.life = 0.8 * self.life + 0.2 * (time.monotonic() - began)


def _signal_all(processes: Sequence[BaseProcess], number: signal.Signals) -> None:
    for process in processes:
        _signal(process, number)


def _signal(process: BaseProcess, number: signal.Signals) -> None:
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, number)


@contextmanager
def journal_of(office: Office) -> Iterator[Journal]:
    """The journal, opened by the test."""
    journal = Journal(office.database)
    yield journal
    journal.close()


def call_views(office: Office) -> list[CallView]:
    """Every call of a tool in the journal."""
    with journal_of(office) as journal:
        views = journal.admin.calls(limit=100_000)
    return [view for view in views if view.record.tool in office.tool_names]


def unknown_but_not_listed(office: Office) -> list[str]:
    """Calls that started, do not run any more, and are not shown as unknown by the journal."""
    return [
        line.record.key
        for line in call_views(office)
        if not line.record.is_final
        and line.record.state is not State.ALLOWED
        and office.count("started", line.record.key)
        and not line.outcome_unknown
    ]


def started_twice(office: Office) -> list[str]:
    """Calls that started more than once and may not."""
    return [
        line.record.key
        for line in call_views(office)
        if line.record.tool == "pay" and office.count("started", line.record.key) > 1
    ]


def took_effect_twice(office: Office) -> list[str]:
    """Calls that took effect more than once and may not."""
    return [
        line.record.key
        for line in call_views(office)
        if line.record.tool in {"pay", "book"} and office.count("effect", line.record.key) > 1
    ]


def paid_twice(office: Office) -> dict[tuple[str, str], int]:
    """Orders that were paid by more than one call of their thread."""
    paid = Counter(
        (line.record.thread, str(line.record.request.context["arguments"]))
        for line in call_views(office)
        if line.record.tool == "pay" and office.count("started", line.record.key)
    )
    return {order: number for order, number in paid.items() if number > 1}


def outcomes_by_call(office: Office) -> Counter[str]:
    """How often the engine has counted the outcome of each call."""
    engine = sa.create_engine(office.engine)
    with engine.connect() as db:
        rows = db.execute(sa.text("SELECT idempotency_key FROM bighub_outcomes")).all()
    engine.dispose()
    return Counter(str(key) for (key,) in rows)
