"""The guard around one tool call: for a bare ToolNode's `wrap_tool_call`, and for agents."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.messages import ToolCall as MessageCall
from langchain_core.tools import BaseTool
from langgraph.prebuilt.tool_node import ToolCallRequest

from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.evaluation import EditedCall, RefusedCall, evaluate_calls
from bighub_langgraph.core.execution import ExecutionResult, cancel_call
from bighub_langgraph.core.model_messages import invalid_call_message
from bighub_langgraph.core.models import CallRecord, State, ToolCall
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.graph.answering import answered, refused, tell
from bighub_langgraph.graph.arriving import (
    WITHOUT_TOOL,
    BeforeTool,
    Replaced,
    alone,
    call_of,
    key_of,
)
from bighub_langgraph.graph.checks import faults, refuse_forgetful
from bighub_langgraph.graph.evaluating import asked
from bighub_langgraph.graph.langgraph_internals import only_blocks, was_resumed
from bighub_langgraph.graph.pausing import may_ask_again, reason_not_to_pause
from bighub_langgraph.graph.questions import Question
from bighub_langgraph.graph.reporting import tell_of, tell_soon
from bighub_langgraph.graph.state import (
    CHANNEL,
    Plan,
    Planned,
    message_of,
    minted,
    read,
    thread_of,
)
from bighub_langgraph.graph.stored import until_stored
from bighub_langgraph.graph.tooling import Update, plan_to_ask, run_once, said
from bighub_langgraph.graph.watching import OpenDoor, WatchedRequest
from bighub_langgraph.guard import BighubGuard

Chain = Callable[[ToolCallRequest], Awaitable[Update]]

CHANGED = "another wrapper changed its arguments before it ran"


def wrap(
    guard: BighubGuard,
    request: ToolCallRequest,
    handler: Callable[[ToolCallRequest], Any],
    *,
    told_behind: bool = False,
) -> Any:
    """Guard one call of a ToolNode, without an event loop."""

    async def chain(inner: ToolCallRequest) -> Update:
        return handler(inner)

    return run_sync(_Wrapped(request, chain, guard, guard.runtime.ports, told_behind).run())


async def awrap(
    guard: BighubGuard, request: ToolCallRequest, handler: Chain, *, told_behind: bool = False
) -> Any:
    """Guard one call of a ToolNode on the running loop."""
    flow = _Wrapped(request, handler, guard, guard.runtime.async_ports, told_behind).run()
    return await (_to_its_end(flow) if only_blocks(request.tool) else flow)


@dataclass(frozen=True, slots=True)
class _Wrapped:
    """One tool call on its way through the guard.

    Attributes:
        request: As it comes from the wrappers outside.
        chain: The wrappers inside, and the tool.
        told_behind: Whether a later step tells BIGHUB of the whole turn.
    """

    request: ToolCallRequest
    chain: Chain
    guard: BighubGuard
    ports: Ports
    told_behind: bool

    @property
    def call_id(self) -> str | None:
        """The provider's id of the call."""
        return self.request.tool_call["id"]

    async def run(self) -> Any:
        """Evaluate, ask, claim and run; what the wrappers inside change is evaluated again."""
        config = self.request.runtime.config
        refuse_forgetful(self.ports.journal, config)
        info = self.request.runtime.execution_info
        blocking = self.ports is not self.guard.runtime.async_ports
        await until_stored(config, info, self.ports, blocking=blocking)
        mine = self.request.tool_call
        message = message_of(self.request.state, mine["id"])
        if fault := self._fault(message):
            return refused(mine["name"], mine["id"], fault)
        return alone(await self._attempt(*self._first(plan := self._plan(message)), plan))

    def _fault(self, message: AIMessage | None) -> str | None:
        """What is wrong with the call, or with its like in the same turn."""
        mine = self.request.tool_call
        turn = [one for one in (message.tool_calls if message else []) if one["id"] == mine["id"]]
        runtime = self.request.runtime
        return faults([mine, *turn[1:]], None, runtime.config, runtime.execution_info)[0]

    def _plan(self, message: AIMessage | None) -> Plan:
        """The turn's plan, where it was made; else thread and turn alone."""
        turn = message.id if message is not None else None
        made: Plan | None = read(self.request.state, CHANNEL)
        if made and made["turn"] == turn:
            return made
        thread = thread_of(self.request.runtime.config)
        return Plan(thread=thread or minted(), turn=turn or minted(), calls=[])

    def _first(self, plan: Plan) -> tuple[ToolCallRequest, ToolCall | EditedCall]:
        """The model's call, or what a person made of it before this task."""
        mine = self.request.tool_call
        original = call_of(plan, mine["id"], mine["name"], mine["args"])
        for one in plan["calls"]:
            if "edit" in one and one["edit"]["edited_from"] == original.key:
                return self._edited(one), asked(plan, one)
        return self.request, original

    def _edited(self, one: Planned) -> ToolCallRequest:
        """The request with what a person made of the call."""
        tool = _tool_named(one["name"], self.request)
        call = MessageCall(name=one["name"], args=one["args"], id=one["id"], type="tool_call")
        return replace(WatchedRequest.of(self.request, OpenDoor()), tool_call=call, tool=tool)

    async def _attempt(
        self, request: ToolCallRequest, target: ToolCall | EditedCall, plan: Plan
    ) -> Update:
        call = _plain(target)
        if self.guard.runtime.settings.policy_for(call.tool).read_only:
            door = BeforeTool(self, plan, key_of(call))
            return await self.chain(WatchedRequest.of(request, door))
        if request.tool is None:
            # A wrapper inside may know the tool; if so, the call is looked at before it.
            return await self._unseen(request, plan)
        record = await self.considered(target)
        if isinstance(record, RefusedCall):
            return [refused(call.tool, call.call_id, invalid_call_message(call.tool, record.error))]
        return await self._by_record(request, call, record, plan)

    async def _unseen(self, request: ToolCallRequest, plan: Plan) -> Update:
        """Hand a call down that only the door before the tool will know."""
        return await self.chain(WatchedRequest.of(request, BeforeTool(self, plan, None)))

    async def _by_record(
        self, request: ToolCallRequest, call: ToolCall, record: CallRecord, plan: Plan
    ) -> Update:
        if record.state is State.BLOCKED and record.reason == CHANGED:
            return await self._unseen(request, plan)
        if record.state is State.AWAITING or self._edit_to_read(record):
            record, edited = await self.asked_here(call, record)
            if edited is not None:
                return await self._attempt(self._edited(edited), asked(plan, edited), plan)
        if record.state in WITHOUT_TOOL:
            await self.deliver()
            return [answered(record)]
        return await self._run(request, call, record.key, plan)

    def _edit_to_read(self, record: CallRecord) -> bool:
        """Whether a person's edit was settled in this task, which then began anew."""
        return record.state is State.EDITED and was_resumed(self.request.runtime.config)

    async def considered(self, target: ToolCall | EditedCall) -> CallRecord | RefusedCall:
        """What the journal says of a call, after BIGHUB was asked about a new one."""
        if (known := await self._known(_plain(target))) is not None:
            return known
        session = thread_of(self.request.runtime.config) or _plain(target).turn
        [record] = await evaluate_calls(
            [target],
            self.guard.runtime.settings,
            self.ports,
            session=session,
            trajectory=session,
            on_new=lambda record: tell(self.guard.runtime.emit_decision(record)),
        )
        return record

    async def _known(self, call: ToolCall) -> CallRecord | None:
        """The record of a call that was considered before, as most were with the model's answer."""
        key = key_of(call)
        return None if key is None else (await self.ports.find([key])).get(key)

    async def asked_here(
        self, call: ToolCall, record: CallRecord, *, edits: bool = True
    ) -> tuple[CallRecord, Planned | None]:
        """Ask a person, where pausing this task is safe; else nobody can be asked."""
        if reason := reason_not_to_pause(self.request):
            return await cancel_call(record, reason, self.ports), None
        asking = plan_to_ask(call)
        if self.guard.runtime.settings.approvals.interrupt_mode == "per_call":
            asking["per_call"] = True
        tools = {one.name: one for one in self.request.runtime.tools}
        question = Question(asking, {record.key: record}, self.guard, tools, edits=edits)
        given = question.ask_once()
        [settled] = await question.settle(given, self.request.runtime.config, self.ports)
        return settled.record, settled.edited

    async def _run(self, request: ToolCallRequest, call: ToolCall, key: str, plan: Plan) -> Update:
        door = BeforeTool(self, plan, key)
        watched = WatchedRequest.of(request, door)
        ran = await self.ran(call, key, lambda: door.through(self.chain(watched)))
        if ran.record.state is State.UNKNOWN and may_ask_again(self.request, ran.record, plan):
            await self.asked_here(call, ran.record)
            ran = await self.ran(call, key, lambda: door.through(self.chain(watched)))
        if isinstance(ran.signal, Replaced):
            await cancel_call(ran.record, CHANGED, self.ports)
            await self.deliver()
            return ran.signal.given()
        return said(ran, call)

    async def ran(
        self, call: ToolCall, key: str, invoke: Callable[[], Awaitable[Any]]
    ) -> ExecutionResult:
        """Run a call once; raises what its tool raises, after the journal has it."""
        ran = await run_once(call, key, invoke, self.guard, self.ports)
        tool = self.request.tool
        leaving = ran.signal is not None or tool is None or tool.return_direct
        await self.deliver(later=self.told_behind and not leaving)
        if ran.signal is not None and not isinstance(ran.signal, Replaced):
            raise ran.signal
        return ran

    async def deliver(self, *, later: bool = False) -> None:
        """Tell BIGHUB, in the background where it is far away; or leave it to a later step."""
        if later:
            tell_soon(self.guard, self.ports)
        else:
            await tell_of(None, self.guard, self.ports)


def _plain(target: ToolCall | EditedCall) -> ToolCall:
    return target.call if isinstance(target, EditedCall) else target


def _tool_named(name: str, request: ToolCallRequest) -> BaseTool | None:
    if request.tool is not None and request.tool.name == name:
        return request.tool
    return next((one for one in request.runtime.tools if one.name == name), None)


async def _to_its_end(flow: Coroutine[Any, Any, Any]) -> Any:
    """Wait for a blocking tool even when cancelled: its thread cannot be stopped, only lost."""
    task = asyncio.ensure_future(flow)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        raise
