"""The guard in LangChain's `create_agent`."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, NotRequired

from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage
from langchain_core.tools import BaseTool
from langgraph.config import get_config
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command

from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.call_endings import cancel_call
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.models import EXPIRING_STATES
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.graph.approval_requests import ask_person
from bighub_langgraph.graph.plan import (
    CHANNEL,
    Plan,
    PlannedCall,
    Turn,
    TurnId,
    calls_of,
    covers,
    last_turn,
    new_id,
    new_plan,
    plan_calls,
    read_messages,
    read_plan,
    replace_plan,
    subplan,
    to_tool_calls,
)
from bighub_langgraph.graph.run_fence import fence_run
from bighub_langgraph.graph.stale_calls import close_stale_calls, insert_answers
from bighub_langgraph.graph.tool_execution import AsyncGraphHost, GraphHost, evaluate_plan
from bighub_langgraph.graph.tool_messages import answer_finished_calls
from bighub_langgraph.graph.tool_wrapper import (
    ANSWERED_ELSEWHERE,
    CHANGED_ARGUMENTS,
    aguard_tool_call,
    guard_tool_call,
)
from bighub_langgraph.graph.validation import warn_about_policies
from bighub_langgraph.guard import BighubGuard

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


# Of so many turns the tools are remembered.
MAX_TURNS = 10_000


class GuardedAgentState(AgentState[Any]):
    """The agent's state with the guard's private plan, which inputs and outputs do not show."""

    bighub: NotRequired[Annotated[Plan, OmitFromSchema(input=True, output=True), replace_plan]]


class BighubMiddleware(AgentMiddleware[Any, Any, Any]):
    """Guards the tools of `create_agent(model, tools, middleware=[BighubMiddleware(guard)])`.

    Calls are evaluated with the model's response, a person is asked in `after_model`, and each call
    is checked again and claimed in `wrap_tool_call`, so that nothing runs that was not evaluated as
    it runs. It may stand anywhere in the list. Retries belong behind it: in front of it they get
    the stored result of the first attempt.

    Args:
        guard: The guard; with a checkpointer that outlives the process it needs a durable journal.
    """

    state_schema = GuardedAgentState

    def __init__(self, guard: BighubGuard) -> None:
        super().__init__()
        if not isinstance(guard, BighubGuard):
            raise ConfigurationError(f"BighubMiddleware takes a BighubGuard, not {guard!r}")
        self.guard = guard
        self._host, self._async_host = GraphHost(guard.runtime), AsyncGraphHost(guard.runtime)
        self.tools: Sequence[BaseTool] = []
        # The tools the model was shown, by turn, to check a person's edits against; several agents
        # may have this middleware. The last two different sets of them tell whether a turn of
        # another process can have others. Then the ToolNode checks, and the model reads the error.
        self._tools_by_turn: dict[str, dict[str, BaseTool]] = {}
        self._tool_sets: list[dict[str, BaseTool]] = []

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ExtendedModelResponse[Any]:
        """Evaluate the model's calls, in the step that stores its response."""

        async def call_model(inner: ModelRequest[Any]) -> ModelResponse[Any]:
            return handler(inner)

        return run_sync(self._call_model(request, call_model, self._host))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ExtendedModelResponse[Any]:
        """Async variant of `wrap_model_call`."""
        return await self._call_model(request, handler, self._async_host)

    @hook_config(can_jump_to=["model"])
    def after_model(self, state: Any, runtime: Any) -> Any:  # noqa: ARG002
        """Ask a person about the calls that need one, and answer those that are blocked."""
        return run_sync(self._decide(state, self._host))

    @hook_config(can_jump_to=["model"])
    async def aafter_model(self, state: Any, runtime: Any) -> Any:  # noqa: ARG002
        """Async variant of `after_model`."""
        return await self._decide(state, self._async_host)

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]
    ) -> Any:
        """Run one call once, if it is what was evaluated."""
        return guard_tool_call(self.guard.runtime, request, handler, reported_later=True)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        """Async variant of `wrap_tool_call`."""
        return await aguard_tool_call(self.guard.runtime, request, handler, reported_later=True)

    # -- before and after the model ----------------------------------------------------------------

    async def _call_model(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
        host: GraphHost,
    ) -> ExtendedModelResponse[Any]:
        async with fence_run(get_config(), host):
            request, messages = await self._end_tool_round(request, host)
            response = await handler(request)
            return await self._evaluate_response(request, messages, response, host)

    async def _end_tool_round(
        self, request: ModelRequest[Any], host: GraphHost
    ) -> tuple[ModelRequest[Any], list[BaseMessage] | None]:
        """Report the last tool round, and close the calls that nobody will run any more.

        Returns:
            The request, and the messages of the state if they have changed.
        """
        messages = await close_stale_calls(
            request.state, get_config(), host.ports, answered_reason=ANSWERED_ELSEWHERE
        )
        if messages is not None:
            # Other middleware may have changed the request's messages; the answers are the same.
            request_messages: Any = insert_answers(request.messages, messages)
            request = request.override(messages=request_messages)
        plan = read_plan(request.state)
        if plan:
            await _cancel_open_calls(plan, ANSWERED_ELSEWHERE, host.ports)
            await host.ports.deliver(plan["turn"])
        return request, messages

    async def _evaluate_response(
        self,
        request: ModelRequest[Any],
        messages: list[BaseMessage] | None,
        response: ModelResponse[Any],
        host: GraphHost,
    ) -> ExtendedModelResponse[Any]:
        result = [response] if isinstance(response, AIMessage) else response.result
        update: dict[str, Any] = {}
        if messages is not None:
            update["messages"] = [RemoveMessage(REMOVE_ALL_MESSAGES), *messages, *result]
        turn = last_turn(result)
        message = turn.message
        if message is not None and calls_of(message):
            if message.id is None:  # from a stand-in for the model; keys need an id that stays
                message.id = new_id()
            tools = {tool.name: tool for tool in request.tools if isinstance(tool, BaseTool)}
            self._tools_by_turn[message.id] = tools
            if tools not in self._tool_sets:
                self._tool_sets = [*self._tool_sets[-1:], tools]
                warn_about_policies(self.guard.runtime.settings.tools.keys(), tools.keys())
            if len(self._tools_by_turn) > MAX_TURNS:
                del self._tools_by_turn[next(iter(self._tools_by_turn))]
            update[CHANNEL] = await self._plan_turn(turn, tools, host)
        return ExtendedModelResponse(response, Command(update=update) if update else None)

    async def _plan_turn(
        self, turn: Turn, tools: dict[str, BaseTool] | None, host: GraphHost
    ) -> Plan:
        config = get_config()
        turn_id = TurnId.of(config, turn.message)
        calls = to_tool_calls(turn_id, turn.open_calls)
        # A tool that the model was not shown may come from a wrapper; it is evaluated there.
        plan = new_plan(turn_id, host.runtime.settings, plan_calls(calls, tools))
        await evaluate_plan(plan, config, host, tools=tools, all_tools_known=False)
        return plan

    # -- asking a person ---------------------------------------------------------------------------

    async def _decide(self, state: Any, host: GraphHost) -> Any:
        async with fence_run(get_config(), host):
            turn = last_turn(read_messages(state, "messages"))
            message, open_ids = turn.message, {call["id"] or "" for call in turn.open_calls}
            if message is None or not open_ids:
                await host.wait_for_delivery()
                return None
            stored_plan = read_plan(state)
            if stored_plan and covers(stored_plan, message, open_ids):
                plan = stored_plan
            else:
                plan = await self._replace_plan(stored_plan, turn, host)
            calls = [call for call in plan["calls"] if call["id"] in open_ids]
            questions = [call for call in calls if call["next"] == "ask"]
            if questions and not plan["per_call"]:
                plan = await self._ask_person(plan, questions, host)
            # The agent sends calls whose id is None to the tools all the same, which answer them.
            if any(call["id"] is None for call in message.tool_calls):
                open_ids.discard("")
            answers = [
                answer
                for answer in await answer_finished_calls(plan, host.ports)
                if answer.tool_call_id in open_ids
            ]
            if not answers and plan is stored_plan:  # as usual: every call runs, as it is planned
                return None
            update = {"messages": answers, CHANNEL: plan}
            # The agent ends behind a message whose calls LangChain could not parse, unlike the
            # guard.
            return update if message.tool_calls else {**update, "jump_to": "model"}

    async def _replace_plan(self, stored_plan: Plan | None, turn: Turn, host: GraphHost) -> Plan:
        """Evaluate the model's calls again, which another middleware has changed."""
        plan = await self._plan_turn(turn, None, host)
        if stored_plan:
            is_same_turn = turn.message is not None and stored_plan["turn"] == turn.message.id
            reason = CHANGED_ARGUMENTS if is_same_turn else ANSWERED_ELSEWHERE
            await _cancel_open_calls(stored_plan, reason, host.ports, keep=plan)
        return plan

    async def _ask_person(self, plan: Plan, calls: Sequence[PlannedCall], host: GraphHost) -> Plan:
        """Return the plan after the answers.

        Where they run, edited calls are evaluated, and calls without an answer asked about again.
        """
        only = self._tool_sets[0] if len(self._tool_sets) == 1 else None
        question, tools = subplan(plan, calls), self._tools_by_turn.get(plan["turn"], only)
        answered_plan = await ask_person(question, tools, get_config(), host, may_ask_again=True)
        await host.ports.deliver(None)
        answered_calls = {call["id"]: call for call in answered_plan["calls"]}
        return subplan(plan, [answered_calls.get(call["id"], call) for call in plan["calls"]])


async def _cancel_open_calls(
    plan: Plan, reason: str, ports: Ports, *, keep: Plan | None = None
) -> None:
    """Cancel the open calls of a plan, except those that another plan has too."""
    kept_keys = {call["key"] for call in keep["calls"]} if keep else set[str | None]()
    keys = [
        key for call in plan["calls"] if (key := call["key"]) is not None and key not in kept_keys
    ]
    for record in (await ports.find(keys)).values() if keys else ():
        if record.state in EXPIRING_STATES or record.has_unapplied_edit:
            await cancel_call(record, reason, ports)
