"""The worker that resumes agents: a thread goes on once its calls are answered.

It resumes threads of its own agent at the root, and only the questions of its own guard. The value
it resumes with grants nothing: what a person answered, the guard reads in the journal. A thread
whose process has died goes on where its checkpoint left it. One worker takes a thread at a time, by
a claim that ends with its process.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from langgraph.pregel import Pregel
from langgraph.types import Command

from bighub_langgraph.approvals.thread_state import (
    find_breakpoints,
    find_own_questions,
    is_left_behind,
)
from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.approval_answers import RECORDED
from bighub_langgraph.core.call_endings import cancel_call, expire_overdue_calls, record_answer
from bighub_langgraph.core.claims import build_work_key, new_owner_id
from bighub_langgraph.core.delivery import retry_delay
from bighub_langgraph.core.errors import (
    CallStillRunning,
    ConfigurationError,
    EngineError,
    RunInProgress,
)
from bighub_langgraph.core.jsonable import exception_text
from bighub_langgraph.core.models import ASKABLE_STATES, Answer, Approval, State
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.graph.tool_execution import AsyncGraphHost, GraphHost
from bighub_langgraph.guard import BighubGuard
from bighub_langgraph.journal.sql import Journal
from bighub_langgraph.journal.sql_resumes import PausedThread

log = logging.getLogger("bighub_langgraph")

# How often a worker looks for answers in the journal, in seconds.
POLL = 2.0
# How often it looks for answers in BIGHUB's queue, in seconds.
QUEUE_POLL = 10.0
# How many threads that wait for more answers are looked at before newly answered ones.
BATCH = 50
# A thread where nothing can be done yet is looked at after a change, or after so many seconds.
RECHECK = 10.0
# After so many seconds without an answer, and then again, a worker looks whether the checkpointer
# still knows the thread; how often it searches for such threads.
UNANSWERED_SECONDS = 600.0
UNANSWERED_POLL = 60.0
# How soon a worker that waits sees that it shall stop, in seconds.
PAUSE = 0.2
# How many runs of a thread may follow each other at once: one may ask what is answered already.
MAX_RUNS = 4
# After so many tries, which take about 20 minutes, a thread without a checkpoint is given up.
MAX_MISSING = 12
MISSING = "the checkpointer does not know its thread"
OTHER_GUARD = (
    "the checkpointer does not know its thread, and another guard of the name {!r} asked ({}), so "
    "its calls stay; give each agent of a journal a name of its own"
)

# What BIGHUB's queue says of a request that a person has answered.
_RESOLUTIONS = {"approved": Answer.APPROVE, "denied": Answer.REJECT}


class ApprovalWorker:
    """Resumes the threads of one agent when their calls are answered, expired or cancelled.

    Args:
        graph: The compiled graph whose threads it resumes: the outermost one, with a checkpointer.
        guard: The guard of this graph, with a name and a journal in a database.
        config_for: Returns the configuration for a thread, from the thread's id.
        context_for: Returns the context for a thread, from the thread's id.
        poll: How many seconds it waits when there is nothing to do.
        concurrency: How many threads it runs at a time.

    Raises:
        ConfigurationError: The agent cannot be resumed by a worker; the message says why.
    """

    def __init__(
        self,
        graph: Any,
        guard: BighubGuard,
        config_for: Callable[[str], Mapping[str, Any]] | None = None,
        context_for: Callable[[str], Any] | None = None,
        *,
        poll: float = POLL,
        concurrency: int = 4,
    ) -> None:
        if not isinstance(graph, Pregel) or not graph.checkpointer:
            raise ConfigurationError(
                "a worker resumes a compiled graph with a checkpointer, the one its threads are in"
            )
        if not guard.runtime.settings.name:
            raise ConfigurationError(
                "a worker resumes the threads of one agent: pass BighubGuard(name=...)"
            )
        if not isinstance(guard.journal, Journal):
            raise ConfigurationError(
                "a worker reads answers in a database: pass BighubGuard(journal=Journal(...))"
            )
        self._agent, self._queue = guard.runtime.settings.name, guard.journal.resumes
        self._own_guard = guard.runtime.settings.description
        self._graph, self._breakpoints = graph, find_breakpoints(graph)
        self._hosts = GraphHost(guard.runtime), AsyncGraphHost(guard.runtime)
        self._config_for, self._context_for = config_for, context_for
        self._poll, self._concurrency = poll, concurrency
        self._stop_event = threading.Event()
        # When each thread is to be looked at again though its calls have not changed.
        self._rechecks: dict[str, tuple[tuple[int, ...], float]] = {}
        self._queue_due_at = self._unanswered_due_at = 0.0  # by the monotonic clock

    def run(self, *, once: bool = False) -> None:
        """Resume threads until `stop`; with `once` until no thread can go on."""
        host, _ = self._hosts
        run_sync(self._run(host, once=once))

    async def arun(self, *, once: bool = False) -> None:
        """Async variant of `run`, for a graph with an async checkpointer."""
        _, host = self._hosts
        await self._run(host, once=once)

    def stop(self) -> None:
        """Return from `run` once the threads that run have come to their end or to a question."""
        self._stop_event.set()

    def list_failing_threads(self) -> list[PausedThread]:
        """Return the threads whose last run failed; each is tried again at its `due_at`."""
        return self._queue.find_failing(self._agent)

    async def _run(self, host: GraphHost, *, once: bool) -> None:
        lanes = [self._run_lane(host, once=once) for _ in range(self._concurrency)]
        await host.ports.gather(lanes)

    async def _run_lane(self, host: GraphHost, *, once: bool) -> None:
        while not self._stop_event.is_set():
            try:
                if await self._resume_next(host):
                    continue
            except Exception:
                if once:
                    raise
                log.exception("agent %r: its threads cannot be resumed at the moment", self._agent)
            seconds = 0.0
            while seconds < self._poll and not self._stop_event.is_set() and not once:
                await host.ports.sleep(PAUSE)
                seconds += PAUSE
            if once:
                return

    async def _resume_next(self, host: GraphHost) -> bool:
        """Resume a thread; return whether there may be more."""
        ports = host.ports
        await expire_overdue_calls(ports)
        ports.schedule_notification()  # also of calls whose own guard tells nobody
        if ports.monotonic() >= self._queue_due_at:
            self._queue_due_at = ports.monotonic() + QUEUE_POLL
            await self._take_answers_of_bighub(ports)
        now, at = ports.clock(), ports.monotonic()
        if await self._resume_decided(host):
            return True
        if at >= self._unanswered_due_at:
            self._unanswered_due_at = at + UNANSWERED_POLL
            oldest = at - UNANSWERED_SECONDS
            self._rechecks = {key: item for key, item in self._rechecks.items() if item[1] > oldest}
            values = (self._agent, now, now - UNANSWERED_SECONDS)
            for paused_thread in await ports.call(self._queue.find_unanswered, *values):
                if not self._stop_event.is_set():
                    await self._claim_and_resume(paused_thread, host)
        return False

    async def _resume_decided(self, host: GraphHost) -> bool:
        """Look at threads with answered calls; return whether one is new or has changed.

        First one of which nobody is asked any more, else some that may go on in part. Those that
        could not go on before are looked at again when there are no others, in turn.
        """
        ports = host.ports
        unchanged_threads: list[tuple[float, PausedThread]] = []
        for complete, limit in ((True, 1), (False, BATCH)):
            find = partial(self._queue.find_decided, complete=complete)
            looked_at = 0
            for paused_thread in await ports.call(find, self._agent, ports.clock()):
                changes, until = self._rechecks.get(paused_thread.thread, ((), 0.0))
                if changes == paused_thread.changes:
                    unchanged_threads.append((until, paused_thread))
                    continue
                looked_at += await self._claim_and_resume(paused_thread, host)
                if looked_at == limit or self._stop_event.is_set():
                    return True
            if looked_at:
                return True
        unchanged_threads.sort(key=itemgetter(0))
        for _, paused_thread in unchanged_threads[:BATCH]:
            if not self._stop_event.is_set():
                await self._claim_and_resume(paused_thread, host)
        return False

    async def _claim_and_resume(self, paused_thread: PausedThread, host: GraphHost) -> bool:
        """Resume a thread, unless it was looked at a moment ago or another worker has it."""
        ports = host.ports
        changes, until = self._rechecks.get(paused_thread.thread, ((), 0.0))
        if changes == paused_thread.changes and ports.monotonic() < until:
            return False
        key = build_work_key("resume", self._agent, paused_thread.thread)
        owner = new_owner_id(ports)
        if (await ports.call(ports.journal.claim_work, key, owner)).owner != owner:
            return False
        try:
            await self._resume(paused_thread.thread, host)
        finally:
            ports.journal.end_work_claim(key, owner)
        return True

    async def _take_answers_of_bighub(self, ports: Ports) -> None:
        """Record the answers that people gave in BIGHUB's queue; each is one unverified vote."""
        if (list_approvals := ports.engine.list_approvals) is None:
            return
        keys_by_request = await ports.call(self._queue.waiting_requests, self._agent)
        try:
            replies = [await list_approvals(status) for status in _RESOLUTIONS if keys_by_request]
        except EngineError as error:
            log.warning("agent %r: BIGHUB's approvals cannot be read: %s", self._agent, error)
            return
        # What is no approval answers nothing, and holds up no other.
        lists = [reply for reply in replies if isinstance(reply, Sequence)]
        for row in (row for rows in lists for row in rows if isinstance(row, Mapping)):
            key = keys_by_request.get(str(row.get("request_id")))
            answer = _RESOLUTIONS.get(str(row.get("status")))
            if key and answer and not row.get("modified_action"):
                text = str(row.get("comment") or "")
                approval = Approval(answer, ports.clock(), text=text, comment=text)
                await record_answer((await ports.find([key]))[key], approval, ports)

    async def _resume(self, thread: str, host: GraphHost) -> None:
        """Bring a thread to its end or to its next question; if that fails, try again later."""
        ports = host.ports
        paused_thread = await self._find(thread, ports)
        try:
            resumed_questions: list[str] = []
            for _ in range(MAX_RUNS):
                # Another worker may have resumed it meanwhile.
                if paused_thread is None or not await self._continue_thread(
                    paused_thread, resumed_questions, host
                ):
                    break
                paused_thread = await self._find(thread, ports)
        except (RunInProgress, CallStillRunning):
            self._log(logging.INFO, thread, "is run by somebody else")
        except Exception as error:  # noqa: BLE001 - logged, and tried again
            self._log(logging.ERROR, thread, "failed and is tried again", exc_info=True)
            await self._retry_later(paused_thread, exception_text(error), ports)
            paused_thread = None  # it is due later
        if paused_thread is None:
            self._rechecks.pop(thread, None)
        else:
            delay = RECHECK if paused_thread.is_decided else UNANSWERED_SECONDS
            self._rechecks[thread] = (paused_thread.changes, ports.monotonic() + delay)

    async def _find(self, thread: str, ports: Ports) -> PausedThread | None:
        now = ports.clock()
        matches = await ports.call(self._queue.find_decided, self._agent, now, thread)
        if not matches:
            values = (self._agent, now, now - UNANSWERED_SECONDS, thread)
            matches = await ports.call(self._queue.find_unanswered, *values)
        return next(iter(matches), None)

    async def _continue_thread(
        self, paused_thread: PausedThread, resumed_questions: list[str], host: GraphHost
    ) -> bool:
        """Run a thread once, if it can go on; return whether it did."""
        ports, config = host.ports, self._build_config(paused_thread.thread)
        state = await host.get_state(self._graph, config)
        questions = find_own_questions(state, paused_thread.calls)
        open_keys = set().union(*questions.values())
        past_keys = [
            key
            for key, call_state in paused_thread.calls.items()
            if call_state is not State.AWAITING and key not in open_keys
        ]
        is_missing = state.created_at is None
        is_left = paused_thread.is_decided and is_left_behind(state, self._breakpoints)
        if not (is_missing or is_left):
            await ports.call(self._queue.mark_resumed, past_keys)
        if paused_thread.tries and not (is_missing or paused_thread.is_decided):
            await ports.call(self._queue.retry_later, list(paused_thread.calls), 0, 0.0, "")
        answered_questions = [
            question
            for question, keys in questions.items()
            if not any(paused_thread.calls[key] in ASKABLE_STATES for key in keys)
        ]
        if is_missing or not answered_questions:
            # Only a process that is known to be gone leaves its work to others.
            keys = paused_thread.calls if is_missing else past_keys
            if not (is_missing or is_left) or not await self._is_free(paused_thread, keys, ports):
                return False
            if is_missing:
                await self._give_up(paused_thread, ports)
                return False
        elif answered_questions == resumed_questions:
            return False
        resumed_questions[:] = answered_questions
        self._log(logging.INFO, paused_thread.thread, "goes on")
        values = dict.fromkeys(answered_questions, RECORDED)
        value: Command[Any] | None = Command(resume=values) if values else None
        context = {"context": self._context_for(paused_thread.thread)} if self._context_for else {}
        await host.invoke(self._graph, value, config, **context)
        return True

    def _build_config(self, thread: str) -> Any:
        config = self._config_for(thread) if self._config_for else {}
        configurable = {**config.get("configurable", {}), "thread_id": thread}
        return {**config, "configurable": configurable}

    def _log(
        self, level: int, thread: str, event: str, *details: str, exc_info: bool = False
    ) -> None:
        fields = {"bighub_agent": self._agent, "bighub_thread": thread}
        message = f"agent %r: thread %r {event}"
        log.log(level, message, self._agent, thread, *details, exc_info=exc_info, extra=fields)

    async def _is_free(
        self, paused_thread: PausedThread, keys: Iterable[str], ports: Ports
    ) -> bool:
        """Whether nobody runs a thread: its last run failed here, or its process is dead."""
        if paused_thread.tries:
            return True
        for record in (await ports.find(list(keys))).values():
            runner = record._replace(owner=paused_thread.runners[record.key])
            if not await ports.call(ports.journal.is_owner_dead, runner):
                return False
        return True

    async def _retry_later(
        self, paused_thread: PausedThread | None, error: str, ports: Ports
    ) -> None:
        if paused_thread is not None:
            due_at = ports.clock() + retry_delay(paused_thread.tries)
            values = (list(paused_thread.calls), paused_thread.tries + 1, due_at, error)
            await ports.call(self._queue.retry_later, *values)

    async def _give_up(self, paused_thread: PausedThread, ports: Ports) -> None:
        """Cancel the calls of a thread that stays without a checkpoint, if this agent asked."""
        others = sorted({*paused_thread.guards.values()} - {self._own_guard})
        if others or paused_thread.tries < MAX_MISSING:
            reason = OTHER_GUARD.format(self._agent, "; ".join(others)) if others else MISSING
            self._log(logging.WARNING, paused_thread.thread, "stays: %s", reason)
            await self._retry_later(paused_thread, reason, ports)
            return
        for record in (await ports.find(list(paused_thread.calls))).values():
            await cancel_call(record, MISSING, ports)
        await ports.call(self._queue.mark_resumed, list(paused_thread.calls))
