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
import hashlib
import logging
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphBubbleUp, ParentCommand
from langgraph.runtime import ExecutionInfo

from bighub_langgraph.core.errors import BighubGuardError, RunInProgress
from bighub_langgraph.core.ports import WorkClaim
from bighub_langgraph.graph.langgraph_internals import (
    checkpoint_config,
    checkpointer_of,
    execution_info,
    names_checkpoint,
    stores_only_at_the_end,
    surrounding_checkpoints,
)
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
    saver, info = checkpointer_of(config), execution_info(config)
    if saver is None or info is None or not info.thread_id:
        yield
        return
    await cancel_orphaned_calls(config, saver, info, host)
    fence = _Fence(config, saver, info, info.thread_id, host)
    try:
        await fence.claim_steps()
        await fence.claim_task(call_id)
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


class _Fence:
    """The claims that a task holds while it runs."""

    def __init__(
        self,
        config: RunnableConfig,
        saver: BaseCheckpointSaver[Any],
        info: ExecutionInfo,
        thread: str,
        host: GraphHost,
    ) -> None:
        self._config, self._saver, self._info, self._host = config, saver, info, host
        self._thread = thread
        journal, self._call = host.ports.journal, host.ports.call
        self._claim = partial(journal.claim, durable=False)
        self._end_claim = partial(journal.end_claim, durable=False)
        self._process, self._ports = journal.owner, host.ports
        self._went_back = names_checkpoint(config)
        self._claims: dict[str, tuple[str, Mapping[str, Any]]] = {}

    async def claim_task(self, call_id: str) -> None:
        """Claim the task, or one call of it.

        Raises:
            RunInProgress: Another run has the task, or has done it and gone on.
        """
        info, attempt = self._info, str(self._info.node_first_attempt_time)
        key = _key(self._thread, info.checkpoint_ns, info.task_id, call_id)
        other = await self._take(key, attempt, {"done": True})
        if other is None or other.owner == f"{self._process}/{attempt}":
            return
        if other.result is None or await self._is_left_behind():
            raise GraphRunInProgress(self._thread)

    async def claim_steps(self) -> None:
        """Claim the steps to the checkpoint of the task, and to those of the graphs around it.

        What an input, a fork or an `update_state` made follows its parent on purpose.

        Raises:
            RunInProgress: Another run made another step from the same checkpoint, and goes on.
        """
        if stores_only_at_the_end(self._config):
            return
        for place in surrounding_checkpoints(self._config, self._info):
            checkpoint = await self._host.load_when_stored(self._saver, place, STORE_TIMEOUT)
            if (
                checkpoint
                and checkpoint.parent_config
                and checkpoint.metadata.get("source") == "loop"
            ):
                await self._claim_step(checkpoint.parent_config, place)

    async def _claim_step(self, parent: RunnableConfig, place: RunnableConfig) -> None:
        checkpoint = place["configurable"]["checkpoint_id"]
        parent_id = parent["configurable"]["checkpoint_id"]
        key = _key(self._thread, place["configurable"]["checkpoint_ns"], parent_id)
        result = {"next": checkpoint}
        deadline = self._ports.monotonic() + STORE_TIMEOUT
        while other := await self._take(key, checkpoint, result):
            if checkpoint == (other.result or {}).get("next", other.owner.rpartition("/")[2]):
                return
            is_late = self._ports.monotonic() >= deadline
            # Somebody went back on purpose, or the other run stored nothing after its step.
            if self._went_back or (is_late and other.result):
                await self._call(self._end_claim, key, other.owner, result)
                return
            if is_late or not await self._is_newest(place):
                raise GraphRunInProgress(self._thread)
            await self._ports.sleep(POLL)

    async def _take(self, key: str, suffix: str, result: Mapping[str, Any]) -> WorkClaim | None:
        """Take a claim, to keep `result` when the task is done; return that of another."""
        owner = f"{self._process}/{suffix}"
        self._claims[key] = (owner, result)  # before, since the task may be cancelled meanwhile
        claim: WorkClaim = await self._call(self._claim, key, owner)
        if claim == WorkClaim(owner):
            return None
        del self._claims[key]
        return claim

    def release(self) -> None:
        """End the claims of a task that is not done."""
        for key, (owner, _) in self._claims.items():
            with contextlib.suppress(BighubGuardError):  # it ends with its process at the latest
                self._end_claim(key, owner)

    async def keep(self) -> None:
        """Keep the results of a done task. Its tool may have run, so nothing may raise here."""
        try:
            for key, (owner, result) in self._claims.items():
                await self._call(self._end_claim, key, owner, result)
        except Exception:
            log.exception(
                "the journal could not store that a task is done; its claim stays with us"
            )

    async def _is_left_behind(self) -> bool:
        """Whether the thread is past the checkpoint of a task that another run has done."""
        place = checkpoint_config(self._config, self._info)
        for _ in range(0 if self._went_back else int(STORE_TIMEOUT / POLL)):
            if not await self._is_newest(place):
                return True
            await self._ports.sleep(POLL)
        return False

    async def _is_newest(self, place: RunnableConfig) -> bool:
        keys = {key: place["configurable"][key] for key in ("thread_id", "checkpoint_ns")}
        checkpoint_tuple = await self._host.get_checkpoint(self._saver, {"configurable": keys})
        if checkpoint_tuple is None:
            return False
        newest: str = checkpoint_tuple.config["configurable"]["checkpoint_id"]
        checkpoint: str = place["configurable"]["checkpoint_id"]
        return newest == checkpoint


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
