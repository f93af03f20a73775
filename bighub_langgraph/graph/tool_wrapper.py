"""The guard around one tool call: a ToolNode's `wrap_tool_call`, in graphs and in agents."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.prebuilt.tool_node import ToolCallRequest

from bighub_langgraph.concurrency import await_completion, run_sync
from bighub_langgraph.core.approval_answers import InvalidApprovalResponse
from bighub_langgraph.core.call_endings import block_call, cancel_call
from bighub_langgraph.core.claims import ExecutionResult
from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.evaluation import EditedCall, RefusedCall, call_of
from bighub_langgraph.core.model_messages import invalid_call_message
from bighub_langgraph.core.models import CallRecord, State, ToolCall
from bighub_langgraph.core.reporting import build_event
from bighub_langgraph.graph.approval_questions import find_shown_states, is_answered_since
from bighub_langgraph.graph.approval_requests import NOT_UNDERSTOOD, ApprovalRequest
from bighub_langgraph.graph.langgraph_internals import (
    only_blocks,
    reason_not_to_interrupt,
    stored_questions,
    was_resumed,
)
from bighub_langgraph.graph.plan import (
    Plan,
    PlannedCall,
    TurnId,
    calls_of,
    evaluation_items,
    find_message,
    key_of,
    message_tool_call,
    new_plan,
    next_action,
    question_plan,
    read_plan,
    to_tool_calls,
)
from bighub_langgraph.graph.run_fence import fence_run
from bighub_langgraph.graph.tool_execution import (
    AsyncGraphHost,
    GraphHost,
    Invoke,
    Update,
    check_run,
    evaluate,
    run_once,
    run_read_only,
    update_of,
)
from bighub_langgraph.graph.tool_messages import emit_event, error_message, record_message
from bighub_langgraph.graph.tool_proxy import (
    CallGate,
    CallNotStarted,
    ProxiedRequest,
    unwrap_single,
)
from bighub_langgraph.graph.validation import (
    find_argument_errors,
    find_errors,
    find_non_finite_error,
)
from bighub_langgraph.guard_runtime import GuardRuntime

Handler = Callable[[ToolCallRequest], Awaitable[Update]]

CHANGED_ARGUMENTS = "another wrapper changed its arguments before it ran"
ANSWERED_ELSEWHERE = "another middleware answered it"
_REASONS_OF_WRAPPERS = (CHANGED_ARGUMENTS, ANSWERED_ELSEWHERE)


def guard_tool_call(
    runtime: GuardRuntime,
    request: ToolCallRequest,
    handler: Callable[[ToolCallRequest], Any],
    *,
    reported_later: bool = False,
) -> Any:
    """Guard one call of a ToolNode, without an event loop.

    The handler runs the inner wrappers and the tool. With `reported_later` a later step delivers
    the reports of the whole turn.
    """

    async def call_handler(inner: ToolCallRequest) -> Update:
        return handler(inner)

    host = GraphHost(runtime)
    return run_sync(guard_call(request, call_handler, host, reported_later=reported_later))


async def aguard_tool_call(
    runtime: GuardRuntime,
    request: ToolCallRequest,
    handler: Handler,
    *,
    reported_later: bool = False,
) -> Any:
    """Guard one call of a ToolNode on the running loop; see `guard_tool_call`."""
    flow = guard_call(request, handler, AsyncGraphHost(runtime), reported_later=reported_later)
    # The thread of a blocking tool cannot be stopped, so a cancelled task waits for it.
    return await (await_completion(flow) if only_blocks(request.tool) else flow)


async def guard_call(
    request: ToolCallRequest,
    handler: Handler,
    host: GraphHost,
    *,
    turn_id: TurnId | None = None,
    reported_later: bool = False,
) -> Any:
    """Guard one call; `turn_id` names its turn where the state's plan does not count."""
    config, call = request.runtime.config, request.tool_call
    async with fence_run(config, host, call["id"] or ""):
        await check_run(config, host)
        message = find_message(request.state, call["id"])
        # Another call of the turn with the same id makes this one invalid.
        same_id = [other for other in calls_of(message) if other["id"] == call["id"]]
        [error, *_] = find_errors(to_tool_calls(TurnId(), [call, *same_id[1:]]), config)
        if error is not None:
            return error_message(call["name"], call["id"], error)
        plan = read_plan(request.state)
        if turn_id or not plan or message is None or plan["turn"] != message.id:
            plan = new_plan(turn_id or TurnId.of(config, message), host.runtime.settings)
        wrapped_call = _WrappedCall(request, message, handler, host, plan, reported_later)
        return unwrap_single(await wrapped_call.run())


@dataclass(frozen=True, slots=True)
class _WrappedCall:
    """One tool call, as it comes from the outer wrappers, on its way through the guard.

    Attributes:
        message: The AI message of the call, if the state shows it.
        handler: The inner wrappers and the tool.
        plan: The plan of the turn; without calls where the turn was not planned.
    """

    request: ToolCallRequest
    message: AIMessage | None
    handler: Handler
    host: GraphHost
    plan: Plan
    reported_later: bool

    async def run(self) -> Update:
        """Evaluate, ask, claim and run; what the inner wrappers change is evaluated again."""
        call = self.request.tool_call
        original = self._make_call(call["name"], call["args"])
        for planned_call in self.plan["calls"]:
            if (key := planned_call.get("edited_from")) and key == original.key:
                return await self._run_edited(planned_call, original)
        return await self._run(self.request, original)

    async def _run_edited(
        self, planned_call: PlannedCall, original: ToolCall, earlier: Sequence[Any] = ()
    ) -> Update:
        """Run what a person made of the call, if the journal has the edit.

        `earlier` are the answers that this task took about the original call.
        """
        if error := planned_call.get("error"):
            return [error_message(planned_call["name"], planned_call["id"], error)]
        [item] = await evaluation_items(self.plan, [planned_call], self.host.ports)
        if not isinstance(item, EditedCall):
            return await self._run(self.request, original)
        tools = [self.request.tool, *self.request.runtime.tools]
        tool = next((tool for tool in tools if tool and tool.name == planned_call["name"]), None)
        # Where the question was answered, perhaps in another process, the tool was not known.
        if error := find_argument_errors(tool, planned_call["args"]):
            return [error_message(planned_call["name"], planned_call["id"], error)]
        request = replace(self.request, tool_call=message_tool_call(planned_call), tool=tool)
        return await self._run(request, item, earlier)

    async def _run(
        self,
        request: ToolCallRequest,
        item: ToolCall | EditedCall,
        earlier: Sequence[Any] = (),
    ) -> Update:
        call = call_of(item)
        is_read_only = self.host.runtime.settings.policy_for(call.tool).read_only
        if is_read_only or request.tool is None:
            # An inner wrapper may know an unknown tool; the call is evaluated in front of it.
            inner = self._guard_tool(request, key_of(call) if is_read_only else None)
            return await run_read_only(call, lambda: self.handler(inner), self.host)
        record = await self._evaluate(item)
        if isinstance(record, RefusedCall):
            return _error_update(record)
        if record.state is State.CANCELLED and record.reason in _REASONS_OF_WRAPPERS:
            return await self.handler(self._guard_tool(request, None))
        if record.state is State.AWAITING or self._is_answered_here(record):
            record, edited_call, answers = await self._ask_person(call, record, earlier=earlier)
            if edited_call is not None:
                return await self._run_edited(edited_call, call, [*earlier, *answers])
        else:
            await self._emit_answer(record)
        if next_action(record, self.host.runtime.settings) == "done":
            return await self._answer(record)
        return await self._execute(request, call, record.key)

    async def _run_changed_call(self, call: ToolCall, invoke: Invoke) -> Update:
        """Decide about a call that an inner wrapper changed."""
        if self.host.runtime.settings.policy_for(call.tool).read_only:
            return await run_read_only(call, invoke, self.host)
        record = await self._evaluate(call)
        if isinstance(record, RefusedCall):
            return _error_update(record)
        if record.state is State.AWAITING:
            record, *_ = await self._ask_person(call, record, allow_edits=False)
        else:
            await self._emit_answer(record)
        if next_action(record, self.host.runtime.settings) == "done":
            return await self._answer(record)
        return update_of(await self._run_once(call, record.key, invoke), call)

    async def _evaluate(self, item: ToolCall | EditedCall) -> CallRecord | RefusedCall:
        call, tool = call_of(item), self.request.tool
        key = key_of(call)
        # Most calls are evaluated with the model's response: a policy's functions run only then.
        if key is not None and (record := (await self.host.ports.find([key])).get(key)):
            return record
        if (
            tool is not None
            and tool.name == call.tool
            and (error := find_non_finite_error(tool, call.arguments))
        ):
            return RefusedCall(call, InvalidCall(error))
        config = self.request.runtime.config
        [evaluated_call] = await evaluate([item], self.plan["turn"], config, self.host)
        return evaluated_call

    async def _answer(self, record: CallRecord) -> Update:
        """Answer a call that has ended without its tool, and report it."""
        await self.host.ports.deliver(None)
        return [record_message(record)]

    async def _emit_answer(self, record: CallRecord) -> None:
        """Emit the event of an answer that ended a call while its question was open here."""
        config = self.request.runtime.config
        if record.is_final and was_resumed(config):
            questions = await stored_questions(config, self.host.get_checkpoint)
            shown_states = [find_shown_states(question.value) for question in questions.interrupts]
            if any(is_answered_since(states, record) for states in shown_states):
                emit_event(build_event("approval", record))

    async def _ask_person(
        self,
        call: ToolCall,
        record: CallRecord,
        *,
        allow_edits: bool = True,
        earlier: Sequence[Any] = (),
    ) -> tuple[CallRecord, PlannedCall | None, Sequence[Any]]:
        """Return the record after a person was asked, the call as edited, and the answers taken."""
        tool = self.request.tool
        tool = tool if tool is not None and tool.name == call.tool else None
        error = find_argument_errors(tool, call.arguments)
        # Behind an edit of this call the task can be paused, as it was for the edit.
        if reason := error or (
            None if earlier else reason_not_to_interrupt(self.request, self.message)
        ):
            return await block_call(record, reason, self.host.ports), None, ()
        settings, config = self.host.runtime.settings, self.request.runtime.config
        question = ApprovalRequest(
            question_plan(call, record.key, settings),
            {record.key: record},
            settings,
            {tool.name: tool for tool in self.request.runtime.tools},
            allow_edits=allow_edits,
        )
        # Of a call that was left open by an earlier answer, a second invalid one is the last.
        was_asked = any(
            item["next"] == "ask" for item in self.plan["calls"] if item["key"] == record.key
        )
        try:
            answers = await question.ask(
                config,
                self.host,
                is_checked=self.plan["per_call"] or not was_asked,
                earlier=earlier,
            )
        except InvalidApprovalResponse as error:
            reason = NOT_UNDERSTOOD.format(error)
            return await block_call(record, reason, self.host.ports), None, ()
        [answered_call] = await question.record_answers(answers, config, self.host.ports)
        planned_call, record = answered_call
        if planned_call["next"] == "ask":
            question.ask_more(config)
        is_edited = planned_call["next"] == "evaluate" or "error" in planned_call
        return record, planned_call if is_edited else None, question.taken_answers

    def _is_answered_here(self, record: CallRecord) -> bool:
        """Whether this task took the answer about a call before it started again from its top.

        It takes it again, so that a question of the tool itself does not get it.
        """
        was_answered = record.state is State.EDITED or (
            record.state in {State.ALLOWED, State.PAUSED}
            and record.approval
            and record.edited_from is None
        )
        # The plan has what was answered before this task.
        is_planned = any(
            call["id"] == record.call_id and (call["next"] == "execute" or "edited_from" in call)
            for call in self.plan["calls"]
        )
        return bool(was_answered) and not is_planned and was_resumed(self.request.runtime.config)

    async def _execute(self, request: ToolCallRequest, call: ToolCall, key: str) -> Update:
        inner = self._guard_tool(request, key)

        def invoke() -> Awaitable[Update]:
            return inner.gate.run(self.handler(inner))

        result = await self._run_once(call, key, invoke)
        is_unknown = result.record.state is State.UNKNOWN
        if is_unknown and reason_not_to_interrupt(self.request, self.message) is None:
            await self._ask_person(call, result.record)
            result = await self._run_once(call, key, invoke)
        if isinstance(result.signal, CallNotStarted):
            reason = CHANGED_ARGUMENTS if inner.gate.is_replaced else ANSWERED_ELSEWHERE
            await cancel_call(result.record, reason, self.host.ports)
            await self.host.ports.deliver(None)
            return result.signal.result()
        return update_of(result, call)

    async def _run_once(self, call: ToolCall, key: str, invoke: Invoke) -> ExecutionResult:
        """Run a call once; raises what its tool raises, after the journal has it."""
        result = await run_once(call, key, invoke, self.host)
        tool = self.request.tool
        ends_turn = result.signal is not None or tool is None or tool.return_direct
        if self.reported_later and not ends_turn:
            self.host.ports.schedule_delivery()
        else:
            await self.host.ports.deliver(None)
        if result.signal is not None and not isinstance(result.signal, CallNotStarted):
            raise result.signal
        return result

    def _guard_tool(self, request: ToolCallRequest, key: str | None) -> ProxiedRequest:
        """Return a request whose tool runs only for the evaluated call with this key."""
        gate = CallGate(self._make_call, key, self._run_changed_call)
        return ProxiedRequest.of(request, gate)

    def _make_call(self, name: str, arguments: Mapping[str, Any]) -> ToolCall:
        call_id = self.request.tool_call["id"] or ""
        return ToolCall(self.plan["thread"], self.plan["turn"], call_id, name, dict(arguments))


def _error_update(refused_call: RefusedCall) -> Update:
    call = refused_call.call
    return [
        error_message(call.tool, call.call_id, invalid_call_message(call.tool, refused_call.error))
    ]
