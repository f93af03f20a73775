"""The guard in LangChain's `create_agent`."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, NamedTuple, NotRequired

from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.config import get_config
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command

from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.approval_answers import InvalidApprovalResponse
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.execution import cancel_call
from bighub_langgraph.core.models import State
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.graph.amending import after_answers, covers, is_over
from bighub_langgraph.graph.answering import answered, answers_in
from bighub_langgraph.graph.checks import faults, refuse_forgetful
from bighub_langgraph.graph.evaluating import consider_plan, plan_turn
from bighub_langgraph.graph.langgraph_internals import node_name
from bighub_langgraph.graph.opening import answered_in, mend
from bighub_langgraph.graph.questions import Question
from bighub_langgraph.graph.state import (
    CHANNEL,
    Plan,
    Planned,
    execution_info,
    last_turn,
    messages_of,
    minted,
    newer,
    part_of,
    read,
)
from bighub_langgraph.graph.wrapping import CHANGED, awrap, wrap
from bighub_langgraph.guard import BighubGuard
from bighub_langgraph.guard_runtime import END_OF_RUN

try:
    from langchain.agents.middleware import (
        AgentMiddleware,
        AgentState,
        ExtendedModelResponse,
        ModelRequest,
        ModelResponse,
        ToolCallRequest,
        hook_config,
    )
    from langchain.agents.middleware.types import OmitFromSchema
except ImportError as error:  # pragma: no cover - the extra is always there in tests
    raise ImportError(
        "BighubMiddleware needs LangChain 1.4.7 or newer: pip install 'bighub-langgraph[langchain]'"
    ) from error

ANSWERED_ELSEWHERE = "another middleware answered it"


class GuardedAgentState(AgentState[Any]):
    """The agent's state with the guard's private plan, which inputs and outputs do not show."""

    bighub: NotRequired[Annotated[Plan, OmitFromSchema(input=True, output=True), newer]]


class _Mended(NamedTuple):
    """What the model is asked, and the messages of the state where overtaken calls are closed."""

    request: ModelRequest[Any]
    messages: Sequence[BaseMessage] | None = None

    def update(self, result: Sequence[BaseMessage]) -> dict[str, Any]:
        """What changes in the state beside the answer of the model."""
        if self.messages is None:
            return {}
        return {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES), *self.messages, *result]}


class BighubMiddleware(AgentMiddleware[Any, Any, Any]):
    """Guards the tools of `create_agent(model, tools, middleware=[BighubMiddleware(guard)])`.

    BIGHUB is asked with the model's answer, a person in `after_model`, and each call is looked at
    again and claimed in `wrap_tool_call`, so that nothing runs that was not evaluated as it runs.
    It may stand anywhere in the list. Retries belong behind it: in front of it they get the stored
    result of the first attempt.

    Args:
        guard: The guard; with a checkpointer that outlives the process it needs a durable journal.
    """

    state_schema = GuardedAgentState

    def __init__(self, guard: BighubGuard) -> None:
        super().__init__()
        if not isinstance(guard, BighubGuard):
            raise ConfigurationError(f"BighubMiddleware takes a BighubGuard, not {guard!r}")
        self.guard = guard
        self.tools: Sequence[BaseTool] = []
        # The tools the model was shown last, to check a person's edits against. After a restart
        # they are not known yet; then the ToolNode checks, and the model reads what is wrong.
        self._shown: dict[str, BaseTool] = {}

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ExtendedModelResponse[Any]:
        """Evaluate what the model asks for, in the step that stores its answer."""
        mended = run_sync(self._round_over(request, self.guard.runtime.ports))
        response = handler(mended.request)
        return run_sync(self._evaluated(mended, response, self.guard.runtime.ports))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ExtendedModelResponse[Any]:
        """The same for a coroutine."""
        mended = await self._round_over(request, self.guard.runtime.async_ports)
        response = await handler(mended.request)
        return await self._evaluated(mended, response, self.guard.runtime.async_ports)

    @hook_config(can_jump_to=["end"])
    def after_model(self, state: Any, runtime: Any) -> Any:  # noqa: ARG002
        """Ask a person about the calls that need one, and answer those that are blocked."""
        return run_sync(self._decided(state, self.guard.runtime.ports))

    @hook_config(can_jump_to=["end"])
    async def aafter_model(self, state: Any, runtime: Any) -> Any:  # noqa: ARG002
        """The same for a coroutine."""
        return await self._decided(state, self.guard.runtime.async_ports)

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]
    ) -> Any:
        """Run one call once, if it is what was evaluated."""
        return wrap(self.guard, request, handler, told_behind=True)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        """The same for a coroutine."""
        return await awrap(self.guard, request, handler, told_behind=True)

    async def _mended(self, request: ModelRequest[Any], ports: Ports) -> _Mended:
        """Close calls that a new message has overtaken, before the model runs."""
        messages = await mend(request.state, get_config(), ports)
        if messages is None:
            return _Mended(request)
        # Others may have changed what the model is shown; what it is told of each call is the same.
        told = {one.tool_call_id: one for one in messages if isinstance(one, ToolMessage)}
        shown: Any = answered_in(request.messages, told)
        return _Mended(request.override(messages=shown), messages)

    async def _round_over(self, request: ModelRequest[Any], ports: Ports) -> _Mended:
        """Tell BIGHUB of the tool round that is over; nobody will run what is left of it."""
        mended = await self._mended(request, ports)
        plan: Plan | None = read(request.state, CHANNEL)
        if not plan:
            return mended
        await _close_open(plan, ANSWERED_ELSEWHERE, ports)
        await self._start(ports, plan["turn"])
        return mended

    async def _evaluated(
        self, mended: _Mended, response: ModelResponse[Any], ports: Ports
    ) -> ExtendedModelResponse[Any]:
        result = [response] if isinstance(response, AIMessage) else response.result
        message, done = last_turn(result)
        if message is None or not message.tool_calls:
            return _extended(response, mended.update(result))
        if message.id is None:  # a model that was stood in for; the key needs one that stays
            message.id = minted()
        tools = {one.name: one for one in mended.request.tools if isinstance(one, BaseTool)}
        self._shown |= tools
        plan = await self._planned(message, done, tools, ports)
        return _extended(response, {**mended.update(result), CHANNEL: plan})

    async def _planned(
        self, message: AIMessage, done: set[str], tools: dict[str, BaseTool] | None, ports: Ports
    ) -> Plan:
        config = get_config()
        refuse_forgetful(ports.journal, config)
        calls = [one for one in message.tool_calls if one["id"] not in done]
        wrong = faults(calls, tools, config, execution_info(config), complete=False)
        # A tool that the model was not shown may come from a wrapper; it is looked at there.
        names = {one["name"] for one in calls}
        later = set() if tools is None else names - tools.keys()
        plan = plan_turn(calls, wrong, self.guard, config, turn=message.id, later=later)
        await consider_plan(plan, self.guard, config, ports)
        return plan

    async def _decided(self, state: Any, ports: Ports) -> Any:
        message, done = last_turn(messages_of(state, "messages"))
        calls = [one for one in (message.tool_calls if message else []) if one["id"] not in done]
        if message is None or not calls:
            await self._wait(ports)
            return None
        plan: Plan | None = read(state, CHANNEL)
        if not plan or not covers(plan, message, calls):
            # Another middleware changed what the model asked for: evaluated again, and asked about
            # a step later, when the new plan is stored.
            before, plan = plan, await self._planned(message, done, None, ports)
            if before:
                why = CHANGED if before["turn"] == message.id else ANSWERED_ELSEWHERE
                await _close_open(before, why, ports, but=plan)
            if any(one["next"] == "ask" for one in plan["calls"]) and not plan.get("per_call"):
                return self._again(plan)
        open_ids = {one["id"] for one in calls}
        asking = [one for one in plan["calls"] if one["next"] == "ask" and one["id"] in open_ids]
        if not asking or plan.get("per_call"):
            said = [one for one in await answers_in(plan, ports) if one.tool_call_id in open_ids]
            # As most of the time: every call runs, as the stored plan says.
            stored = not said and plan is read(state, CHANNEL)
            return None if stored else {"messages": said, CHANNEL: plan}
        return await self._asked(plan, asking, open_ids, ports)

    async def _asked(
        self, plan: Plan, asking: Sequence[Planned], open_ids: set[str | None], ports: Ports
    ) -> Any:
        records = await ports.find([one["key"] or "" for one in asking])
        if len(records) < len(asking):  # the journal has forgotten: evaluated again
            return self._again(part_of(plan, []))
        question = Question({**plan, "calls": list(asking)}, records, self.guard, self._shown)
        node_name(get_config())  # raises before anybody is asked, if an answer could not lead back
        answer = question.ask()
        try:
            given = question.read(answer)
        except InvalidApprovalResponse as error:
            return self._again({**plan, "unclear": str(error)})
        settled = await question.settle(given, get_config(), ports)
        told = [answered(one.record) for one in settled if is_over(one)]
        settled_plan = part_of(plan, [after_answers(one, settled) for one in plan["calls"]])
        if any(one["next"] == "ask" for one in settled_plan["calls"]):
            return self._again(settled_plan, told)
        await self._start(ports)
        told = [
            one for one in await answers_in(settled_plan, ports) if one.tool_call_id in open_ids
        ]
        return {"messages": told, CHANNEL: settled_plan}

    def _again(self, plan: Plan, told: Sequence[Any] = ()) -> Command[Any]:
        """Come back to this node with a stored plan; `goto` alone would run the tools as well."""
        update = {CHANNEL: plan, "messages": list(told), "jump_to": "end"}
        return Command(update=update, goto=node_name(get_config()))

    async def _start(self, ports: Ports, turn: str | None = None) -> None:
        if ports is self.guard.runtime.async_ports:
            await self.guard.runtime.delivery.deliver_async(turn)
        else:
            self.guard.runtime.delivery.deliver(turn)

    async def _wait(self, ports: Ports) -> None:
        if ports is self.guard.runtime.async_ports:
            await self.guard.runtime.delivery.wait_async(END_OF_RUN)
        else:
            self.guard.runtime.delivery.wait(END_OF_RUN)


async def _close_open(plan: Plan, why: str, ports: Ports, *, but: Plan | None = None) -> None:
    """Close the calls of a plan that nobody will run, `but` those of another plan."""
    kept = {one["key"] for one in but["calls"]} if but else set[str | None]()
    keys = [key for one in plan["calls"] if (key := one["key"]) is not None and key not in kept]
    for record in (await ports.find(keys)).values() if keys else ():
        if record.state in {State.AWAITING, State.ALLOWED}:
            await cancel_call(record, why, ports)


def _extended(response: ModelResponse[Any], update: dict[str, Any]) -> ExtendedModelResponse[Any]:
    return ExtendedModelResponse(response, Command(update=update) if update else None)
