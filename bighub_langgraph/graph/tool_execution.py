"""The steps that nodes, tools node and wrapper share: evaluate calls, and run one call once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphBubbleUp, ParentCommand, is_invalid_resume
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command, StateSnapshot

from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.call_endings import block_call
from bighub_langgraph.core.claims import ExecutionResult, ToolFinished, ToolPaused
from bighub_langgraph.core.context import (
    current_record,
    enter_call,
    enter_read_only_call,
    log_fields,
)
from bighub_langgraph.core.errors import InvalidCall, JournalError
from bighub_langgraph.core.evaluation import EditedCall, RefusedCall, call_of, evaluate_calls
from bighub_langgraph.core.jsonable import exception_text
from bighub_langgraph.core.model_messages import edit_note, invalid_call_message
from bighub_langgraph.core.models import (
    CallRecord,
    EvaluationRequest,
    State,
    ToolCall,
    ToolFailed,
    ToolOutcome,
    ToolSucceeded,
)
from bighub_langgraph.core.recovery import execute_or_recover
from bighub_langgraph.core.reporting import build_event
from bighub_langgraph.graph.langgraph_internals import (
    authenticated_user,
    checkpointer_of,
    execution_info,
    stored_task,
    surrounding_state,
)
from bighub_langgraph.graph.plan import (
    Plan,
    evaluation_items,
    next_action,
    read_messages,
    reject_call,
    thread_id_of,
)
from bighub_langgraph.graph.tool_messages import (
    emit_event,
    find_tool_messages,
    map_tool_messages,
    mark_replayed,
    record_message,
)
from bighub_langgraph.graph.validation import check_journal, find_errors
from bighub_langgraph.guard_runtime import END_OF_RUN, GuardRuntime
from bighub_langgraph.telemetry_attributes import (
    approval_attributes,
    decision_attributes,
    verdict_attributes,
)

log = logging.getLogger("bighub_langgraph")

NO_CHECKPOINTER = (
    "a person has to approve it, and this graph has no checkpointer to wait with: "
    "pass one to compile(checkpointer=...)"
)

# How long a tool waits for the checkpoint of its task, and how often a host looks, in seconds.
CHECKPOINT_TIMEOUT = 30.0
FIRST_POLL = 0.0002
LONGEST_POLL = 0.1

# A ToolNode's output: an update of the state, or a list of updates and commands.
Update = Any
Invoke = Callable[[], Awaitable[Update]]


class GraphHost:
    """A guard's runtime, and what differs between `invoke` and `ainvoke`: this is for `invoke`."""

    is_async = False

    def __init__(self, runtime: GuardRuntime) -> None:
        self.runtime = runtime
        self.ports = runtime.async_ports if self.is_async else runtime.ports

    async def invoke(self, runnable: Runnable[Any, Any], *args: Any, **options: Any) -> Any:
        """Invoke a runnable."""
        return runnable.invoke(*args, **options)

    async def get_checkpoint(self, saver: BaseCheckpointSaver[Any], config: RunnableConfig) -> Any:
        """Load a checkpoint; None where it is not stored."""
        return saver.get_tuple(config)

    async def load_when_stored(
        self, saver: BaseCheckpointSaver[Any], config: RunnableConfig, seconds: float
    ) -> Any:
        """Load a checkpoint as soon as it is stored; None if it is not within some seconds.

        By default LangGraph stores a checkpoint while the next step already runs.
        """
        now, pause = self.ports.monotonic, FIRST_POLL
        deadline = now() + seconds
        while not (checkpoint := await self.get_checkpoint(saver, config)) and now() < deadline:
            await self.ports.sleep(pause)
            pause = min(2 * pause, LONGEST_POLL)
        return checkpoint

    async def get_state(self, graph: Any, config: RunnableConfig) -> StateSnapshot:
        """Load the newest state of a thread of a graph, with that of its subgraphs."""
        state: StateSnapshot = graph.get_state(config, subgraphs=True)
        return state

    async def wait_for_delivery(self) -> None:
        """Wait at the end of a run for its reports to be delivered, for a short time."""
        self.runtime.delivery.wait(END_OF_RUN)

    async def run_in_thread(self, flow: Callable[["GraphHost"], Coroutine[Any, Any, Any]]) -> Any:
        """Run a flow that blocks, in one piece, so that a cancelled task cannot interrupt it."""
        return await flow(self)


class AsyncGraphHost(GraphHost):
    """The host of `ainvoke`."""

    is_async = True

    async def invoke(self, runnable: Runnable[Any, Any], *args: Any, **options: Any) -> Any:  # noqa: D102
        return await runnable.ainvoke(*args, **options)

    async def get_checkpoint(self, saver: BaseCheckpointSaver[Any], config: RunnableConfig) -> Any:  # noqa: D102
        return await saver.aget_tuple(config)

    async def get_state(self, graph: Any, config: RunnableConfig) -> StateSnapshot:  # noqa: D102
        state: StateSnapshot = await graph.aget_state(config, subgraphs=True)
        return state

    async def wait_for_delivery(self) -> None:  # noqa: D102
        await self.runtime.delivery.wait_async(END_OF_RUN)

    async def run_in_thread(self, flow: Callable[[GraphHost], Coroutine[Any, Any, Any]]) -> Any:  # noqa: D102
        return await asyncio.to_thread(run_sync, flow(GraphHost(self.runtime)))


async def read_surrounding_messages(
    config: RunnableConfig, messages_key: str, host: GraphHost
) -> list[BaseMessage]:
    """Return the messages in the state of the graph around a task that was sent calls alone."""
    state = surrounding_state(config)
    if state is None:
        if execution_info(config) is None:
            return []
        [answer] = (await host.invoke(_STATE_READER, [_READ_STATE], config))["messages"]
        state = answer.artifact
    return read_messages(state, messages_key)


def _read_state(request: ToolCallRequest, _: Any) -> ToolMessage:
    return ToolMessage("", tool_call_id=request.tool_call["id"], artifact=request.state)


async def _aread_state(request: ToolCallRequest, _: Any) -> ToolMessage:
    return _read_state(request, _)


# A ToolNode shows the state to its wrapper; there is no other public way to it in a sent task.
_STATE_READER = ToolNode([], wrap_tool_call=_read_state, awrap_tool_call=_aread_state)
_READ_STATE = {"name": "read_state", "args": {}, "id": "read_state", "type": "tool_call"}


async def check_run(config: RunnableConfig, host: GraphHost) -> None:
    """Check that a tool may start: the journal is durable enough, and the checkpoint is stored.

    A tool that started before its AI message was stored would start again after a crash: the model
    is called again, and its new calls have new ids. With `durability="exit"` nothing is stored
    before the run ends.
    """
    check_journal(host.ports.journal, checkpointer_of(config))
    task = stored_task(config)
    if task is None or isinstance(task.saver, InMemorySaver) or not task.is_stored:
        return
    if not await host.load_when_stored(task.saver, task.place, CHECKPOINT_TIMEOUT):
        saver, checkpoint = type(task.saver).__name__, task.info.checkpoint_id
        raise JournalError(
            f"{saver} has not stored checkpoint {checkpoint} within "
            f"{CHECKPOINT_TIMEOUT:g} seconds, so no tool was started; see what holds it up"
        )


async def evaluate(
    calls: Sequence[ToolCall | EditedCall], turn: str, config: RunnableConfig, host: GraphHost
) -> list[CallRecord | RefusedCall]:
    """Evaluate calls of a turn; new decisions go to `on_decision` and to the custom stream."""
    runtime = host.runtime
    session, user = thread_id_of(config) or turn, authenticated_user(config)
    task = stored_task(config)
    return await evaluate_calls(
        calls,
        runtime.settings,
        host.ports,
        session=session,
        trajectory=session,
        requested_by=user.name if user else "",
        root_checkpoint=task.root_checkpoint if task is not None else None,
        on_new=lambda record: emit_event(runtime.emit_decision(record)),
    )


async def evaluate_plan(
    plan: Plan,
    config: RunnableConfig,
    host: GraphHost,
    *,
    tools: Mapping[str, BaseTool] | None = None,
    all_tools_known: bool = True,
    cannot_ask: str | None = None,
) -> None:
    """Evaluate the calls of a plan that need it, and set in the plan what comes next for each.

    Calls of read-only tools run without an evaluation. With `cannot_ask` no person can be asked,
    for this reason. For the other arguments see `find_errors`.
    """
    check_journal(host.ports.journal, checkpointer_of(config))
    settings = host.runtime.settings
    items = await evaluation_items(plan, plan["calls"], host.ports)
    calls = list(map(call_of, items))
    errors = find_errors(calls, config, tools, all_tools_known=all_tools_known)
    for call, error in zip(plan["calls"], errors, strict=True):
        if error is not None:
            reject_call(call, error)
        elif "edited_from" not in call and settings.policy_for(call["name"]).read_only:
            call["next"] = "execute"
    pending_calls = [
        (call, item)
        for call, item in zip(plan["calls"], items, strict=True)
        if call["next"] == "evaluate"
    ]
    if not pending_calls:
        return
    if cannot_ask is None and not checkpointer_of(config):
        cannot_ask = NO_CHECKPOINTER
    records = await evaluate([item for _, item in pending_calls], plan["turn"], config, host)
    for (call, _), record in zip(pending_calls, records, strict=True):
        if isinstance(record, RefusedCall):
            reject_call(call, invalid_call_message(call["name"], record.error))
            continue
        if cannot_ask and record.state is State.AWAITING:
            record = await block_call(record, cannot_ask, host.ports)  # noqa: PLW2901 - the same record
        call["key"] = record.key
        call["next"] = next_action(record, settings, can_ask=not cannot_ask)


async def run_read_only(call: ToolCall, invoke: Invoke, host: GraphHost) -> Update:
    """Run a call of a tool that only reads, which is neither evaluated nor recorded."""
    request = EvaluationRequest(call.tool, host.runtime.settings.actor)
    try:
        record = CallRecord.of(call, request, host.ports.clock())
    except InvalidCall:  # its arguments are not JSON, so it has no key
        return await invoke()
    with enter_read_only_call(record):
        return await invoke()


async def run_once(call: ToolCall, key: str, invoke: Invoke, host: GraphHost) -> ExecutionResult:
    """Run a recorded call, or find out what became of it; emits the outcome event."""
    policy = host.runtime.settings.policy_for(call.tool)

    async def run_tool(record: CallRecord) -> ToolFinished | ToolPaused:
        try:
            with enter_call(record):
                update = await invoke()
        except ParentCommand as signal:  # the tool did its work and hands over
            return ToolFinished(ToolSucceeded(None), signal)
        except GraphBubbleUp as signal:
            return ToolPaused(signal)
        except Exception as error:  # noqa: BLE001 - recorded first, then raised as configured
            if is_invalid_resume(error):  # the tool's own question got an answer that does not fit
                return ToolPaused(error)
            name = type(error).__name__
            text = host.ports.reporting.redact_text(f"{name}: {exception_text(error)}")
            return ToolFinished(ToolFailed(text, error_class=name), error)
        return ToolFinished(_outcome_of(update, call))

    result = await execute_or_recover(key, policy, call.arguments, host.ports, run_tool)
    if result.record.state is not State.PAUSED:
        emit_event(build_event("outcome", result.record, replayed=result.replayed))
    return result


def with_decision(config: RunnableConfig | None, tool: str) -> RunnableConfig | None:
    """Return the configuration for the run of a tool, with the decision as metadata and tags.

    LangChain's callbacks, and so LangSmith, show them. It is unchanged where the guarded call that
    this code runs in is not one of this tool. It never raises: the call is claimed already, and an
    error would count as the tool's.
    """
    record = current_record()
    if record is None or record.tool != tool:
        return config
    try:
        return _add_decision(config or {}, record)
    except Exception:
        message = "the decision could not be added to the metadata of a tool's run"
        log.exception(message, extra=log_fields(record))
        return config


def _add_decision(config: RunnableConfig, record: CallRecord) -> RunnableConfig:
    fields = {
        **decision_attributes(record.decision),
        **verdict_attributes(record),
        **approval_attributes(record),
    }
    tags = [
        f"bighub:{fields[name]}"
        for name in ("bighub.recommendation", "bighub.approval.state")
        if name in fields
    ]
    metadata = {**(config.get("metadata") or {}), "bighub.call.key": record.key, **fields}
    return {**config, "tags": [*(config.get("tags") or []), *tags], "metadata": metadata}


def _outcome_of(update: Update, call: ToolCall) -> ToolOutcome:
    messages = find_tool_messages(update, call.turn)
    for message in messages:
        if message.tool_call_id == call.call_id and message.status == "error":
            return ToolFailed(str(message.content), update)
    contents = [message.content for message in messages]
    return ToolSucceeded(update, contents[0] if len(contents) == 1 else contents or None)


def update_of(result: ExecutionResult, call: ToolCall) -> Update:
    """Return the update of the state for a call that ran, now or earlier."""
    record = result.record
    if record.result is None or record.result.output is None:
        return [record_message(record)]
    update = record.result.output
    if not isinstance(update, ToolMessage | Command | dict | list):
        # Resolved by a probe or a person: the text is the tool's output.
        status = "success" if record.state is State.EXECUTED else "error"
        call_id = record.call_id
        update = [ToolMessage(str(update), name=record.tool, tool_call_id=call_id, status=status)]
    if record.edited_from is not None:
        update = map_tool_messages(update, call.turn, lambda message: _mention_edit(message, call))
    return map_tool_messages(update, call.turn, mark_replayed) if result.replayed else update


def _mention_edit(message: ToolMessage, call: ToolCall) -> ToolMessage:
    if message.tool_call_id != call.call_id:
        return message
    note, content = edit_note(call.tool, call.arguments), message.content
    blocks = content if isinstance(content, list) else [content]
    new_content = (
        f"{note}\n{content}"
        if isinstance(content, str)
        else [{"type": "text", "text": note}, *blocks]
    )
    return message.model_copy(update={"content": new_content})
