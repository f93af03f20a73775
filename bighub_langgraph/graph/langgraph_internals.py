"""The only access to private parts of LangGraph and LangChain.

`tests/test_graph_langgraph_internals.py` checks on the installed releases what each function relies
on. Where a release differs, the guard fails closed: the graph is not built or the call is not run,
and the message names the installed versions.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import distributions
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import set_config_context
from langchain_core.tools import BaseTool, StructuredTool, Tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.runtime import ExecutionInfo, Runtime, get_runtime
from langgraph.types import Interrupt, interrupt

log = logging.getLogger("bighub_langgraph")

CANNOT_ASK = (
    "a person has to approve it, and here nobody can be asked: put the guard into the graph with "
    "add_guard(builder, tools, guard) and compile(checkpointer=...)"
)
MAX_ASKING_TASKS = 10_000

# Keys that Pregel writes into `configurable` for each task.
_CHECKPOINTER = "__pregel_checkpointer"
_DURABILITY = "__pregel_durability"
_READ_STATE = "__pregel_read_state"
_RUNTIME = "__pregel_runtime"
_SCRATCHPAD = "__pregel_scratchpad"
# `metadata["langgraph_triggers"]` of a task that a `Send` made.
_SEND_TRIGGERS = ("__pregel_push",)
# The `__type` of a ToolNode's input that holds one call and the state.
_WITH_STATE = "tool_call_with_context"

_PACKAGES = ("langgraph", "langgraph-prebuilt", "langchain-core", "langchain")
_MISSING: Any = object()


def installed_versions() -> str:
    """Return the installed releases of the frameworks, for messages."""
    releases = {item.name: item.version for item in distributions()}
    return ", ".join(f"{name} {releases[name]}" for name in _PACKAGES if name in releases)


# -- the run of a task -----------------------------------------------------------------------------


def runtime_of(config: RunnableConfig) -> Runtime[Any]:
    """Return the runtime of the task of a configuration; an empty one outside of a graph.

    `get_runtime` is the public way, but it needs the task's context variables, which are missing
    where a node hands its work to a thread.
    """
    runtime = config.get("configurable", {}).get(_RUNTIME)
    if isinstance(runtime, Runtime):
        return runtime
    try:
        return get_runtime() or Runtime()
    except (RuntimeError, KeyError):  # no runnable runs here, or one that is part of no graph
        return Runtime()


def execution_info(config: RunnableConfig) -> ExecutionInfo | None:
    """Return LangGraph's description of the current task; None outside of a graph."""
    return runtime_of(config).execution_info


class ServerUser(NamedTuple):
    """A user that the server has authenticated, and the permissions that the server grants."""

    name: str
    roles: tuple[str, ...]


def authenticated_user(config: RunnableConfig) -> ServerUser | None:
    """Return the user that the server has authenticated, if a server runs the graph."""
    server = runtime_of(config).server_info
    if server is None or server.user is None:
        return None
    permissions = getattr(server.user, "permissions", None) or ()
    return ServerUser(str(server.user.identity), tuple(map(str, permissions)))


def surrounding_state(config: RunnableConfig) -> Any:
    """Return the state of the graph around a sent task; None where this release does not show it.

    A ToolNode shows it to its wrapper: that is the public way, and needs a thread of its own.
    """
    read_state = config.get("configurable", {}).get(_READ_STATE)
    return read_state() if callable(read_state) else None


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A task of a run that has a checkpointer.

    Attributes:
        saver: The checkpointer.
        info: LangGraph's description of the task.
        thread: The thread id.
        place: How the checkpointer finds the checkpoint that the task runs from. `info` has the
            checkpoint's id, but only the namespace to which the task adds its own part. Of several
            namespaces with the same checkpoint, as in a `@task`, the first has it.
        places_around: The same for the checkpoints of the graphs around it.
        root_checkpoint: The checkpoint of the root graph whose task runs this one in a subgraph,
            and ends with it. None for tasks of the root graph itself, and in a subgraph with
            `checkpointer=True`, whose namespace has no task of the root: it can go on from any
            later checkpoint. None if unknown.
        is_stored: Whether the checkpoint is stored; with `durability="exit"` it is at the end.
        names_checkpoint: Whether the run was started from a checkpoint by its id, as in time
            travel.
    """

    saver: BaseCheckpointSaver[Any]
    info: ExecutionInfo
    thread: str
    place: RunnableConfig
    places_around: list[RunnableConfig]
    root_checkpoint: str | None
    is_stored: bool
    names_checkpoint: bool


def stored_task(config: RunnableConfig) -> StoredTask | None:
    """Return the task that a configuration belongs to; None where its run is not stored."""
    configurable, info = config.get("configurable", {}), runtime_of(config).execution_info
    saver = configurable.get(_CHECKPOINTER)
    if not isinstance(saver, BaseCheckpointSaver) or info is None or not info.thread_id:
        return None
    checkpoints: Mapping[str, str] = configurable.get("checkpoint_map", {})
    namespaces = [name for name, id_ in checkpoints.items() if id_ == info.checkpoint_id]
    pairs = [(next(iter(namespaces), ""), info.checkpoint_id)]
    pairs += [(name, id_) for name, id_ in checkpoints.items() if id_ != info.checkpoint_id]
    place, *places_around = [
        RunnableConfig(
            configurable={
                "thread_id": info.thread_id,
                "checkpoint_ns": name,
                "checkpoint_id": id_,
            }
        )
        for name, id_ in pairs
    ]
    root_task, _, rest = info.checkpoint_ns.partition("|")
    return StoredTask(
        saver,
        info,
        info.thread_id,
        place,
        places_around,
        root_checkpoint=checkpoints.get("") if rest and ":" in root_task else None,
        is_stored=configurable.get(_DURABILITY) != "exit",
        names_checkpoint=bool(config.get("metadata", {}).get("checkpoint_id")),
    )


def checkpointer_of(config: RunnableConfig) -> BaseCheckpointSaver[Any] | None:
    """Return the checkpointer of a run, in subgraphs too; None where there is none.

    A thread id does not show it: a run may have one without a checkpointer.
    """
    saver = config.get("configurable", {}).get(_CHECKPOINTER)
    return saver if isinstance(saver, BaseCheckpointSaver) else None


def unreadable_run(config: RunnableConfig) -> str | None:
    """Return why the guard may run nothing in this task; None where it can read the run.

    The log tells the developer what to do about it.
    """
    saver = config.get("configurable", {}).get(_CHECKPOINTER, _MISSING)
    if saver is None or saver is False or isinstance(saver, BaseCheckpointSaver):
        return None
    in_graph = execution_info(config) or any(
        key.startswith("__pregel") for key in config.get("configurable", {})
    )
    if not in_graph:  # no checkpointer, and nobody to ask
        return None
    log.error(
        "no tool call runs, because the configuration does not show whether this run has a "
        "checkpointer. Pass the node's own `config` on to the guard; if it is passed on, install "
        "releases that bighub-langgraph supports (installed: %s)",
        installed_versions(),
    )
    return f"the guard cannot see whether this run has a checkpointer ({installed_versions()})"


# -- interrupts ------------------------------------------------------------------------------------


class StoredQuestions(NamedTuple):
    """What the checkpoint has of the questions of a task.

    Attributes:
        interrupts: The questions that wait for an answer.
        answers: The answers that the task took before it asked them.
    """

    interrupts: Sequence[Interrupt] = ()
    answers: Sequence[Any] = ()


async def stored_questions(
    config: RunnableConfig, get_checkpoint: Callable[..., Awaitable[Any]]
) -> StoredQuestions:
    """Return the questions of a task as its checkpoint has them."""
    task = stored_task(config)
    if task is None:
        return StoredQuestions()
    checkpoint = await get_checkpoint(task.saver, task.place)
    if checkpoint is not None:
        writes = {
            name: value
            for task_id, name, value in checkpoint.pending_writes or ()
            if task_id == task.info.task_id
        }
        return StoredQuestions(writes.get(INTERRUPT, ()), writes.get(RESUME, ()))
    # A subgraph that stores nothing asks anew in each attempt. The root keeps what it asked.
    checkpoint_id = config.get("configurable", {}).get("checkpoint_map", {}).get("")
    place = {"thread_id": task.thread, "checkpoint_ns": "", "checkpoint_id": checkpoint_id}
    checkpoint = checkpoint_id and await get_checkpoint(task.saver, {"configurable": place})
    root_writes = checkpoint.pending_writes if checkpoint else None
    return StoredQuestions(
        [item for _, name, items in root_writes or () if name == INTERRUPT for item in items]
    )


def is_addressed(config: RunnableConfig, questions: StoredQuestions) -> bool:
    """Whether the answer that waits for a task came under the id of its interrupt."""
    return len(_scratchpad_of(config).resume) > len(questions.answers)


def peek_answer(config: RunnableConfig, answers: Sequence[Any]) -> Any:
    """Return the answer that waits for a task behind some others, without taking it; or None."""
    scratchpad = _scratchpad_of(config)
    resume = scratchpad.resume
    return resume[len(answers)] if len(resume) > len(answers) else scratchpad.get_null_resume()


def ask(
    value: Any,
    config: RunnableConfig,
    schema: Any,
    answers: Sequence[Any],
    *,
    read: bool = True,
    earlier: Sequence[Any] = (),
) -> Any:
    """Interrupt a task behind the answers to this question that it took before.

    Without `read` no answer is taken that waits for the task: it was given before the question, or
    grants nothing. `earlier` are the answers that this attempt took for other questions.
    """
    if not read:
        scratchpad = replace(
            _scratchpad_of(config),
            resume=[*earlier, *answers],
            get_null_resume=lambda consume=False: None,  # noqa: ARG005 - LangGraph's signature
        )
        config = {**config, "configurable": {**config["configurable"], _SCRATCHPAD: scratchpad}}

    def interrupt_again() -> Any:
        for _ in answers:
            interrupt(value)
        return interrupt(value, response_schema=schema)

    with set_config_context(config) as context:
        return context.run(interrupt_again)


def reason_not_to_interrupt(request: ToolCallRequest, message: AIMessage | None) -> str | None:
    """Return why a wrapper cannot ask a person in this task; None where it can.

    It needs a checkpointer, a task with one call alone, and an AI message with an id, without which
    the answer would not find its call.
    """
    config = request.runtime.config
    if checkpointer_of(config) is None or message is None or message.id is None:
        return CANNOT_ASK
    if problem := unreadable_interrupts(config):
        return f"a person has to approve it, and {problem}"
    is_alone = is_sent(config) or len(message.tool_calls) == 1
    if is_alone and not may_have_interrupted(config) and _is_first_to_ask(request):
        return None
    return CANNOT_ASK


def _is_first_to_ask(request: ToolCallRequest) -> bool:
    info = request.runtime.execution_info
    if info is None:
        return False
    call_id = request.tool_call["id"] or ""
    if len(_asking_calls) > MAX_ASKING_TASKS:
        _asking_calls.clear()
    return _asking_calls.setdefault(info.task_id, call_id) == call_id


# By task, the first call that asked a person. A task asks once at most: a second question would get
# the answer to the first.
_asking_calls: dict[str, str] = {}


def unreadable_interrupts(config: RunnableConfig) -> str | None:
    """Return why a wrapper may not interrupt here; None where earlier interrupts can be seen."""
    if _scratchpad_of(config) is not None:
        return None
    return f"the guard cannot see what was asked in this task before ({installed_versions()})"


def was_resumed(config: RunnableConfig) -> bool:
    """Whether the task was started again with an answer. False if unknown."""
    scratchpad = _scratchpad_of(config)
    if scratchpad is None:
        return False
    return bool(scratchpad.resume) or scratchpad.get_null_resume() is not None


def may_have_interrupted(config: RunnableConfig) -> bool:
    """Whether this run of the task has interrupted before. True if unknown."""
    scratchpad = _scratchpad_of(config)
    # The counter is made at the first interrupt.
    return scratchpad is None or scratchpad.interrupt_counter._counter is not None  # noqa: SLF001


def _scratchpad_of(config: RunnableConfig) -> Any:
    """Return LangGraph's record of a task's interrupts; None where it has another shape."""
    scratchpad = config.get("configurable", {}).get(_SCRATCHPAD)
    resume = getattr(scratchpad, "resume", None)
    get_null_resume = getattr(scratchpad, "get_null_resume", None)
    counter = getattr(scratchpad, "interrupt_counter", None)
    is_known = (
        isinstance(resume, list) and callable(get_null_resume) and hasattr(counter, "_counter")
    )
    return scratchpad if is_known else None


def attempt_of(config: RunnableConfig) -> object | None:
    """Return an object of this attempt of a task alone; None if unknown."""
    return _scratchpad_of(config)  # type: ignore[no-any-return]


def is_sent(config: RunnableConfig) -> bool:
    """Whether a `Send` made the task, as LangChain's edges and ours do for each call."""
    return tuple(config.get("metadata", {}).get("langgraph_triggers", ())) == _SEND_TRIGGERS


# -- tools and tool nodes --------------------------------------------------------------------------


def messages_key_of(tool_node: ToolNode) -> str | None:
    """Return the key under which a ToolNode keeps its messages; None if unknown."""
    key = getattr(tool_node, "_messages_key", None)
    return key if isinstance(key, str) else None


def may_have_wrapper(tool_node: ToolNode) -> bool:
    """Whether a ToolNode has a wrapper around its calls. True if unknown.

    A wrapper may run tools that the ToolNode does not have.
    """
    names = ("_wrap_tool_call", "_awrap_tool_call")
    return any(getattr(tool_node, name, _MISSING) is not None for name in names)


def with_state(tool_call: Mapping[str, Any], state: Any) -> dict[str, Any]:
    """Return the input by which a ToolNode runs one call with a given state."""
    return {"__type": _WITH_STATE, "tool_call": dict(tool_call), "state": state}


def has_state(value: Any) -> bool:
    """Whether an input of a tool node has the form of `with_state`."""
    return isinstance(value, Mapping) and value.get("__type") == _WITH_STATE


def only_blocks(tool: BaseTool | None) -> bool:
    """Whether `ainvoke` of a tool only runs its blocking function in a thread."""
    if tool is None or type(tool).ainvoke not in _STOCK_AINVOKE:
        return False
    if isinstance(tool, StructuredTool | Tool):
        return tool.coroutine is None
    return type(tool)._arun is BaseTool._arun  # noqa: SLF001 - the hook that a tool overrides


_STOCK_AINVOKE = frozenset({BaseTool.ainvoke, StructuredTool.ainvoke, Tool.ainvoke})
