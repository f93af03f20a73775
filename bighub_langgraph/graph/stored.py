"""Nothing starts before the checkpoint that knows of it is stored."""

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.runtime import ExecutionInfo

from bighub_langgraph.core.errors import JournalError
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.graph.langgraph_internals import (
    checkpoint_of,
    checkpointer_of,
    stores_only_at_the_end,
)

LONGEST = 30.0
FIRST_LOOK = 0.001
LONGEST_LOOK = 0.1


async def until_stored(
    config: RunnableConfig, info: ExecutionInfo | None, ports: Ports, *, blocking: bool
) -> None:
    """Wait until the checkpoint that a task runs from is stored.

    By default LangGraph stores a checkpoint while the next step runs already. A tool that started
    before its AI message was stored would start again after a crash: the model is asked again, and
    its new calls have new ids. With `durability="sync"` there is nothing to wait for, and with
    "exit" nothing is stored at all before the run ends.
    """
    saver = checkpointer_of(config)
    if saver is None or info is None or isinstance(saver, InMemorySaver):
        return
    if stores_only_at_the_end(config):
        return
    wanted = checkpoint_of(config, info)
    deadline, pause = ports.clock() + LONGEST, FIRST_LOOK
    while not (saver.get_tuple(wanted) if blocking else await saver.aget_tuple(wanted)):
        if ports.clock() >= deadline:
            raise JournalError(
                f"{type(saver).__name__} has not stored checkpoint {info.checkpoint_id} within "
                f"{LONGEST:g} seconds, so no tool was started; see what holds it up"
            )
        await ports.sleep(pause)
        pause = min(2 * pause, LONGEST_LOOK)
