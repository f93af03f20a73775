"""One run goes on from a checkpoint: of two runners of one task, the second stops.

Without it, two clicks on "approve" run the approved call once, and then both ask the model, whose
answers have new ids, and both run what it asks for. LangGraph gives a task the same id in both
runs, and another one after a fork or an `update_state`. A task is claimed in the journal before it
writes anything. The claim ends with an interrupt, an exception or its process, so that the task can
be run again; it stays when the task is done, for a runner that is late. It need not outlive a power
cut, which ends all runs.
"""

import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator
from functools import partial

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp, ParentCommand

from bighub_langgraph.core.errors import BighubGuardError, RunInProgress
from bighub_langgraph.core.ports import Claim, Ports
from bighub_langgraph.graph.langgraph_internals import (
    checkpoint_config,
    checkpointer_of,
    execution_info,
    names_checkpoint,
)
from bighub_langgraph.graph.orphaned_calls import cancel_orphaned_calls
from bighub_langgraph.graph.tool_execution import GraphHost

log = logging.getLogger("bighub_langgraph")

DONE = {"done": True}

# How long a done task may take to be stored, and how often we look, in seconds. If it is not stored
# by then, its result was lost, and the task runs again.
STORE_TIMEOUT = 5.0
POLL = 0.05


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
    await cancel_orphaned_calls(config, saver, host)
    parts = (info.thread_id, info.checkpoint_ns, info.task_id, call_id)
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    ports = host.ports
    owner = f"{ports.journal.owner}/{info.node_first_attempt_time}"

    def release() -> None:
        with contextlib.suppress(BighubGuardError):  # a claim ends with its process at the latest
            ports.journal.end_claim(key, owner, durable=False)

    try:
        claim = await ports.call(partial(ports.journal.claim, durable=False), key, owner)
    except BaseException:  # perhaps cancelled when the claim was made
        release()
        raise
    is_others = claim.owner != owner
    if is_others and (claim.result is None or await _is_left_behind(config, host)):
        raise GraphRunInProgress(info.thread_id)
    try:
        yield
    except ParentCommand:  # the task is done, and another graph goes on
        await _keep(key, owner, ports)
        raise
    except Exception:
        await ports.call(release)
        raise
    except BaseException:  # a cancelled coroutine may not be able to wait
        release()
        raise
    if claim == Claim(owner):
        await _keep(key, owner, ports)


async def _keep(key: str, owner: str, ports: Ports) -> None:
    """Keep the claim of a done task. The task's tool may have run, so nothing may raise here."""
    try:
        await ports.call(partial(ports.journal.end_claim, durable=False), key, owner, DONE)
    except Exception:
        log.exception("the journal could not store that a task is done; its claim stays with us")


class GraphRunInProgress(RunInProgress, GraphBubbleUp):
    """As LangGraph and a ToolNode pass it on: it is not retried, handled or stored."""


async def _is_left_behind(config: RunnableConfig, host: GraphHost) -> bool:
    """Whether the thread is past the checkpoint of a done task, and nobody went back on purpose."""
    saver, info = checkpointer_of(config), execution_info(config)
    if saver is None or info is None or names_checkpoint(config):
        return False
    newest = checkpoint_config(config, info)
    del newest["configurable"]["checkpoint_id"]
    for _ in range(int(STORE_TIMEOUT / POLL)):
        stored = await host.get_checkpoint(saver, newest)
        if stored is None or stored.config["configurable"]["checkpoint_id"] != info.checkpoint_id:
            return True
        await host.ports.sleep(POLL)
    return False
