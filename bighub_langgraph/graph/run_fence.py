"""One run goes on from a checkpoint: of two runners of one task, the second stops.

Without it, two clicks on "approve" run the approved call once, and then both ask the model, whose
answers have new ids, and both run what it asks for. LangGraph gives a task the same id in both
runs, and another one after a fork or an `update_state`. A task is claimed in the journal before it
writes anything. The claim ends with an interrupt, an exception or its process, so that the task can
be run again; it stays when the task is done, for a runner that is late. It need not outlive a power
cut, which ends all runs.

A runner that loads a checkpoint when the tasks of its step are done, and the next checkpoint is not
stored yet, runs none of these tasks: it makes a next checkpoint of its own. So the step from a
checkpoint to the next one is claimed as well, by each task that runs from the next one.
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp, ParentCommand

from bighub_langgraph.core.claims import build_work_key
from bighub_langgraph.core.errors import BighubGuardError, RunInProgress
from bighub_langgraph.core.ports import WorkClaim
from bighub_langgraph.graph.langgraph_internals import StoredTask, stored_task
from bighub_langgraph.graph.orphaned_calls import cancel_orphaned_calls
from bighub_langgraph.graph.tool_execution import GraphHost

log = logging.getLogger("bighub_langgraph")

# How long a done task may take to be stored, and how often we look, in seconds. If it is not stored
# by then, its result was lost, and the task runs again.
STORE_TIMEOUT = 5.0
POLL = 0.05


class GraphRunInProgress(RunInProgress, GraphBubbleUp):
    """As LangGraph and a ToolNode pass it on: it is not retried, handled or stored."""


@contextlib.asynccontextmanager
async def fence_run(
    config: RunnableConfig, host: GraphHost, call_id: str = ""
) -> AsyncIterator[None]:
    """Claim the current task, or one call of it, for this run; nothing without a checkpointer.

    Raises:
        RunInProgress: Another run goes on from the same checkpoint.
    """
    task = stored_task(config)
    if task is None:
        yield
        return
    if task.root_checkpoint is not None:
        await cancel_orphaned_calls(task, task.root_checkpoint, host)
    fence = _Fence(task, host)
    try:
        await fence.claim(call_id)
        yield
    except ParentCommand:  # the task is done, and another graph goes on
        await fence.keep()
        raise
    except Exception:
        await host.ports.call(fence.release)
        raise
    except BaseException:  # a cancelled coroutine may not be able to wait
        fence.release()
        raise
    await fence.keep()


class _TaskClaim(NamedTuple):
    """A claim that a task needs, and the result that is kept of it when the task is done.

    Attributes:
        place: The checkpoint that a claimed step led to; None for the task itself.
    """

    key: str
    owner: str
    result: Mapping[str, Any]
    place: RunnableConfig | None = None


@dataclass(slots=True)
class _Fence:
    """The claims that a task holds while it runs."""

    _task: StoredTask
    _host: GraphHost
    _claims: dict[str, _TaskClaim] = field(default_factory=dict)

    async def claim(self, call_id: str) -> None:
        """Claim the steps to the checkpoints of the task, then the task, or one call of it.

        The checkpoints are that of the task, and those of the graphs around it. What an input, a
        fork or an `update_state` made follows its parent on purpose.

        Raises:
            RunInProgress: Another run has the task, or has done it and gone on; or it made another
                step from the same checkpoint.
        """
        process, task, claims = self._host.ports.journal.owner, self._task, list[_TaskClaim]()
        for place in [task.place, *task.places_around] if task.is_stored else ():
            checkpoint = await self._host.load_when_stored(task.saver, place, STORE_TIMEOUT)
            parent = checkpoint.parent_config if checkpoint is not None else None
            if parent is None or checkpoint.metadata.get("source") != "loop":
                continue
            checkpoint_id, namespace = (place["configurable"][name] for name in _PLACE)
            key = build_work_key(task.thread, namespace, parent["configurable"]["checkpoint_id"])
            claims.append(
                _TaskClaim(key, f"{process}/{checkpoint_id}", {"next": checkpoint_id}, place)
            )
        task_key = build_work_key(task.thread, task.info.checkpoint_ns, task.info.task_id, call_id)
        owner = f"{process}/{task.info.node_first_attempt_time}"
        claims.append(_TaskClaim(task_key, owner, {"done": True}))
        while (other := await self._host.ports.call(self._take, claims)) is not None:
            refused_claim = claims.pop(0)
            if refused_claim.place is not None:
                await self._pass_step(refused_claim, refused_claim.place, other)
            elif other.owner != owner and (other.result is None or await self._is_left_behind()):
                raise GraphRunInProgress(self._task.thread)

    def _take(self, claims: list[_TaskClaim]) -> WorkClaim | None:
        """Take claims in order, and remove them from the list; return another's in the way."""
        while claims:
            key, owner, *_ = claims[0]
            self._claims[key] = claims[0]  # before, since the task may be cancelled meanwhile
            claim = self._host.ports.journal.claim_work(key, owner, durable=False)
            if claim != WorkClaim(owner):
                del self._claims[key]
                return claim
            del claims[0]
        return None

    async def _pass_step(
        self, step: _TaskClaim, place: RunnableConfig, other: WorkClaim | None
    ) -> None:
        """Go on behind a step that another run has claimed, if that run is another task of it.

        Raises:
            RunInProgress: The other run made another step from the same checkpoint, and goes on.
        """
        checkpoint = step.result["next"]
        deadline = self._host.ports.monotonic() + STORE_TIMEOUT
        while other:
            if checkpoint == (other.result or {}).get("next", other.owner.rpartition("/")[2]):
                return
            is_late = self._host.ports.monotonic() >= deadline
            # Somebody went back on purpose, or the other run stored nothing after its step.
            if self._task.names_checkpoint or (is_late and other.result):
                end = self._host.ports.journal.end_work_claim
                await self._host.ports.call(end, step.key, other.owner, step.result, durable=False)
                return
            if is_late or not await self._is_newest(place):
                raise GraphRunInProgress(self._task.thread)
            await self._host.ports.sleep(POLL)
            other = await self._host.ports.call(self._take, [step])

    def release(self) -> None:
        """End the claims of a task that is not done."""
        for claim in self._claims.values():
            with contextlib.suppress(BighubGuardError):  # it ends with its process at the latest
                self._host.ports.journal.end_work_claim(claim.key, claim.owner, durable=False)

    async def keep(self) -> None:
        """Keep the results of a done task. Its tool may have run, so nothing may raise here."""
        try:
            await self._host.ports.call(self._keep_results)
        except Exception:
            log.exception(
                "the journal could not store that a task is done; its claim stays with us"
            )

    def _keep_results(self) -> None:
        for key, owner, result, _ in self._claims.values():
            self._host.ports.journal.end_work_claim(key, owner, result, durable=False)

    async def _is_left_behind(self) -> bool:
        """Whether the thread is past the checkpoint of a task that another run has done."""
        for _ in range(0 if self._task.names_checkpoint else int(STORE_TIMEOUT / POLL)):
            if not await self._is_newest(self._task.place):
                return True
            await self._host.ports.sleep(POLL)
        return False

    async def _is_newest(self, place: RunnableConfig) -> bool:
        keys = {key: place["configurable"][key] for key in ("thread_id", "checkpoint_ns")}
        checkpoint_tuple = await self._host.get_checkpoint(self._task.saver, {"configurable": keys})
        if checkpoint_tuple is None:
            return False
        newest: str = checkpoint_tuple.config["configurable"]["checkpoint_id"]
        checkpoint: str = place["configurable"]["checkpoint_id"]
        return newest == checkpoint


_PLACE = ("checkpoint_id", "checkpoint_ns")
