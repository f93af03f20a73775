"""Cancel the waiting calls of subagents that a new message to the graph around them has ended.

For the calls of the graph that receives the message see `stale_calls`.

A call that waits in a subgraph belongs to a task of the root graph. A new message ends that task:
the subagent is called anew, in a namespace of its own, or not at all, and nobody can answer for the
old call. The thread's history of root checkpoints shows it: the one behind the call's own came
from an input. A fork, an `update_state` or a history that cannot be read shows nothing; then the
call stays open.
"""

import logging
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

from bighub_langgraph.core.call_endings import cancel_call
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.graph.langgraph_internals import StoredTask
from bighub_langgraph.graph.stale_calls import NEW_MESSAGE
from bighub_langgraph.graph.tool_execution import GraphHost

log = logging.getLogger("bighub_langgraph")

# How many root checkpoints a search looks back.
MAX_STEPS = 50
# Of so many threads with subagents the delivery worker looks after the calls.
MAX_THREADS = 1_000

GetCheckpoint = Callable[[RunnableConfig], Awaitable[Any]]


async def cancel_orphaned_calls(task: StoredTask, root: str, host: GraphHost) -> None:
    """Cancel what earlier subagents of a thread left, when a task of a subagent begins.

    `root` is the checkpoint of the root graph that this subagent belongs to. The delivery worker
    does so from then on, for the case that no other subagent is called. It cannot use a
    checkpointer of an event loop.
    """
    thread, saver = task.thread, task.saver
    sweeps = host.runtime.delivery.sweeps
    if thread not in sweeps and (not host.is_async or isinstance(saver, InMemorySaver)):
        for oldest in list(sweeps)[: max(0, len(sweeps) - MAX_THREADS)]:
            sweeps.pop(oldest, None)
        sweeps[thread] = partial(_sweep, thread, weakref.ref(saver))
    if await _cancel(thread, partial(host.get_checkpoint, saver), host.ports, current=root):
        host.ports.schedule_delivery()


async def _sweep(thread: str, saver: "weakref.ref[BaseCheckpointSaver[Any]]", ports: Ports) -> bool:
    """Cancel the superseded calls of a thread; return whether others of its subagents wait."""
    if (checkpointer := saver()) is None:
        return False

    async def get_checkpoint(config: RunnableConfig) -> Any:
        return checkpointer.get_tuple(config)

    try:
        await _cancel(thread, get_checkpoint, ports)
    except Exception as error:  # noqa: BLE001 - its connection may be closed
        fields = {"bighub_thread": thread}
        log.info("the checkpoints of thread %s cannot be read: %r", thread, error, extra=fields)
        return False
    records = await ports.call(ports.journal.find_waiting, thread)
    return any(record.root_checkpoint for record in records)


async def _cancel(
    thread: str, get_checkpoint: GetCheckpoint, ports: Ports, *, current: str | None = None
) -> bool:
    """Cancel the superseded calls of a thread; return whether there were any."""
    waiting_calls = [
        (record, record.root_checkpoint)
        for record in await ports.call(ports.journal.find_waiting, thread)
        if record.root_checkpoint and record.root_checkpoint != current
    ]
    if not waiting_calls:
        return False
    oldest = min(checkpoint for _, checkpoint in waiting_calls)
    followed_ids = await _followed_checkpoints(thread, get_checkpoint, oldest)
    cancelled_records = [
        record for record, checkpoint in waiting_calls if checkpoint in followed_ids
    ]
    for record in cancelled_records:
        await cancel_call(record, NEW_MESSAGE, ports)
    return bool(cancelled_records)


async def _followed_checkpoints(
    thread: str, get_checkpoint: GetCheckpoint, oldest: str
) -> set[str]:
    """Return the root checkpoints that an input followed, back to `oldest`.

    Only those that led to the newest one count. LangGraph's ids of checkpoints grow with time.
    """
    followed_ids: set[str] = set()
    config: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    for _ in range(MAX_STEPS):
        checkpoint_tuple = await get_checkpoint(config)
        if checkpoint_tuple is None or checkpoint_tuple.parent_config is None:
            break
        config = checkpoint_tuple.parent_config
        before = config["configurable"]["checkpoint_id"]
        if checkpoint_tuple.metadata.get("source") == "input":
            followed_ids.add(before)
        if before <= oldest:
            break
    return followed_ids
