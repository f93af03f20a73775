"""The guard beside LangChain's own middleware, in either order: nothing unapproved runs."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    LLMToolSelectorMiddleware,
    ModelCallLimitMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
    ToolCallLimitMiddleware,
    ToolRetryMiddleware,
)
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.prebuilt import ToolRuntime
from langgraph.types import Command

from bighub_langgraph import ApprovalPolicy, BighubGuard, BighubMiddleware
from tests.agents import (
    LOOK_UP,
    PLEASE,
    REFUND,
    YES,
    Runner,
    ScriptedModel,
    Shop,
    answers,
    asks_for,
    call,
    resume,
)
from tests.engines import ScriptedBighub

EDIT = {
    "type": "edit",
    "edited_action": {"name": "refund", "args": {"order_id": "o1", "amount": 7}},
}
Place = Callable[..., "Agent"]


class Agent:
    """An agent with the guard and one other middleware."""

    def __init__(self, script: list[Any], middleware: list[Any], guard: BighubGuard) -> None:
        self.shop = Shop()
        self.guard = guard
        self.bighub: ScriptedBighub = guard.client
        self.model = ScriptedModel(script=script)
        self.graph: Any = create_agent(
            self.model, self.shop.tools(), middleware=middleware, checkpointer=InMemorySaver()
        )


@pytest.fixture(params=["the guard first", "the guard last"])
def place(request: pytest.FixtureRequest) -> Place:
    """Makes an agent with the guard in front of another middleware, or behind it."""

    def agent(other: Any, *script: Any, says: Any = "proceed", **options: Any) -> Agent:
        bighub = says if isinstance(says, ScriptedBighub) else ScriptedBighub(says)
        guard = BighubGuard(bighub=bighub, **options)
        both = [BighubMiddleware(guard), other]
        first = request.param == "the guard first"
        return Agent(list(script), both if first else both[::-1], guard)

    agent.__name__ = request.param
    return agent


def ask(**options: Any) -> HumanInTheLoopMiddleware[Any, Any, Any]:
    return HumanInTheLoopMiddleware(interrupt_on={"refund": True}, **options)


def test_a_yes_of_langchains_reviewer_does_not_overrule_bighub(
    place: Place, runner: Runner
) -> None:
    agent = place(ask(), asks_for(REFUND), "Sorry.", says="do_not_proceed")
    runner.run(agent.graph, PLEASE)
    runner.run(agent.graph, resume(YES))
    assert agent.shop.ran == []


def test_both_may_ask_and_both_must_agree(place: Place, runner: Runner) -> None:
    agent = place(ask(), asks_for(REFUND), "Done.", says="review_recommended")
    runner.run(agent.graph, PLEASE)
    assert "__interrupt__" in runner.run(agent.graph, resume(YES))
    assert agent.shop.ran == []
    runner.run(agent.graph, resume(YES))
    assert agent.shop.ran == [("refund", 40)]


def test_a_no_of_langchains_reviewer_is_reported(place: Place, runner: Runner) -> None:
    agent = place(ask(), asks_for(REFUND), "Sorry.")
    runner.run(agent.graph, PLEASE)
    runner.run(agent.graph, resume({"type": "reject"}))
    agent.guard.flush()
    assert agent.shop.ran == []
    assert agent.bighub.statuses == ["BLOCKED"]
    assert "another middleware answered it" in agent.bighub.reported_outcomes[0]["description"]


@pytest.mark.parametrize("mode", ["batched", "per_call"])
def test_what_langchains_reviewer_edits_is_evaluated_again(
    place: Place, runner: Runner, mode: Any
) -> None:
    agent = place(ask(interrupt_mode=mode), asks_for(REFUND), "Done.")
    runner.run(agent.graph, PLEASE)
    answer: Command[Any] = Command(resume=EDIT) if mode == "per_call" else resume(EDIT)
    state = runner.run(agent.graph, answer)
    agent.guard.flush()
    assert agent.shop.ran == [("refund", 7)]
    assert [request["value"] for request in agent.bighub.evaluations] == [40, 7]
    assert "refunded 7" in answers(state)["call-1"]
    assert sorted(agent.bighub.statuses) == ["BLOCKED", "SUCCESS"]


def test_an_edit_that_bighub_stops_does_not_run(place: Place, runner: Runner) -> None:
    agent = place(ask(), asks_for(REFUND), "Sorry.")
    runner.run(agent.graph, PLEASE)
    agent.bighub.response = "do_not_proceed"
    state = runner.run(agent.graph, resume(EDIT))
    assert agent.shop.ran == []
    assert "Do not repeat this call" in answers(state)["call-1"]


def test_an_edit_that_needs_a_person_is_asked_about_where_it_runs(
    place: Place, runner: Runner
) -> None:
    agent = place(ask(), asks_for(REFUND), "Done.")
    runner.run(agent.graph, PLEASE)
    agent.bighub.response = "review_recommended"
    state = runner.run(agent.graph, resume(EDIT))
    [question] = state["__interrupt__"]
    assert question.value["action_requests"][0]["args"]["amount"] == 7
    assert agent.shop.ran == []
    runner.run(agent.graph, resume(YES))
    assert agent.shop.ran == [("refund", 7)]
    assert len(agent.model.shown) == 2


class Editor(AgentMiddleware[Any, Any, Any]):
    """Changes what the model asked for, after the model."""

    def after_model(self, state: Any, runtime: Any) -> dict[str, Any]:
        last = state["messages"][-1]
        if not isinstance(last, AIMessage) or not last.tool_calls:
            return {}
        calls = [
            {**tool_call, "args": {**tool_call["args"], "amount": 1000}}
            for tool_call in last.tool_calls
        ]
        return {"messages": [last.model_copy(update={"tool_calls": calls})]}


def test_a_call_that_is_changed_after_the_model_runs_only_as_bighub_sees_it(
    place: Place, runner: Runner
) -> None:
    agent = place(Editor(), asks_for(REFUND), "Done.", says="review_recommended")
    state = runner.run(agent.graph, PLEASE)
    while "__interrupt__" in state:
        [question] = state["__interrupt__"]
        shown_amount = question.value["action_requests"][0]["args"]["amount"]
        state = runner.run(agent.graph, resume(YES))
    assert shown_amount == 1000
    assert agent.shop.ran == [("refund", 1000)]
    assert agent.bighub.evaluations[-1]["value"] == 1000


class Filler(AgentMiddleware[Any, Any, Any]):
    """Changes a call while it is on its way to the tool."""

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        return handler(self._fill_amount(request))

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        return await handler(self._fill_amount(request))

    def _fill_amount(self, request: Any) -> Any:
        args = {**request.tool_call["args"], "amount": 1000}
        return request.override(tool_call={**request.tool_call, "args": args})


class StopsLargeValues(ScriptedBighub):
    """Recommends against values of 1000 and more."""

    def submit(self, **fields: Any) -> Any:
        self.response = "do_not_proceed" if fields["value"] >= 1000 else "proceed"
        return super().submit(**fields)


def test_a_call_that_is_changed_on_its_way_is_looked_at_before_it_runs(
    place: Place, runner: Runner
) -> None:
    agent = place(Filler(), asks_for(REFUND), "Sorry.", says=StopsLargeValues())
    runner.run(agent.graph, PLEASE)
    assert [request["value"] for request in agent.bighub.evaluations] == [40, 1000]
    assert agent.shop.ran == []


def test_retries_run_inside_the_guard_and_never_around_it(place: Place, runner: Runner) -> None:
    tries: list[int] = []

    @tool
    def pay(amount: float) -> str:
        """Pay."""
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("the bank is away")
        return f"paid {amount}"

    agent = place(ToolRetryMiddleware(max_retries=3, initial_delay=0.0, jitter=False))
    inside = place.__name__ == "the guard first"
    model = ScriptedModel(script=[asks_for(call("pay", amount=1)), "Done."])
    retry = ToolRetryMiddleware(max_retries=3, initial_delay=0.0, jitter=False)
    middleware = BighubMiddleware(agent.guard)
    graph = create_agent(
        model, [pay], middleware=[middleware, retry] if inside else [retry, middleware]
    )
    state = runner.run(graph, PLEASE, thread=None)
    agent.guard.flush()
    assert len(tries) == (3 if inside else 1)
    assert agent.bighub.statuses == ["SUCCESS" if inside else "FAILURE"]
    expected = "paid 1.0" if inside else "the bank is away"
    assert expected in answers(state)["call-1"]


def test_a_call_over_the_limit_does_not_run(place: Place, runner: Runner) -> None:
    limit = ToolCallLimitMiddleware(run_limit=1)
    agent = place(limit, asks_for(REFUND, LOOK_UP), "Done.")
    state = runner.run(agent.graph, PLEASE)
    agent.guard.flush()
    assert agent.shop.ran == [("refund", 40)]
    assert "limit" in answers(state)["call-2"]
    assert sorted(agent.bighub.statuses) == ["BLOCKED", "SUCCESS"]


@pytest.mark.parametrize(
    "other",
    [
        lambda: ModelCallLimitMiddleware(run_limit=5),
        lambda: PIIMiddleware("email", strategy="redact", apply_to_output=True),
        lambda: SummarizationMiddleware(
            model=GenericFakeChatModel(messages=iter([AIMessage("short")] * 9)),
            trigger=("messages", 2),
            keep=("messages", 2),
        ),
        lambda: LLMToolSelectorMiddleware(model=Selector(script=[]), max_tools=2),
    ],
    ids=["limit", "pii", "summarization", "selection"],
)
def test_the_other_stock_middleware_changes_nothing_about_the_guard(
    place: Place, runner: Runner, other: Any
) -> None:
    agent = place(other(), asks_for(REFUND), "Done.", says="review_recommended")
    runner.run(agent.graph, PLEASE)
    assert agent.shop.ran == []
    state = runner.run(agent.graph, resume(YES))
    assert agent.shop.ran == [("refund", 40)]
    assert state["messages"][-1].content == "Done."


class Selector(ScriptedModel):
    """Selects all tools it is offered."""

    def with_structured_output(self, *_: Any, **__: Any) -> Any:
        from langchain_core.runnables import RunnableLambda

        return RunnableLambda(lambda _: {"tools": ["refund", "look_up"]})


@tool
def late(amount: float) -> str:
    """A tool that no list names."""
    Late.ran.append(amount)
    return f"late {amount}"


class Late(AgentMiddleware[Any, Any, Any]):
    """Brings a tool of its own when the model runs."""

    ran: list[float] = []  # noqa: RUF012 - emptied by each test

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request.override(tools=[*request.tools, late]))

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        return await handler(request.override(tools=[*request.tools, late]))

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        tool_call_id = request.tool_call["name"] == "late"
        return handler(request.override(tool=late) if tool_call_id else request)

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        tool_call_id = request.tool_call["name"] == "late"
        return await handler(request.override(tool=late) if tool_call_id else request)


@pytest.mark.parametrize(("word", "ran"), [("proceed", [3]), ("do_not_proceed", [])])
def test_a_tool_that_is_found_late_is_guarded_too(
    place: Place, runner: Runner, word: str, ran: list[float]
) -> None:
    Late.ran.clear()
    agent = place(Late(), asks_for(call("late", amount=3)), "Done.", says=word)
    state = runner.run(agent.graph, PLEASE)
    assert Late.ran == ran
    assert len(agent.bighub.evaluations) == 1
    assert [message.name for message in state["messages"] if isinstance(message, ToolMessage)] == [
        "late"
    ]


def test_a_tool_keeps_its_state_and_runtime_behind_the_guard(runner: Runner) -> None:
    @tool
    def count(runtime: ToolRuntime[Any, Any], word: str) -> str:
        """Count messages."""
        return f"{word} {len(runtime.state['messages'])} {runtime.tool_call_id}"

    guard = BighubGuard(bighub=ScriptedBighub())
    model = ScriptedModel(script=[asks_for(call("count", word="seen")), "Done."])
    graph = create_agent(model, [count], middleware=[BighubMiddleware(guard)])
    state = runner.run(graph, PLEASE, thread=None)
    assert answers(state)["call-1"] == "seen 2 call-1"


class Farewell(AgentMiddleware[Any, Any, Any]):
    """Says good-bye at the end of each run."""

    def after_agent(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        last = state["messages"][-1]
        is_done = isinstance(last, AIMessage) and not last.tool_calls
        return {"messages": [AIMessage("Bye.")]} if is_done else None


def test_hooks_at_the_end_of_the_agent_run_when_the_agent_ends(
    place: Place, runner: Runner
) -> None:
    agent = place(Farewell(), asks_for(REFUND), "Done.", says="review_recommended")
    runner.run(agent.graph, PLEASE)
    runner.run(agent.graph, Command(resume="what?"))
    state = runner.run(agent.graph, resume(YES))
    assert [message.text for message in state["messages"][-2:]] == ["Done.", "Bye."]
    assert agent.shop.ran == [("refund", 40)]


def test_questions_one_by_one_beside_langchains_reviewer_run_nothing_unapproved(
    place: Place, runner: Runner
) -> None:
    policy = ApprovalPolicy(interrupt_mode="per_call")
    other = ask(interrupt_mode="per_call")
    agent = place(other, asks_for(REFUND), "Sorry.", says="review_recommended", approvals=policy)
    runner.run(agent.graph, PLEASE)
    state = runner.run(agent.graph, Command(resume=YES))
    asked_twice = "__interrupt__" in state
    assert agent.shop.ran == []
    if asked_twice:
        runner.run(agent.graph, Command(resume=YES))
        assert agent.shop.ran == [("refund", 40)]
