"""The guard in LangChain's `create_agent`: evaluate, ask, run once, report; blocking and async."""

import inspect
import time
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware.types import AgentMiddleware, hook_config
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from bighub_langgraph import ApprovalPolicy, BighubGuard, BighubMiddleware, Journal
from tests.agents import (
    LOOK_UP,
    PLEASE,
    REFUND,
    REVIEW,
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


class Agent:
    """A guarded agent of LangChain with everything a test looks at."""

    def __init__(
        self,
        *script: Any,
        says: Any = "proceed",
        before: tuple[Any, ...] = (),
        after: tuple[Any, ...] = (),
        memory: bool = True,
        saver: Any = None,
        **guard: Any,
    ) -> None:
        self.bighub = ScriptedBighub(says)
        self.shop = Shop()
        self.model = ScriptedModel(script=script)
        self.guard = BighubGuard(bighub=self.bighub, **guard)
        self.graph: Any = create_agent(
            self.model,
            self.shop.tools(),
            middleware=[*before, BighubMiddleware(self.guard), *after],
            checkpointer=(saver or InMemorySaver()) if memory else None,
        )


def read_question(state: dict[str, Any]) -> dict[str, Any]:
    [interrupt] = state["__interrupt__"]
    value: dict[str, Any] = interrupt.value
    return value


def test_all_calls_of_a_turn_wait_for_the_answer_and_the_model_goes_on_once(runner: Runner) -> None:
    agent = Agent(asks_for(REFUND, LOOK_UP), "Done.", says=REVIEW)
    question = read_question(runner.run(agent.graph, PLEASE))
    assert [item["name"] for item in question["action_requests"]] == ["refund"]
    assert agent.shop.ran == []
    runner.run(agent.graph, resume(YES))
    assert sorted(agent.shop.ran) == [("look_up", "o1"), ("refund", 40)]
    assert len(agent.model.shown) == 2
    assert len(agent.bighub.evaluations) == 2


def test_a_rejected_call_does_not_run_and_the_model_reads_why(runner: Runner) -> None:
    agent = Agent(asks_for(REFUND, LOOK_UP), "Sorry.", says=REVIEW)
    runner.run(agent.graph, PLEASE)
    state = runner.run(agent.graph, resume({"type": "reject", "message": "too much"}))
    assert agent.shop.ran == [("look_up", "o1")]
    assert "too much" in answers(state)["call-1"]


def edit(amount: float, name: str = "refund") -> dict[str, Any]:
    args = {"order_id": "o1", "amount": amount}
    return {"type": "edit", "edited_action": {"name": name, "args": args}}


def test_an_edited_call_is_evaluated_before_it_runs(runner: Runner) -> None:
    agent = Agent(asks_for(REFUND), "Done.", says=REVIEW)
    runner.run(agent.graph, PLEASE)
    state = runner.run(agent.graph, resume(edit(5)))
    agent.guard.flush()
    assert agent.shop.ran == [("refund", 5)]
    assert [request["value"] for request in agent.bighub.evaluations] == [40, 5]
    assert "What ran: refund(order_id='o1', amount=5)" in answers(state)["call-1"]
    assert agent.bighub.statuses == ["SUCCESS"]


@pytest.mark.parametrize("nonsense", [None, "yes", {"decisions": []}, [YES, YES], {"type": "go"}])
def test_an_answer_that_is_not_understood_is_asked_again_and_poisons_nothing(
    runner: Runner, nonsense: Any
) -> None:
    agent = Agent(asks_for(REFUND, LOOK_UP), "Done.", says=REVIEW)
    result = runner.run(agent.graph, PLEASE)
    answer = {result["__interrupt__"][0].id: nonsense}
    again = read_question(runner.run(agent.graph, Command(resume=answer)))
    assert "The last answer was not understood" in again["action_requests"][0]["description"]
    assert agent.shop.ran == []
    runner.run(agent.graph, resume(YES))
    assert sorted(agent.shop.ran) == [("look_up", "o1"), ("refund", 40)]
    assert len(agent.model.shown) == 2


def test_calls_that_got_no_answer_are_asked_about_again(runner: Runner) -> None:
    other = call("delete_account", "call-2", customer="c1")
    agent = Agent(asks_for(REFUND, other), "Done.", says="review_recommended")
    runner.run(agent.graph, PLEASE)
    partly = resume({"type": "reject", "tool_call_id": "call-2"})
    again = read_question(runner.run(agent.graph, partly))
    assert [item["name"] for item in again["action_requests"]] == ["refund"]
    assert agent.shop.ran == []
    state = runner.run(agent.graph, resume(YES))
    assert agent.shop.ran == [("refund", 40)]
    assert set(answers(state)) == {"call-1", "call-2"}
    assert len(agent.model.shown) == 2


def test_a_call_whose_answer_is_not_understood_twice_is_blocked(runner: Runner) -> None:
    agent = Agent(asks_for(REFUND, LOOK_UP), "Sorry.", says=REVIEW)
    runner.run(agent.graph, PLEASE)
    runner.run(agent.graph, Command(resume="sure"))
    runner.run(agent.graph, Command(resume="sure"))  # the first one again, from a second click
    state = runner.run(agent.graph, Command(resume="I said sure"))
    assert agent.shop.ran == [("look_up", "o1")]
    assert "was not understood" in answers(state)["call-1"]
    agent.guard.flush()
    assert sorted(agent.bighub.statuses) == ["BLOCKED", "SUCCESS"]


def test_an_open_call_whose_second_answer_is_not_understood_is_blocked(runner: Runner) -> None:
    other = call("delete_account", "call-2", customer="c1")
    agent = Agent(asks_for(REFUND, other), "Sorry.", says="review_recommended")
    runner.run(agent.graph, PLEASE)
    runner.run(agent.graph, resume({"type": "reject", "tool_call_id": "call-2"}))
    state = runner.run(agent.graph, Command(resume="sure"))
    assert agent.shop.ran == []
    assert "was not understood" in answers(state)["call-1"]


class Rubric(AgentMiddleware[Any, Any, Any]):
    """Sends the agent back to the model until its answer is good."""

    @hook_config(can_jump_to=["model"])
    def after_agent(self, state: Any, runtime: Any) -> Any:
        if "Done" in state["messages"][-1].text:
            return None
        return {"jump_to": "model", "messages": [HumanMessage("Say Done.")]}


@pytest.mark.parametrize(
    "first",
    ["yes please", {"type": "approve", "tool_call_id": "call-1"}, {"decisions": [YES]}],
    ids=["unclear", "partial", "too few"],
)
@pytest.mark.parametrize("is_first", [True, False], ids=["guard first", "guard last"])
def test_hooks_after_the_agent_do_not_run_while_calls_wait(
    runner: Runner, first: Any, is_first: bool
) -> None:
    second = call("refund", "call-2", order_id="o2", amount=50)
    place: Any = {"after" if is_first else "before": (Rubric(),)}
    agent = Agent(asks_for(REFUND, second), "Done.", says="review_recommended", **place)
    runner.run(agent.graph, PLEASE)
    again = read_question(runner.run(agent.graph, Command(resume=first)))
    state = runner.run(agent.graph, resume(*[YES] * len(again["action_requests"])))
    assert sorted(agent.shop.ran) == [("refund", 40), ("refund", 50)]
    assert len(agent.model.shown) == 2
    assert [type(message) for message in state["messages"]][1:] == [
        AIMessage,
        ToolMessage,
        ToolMessage,
        AIMessage,
    ]


class Raises(AgentMiddleware[Any, Any, Any]):
    """Raises every amount once the model has spoken."""

    def after_model(self, state: Any, runtime: Any) -> Any:
        message = state["messages"][-1]
        calls = [
            {**tool_call, "args": {**tool_call["args"], "amount": 99}}
            for tool_call in message.tool_calls
        ]
        return {"messages": [message.model_copy(update={"tool_calls": calls})]} if calls else None


@pytest.mark.parametrize("word", ["proceed", "review_recommended"])
def test_of_a_call_that_a_middleware_behind_changes_nothing_stays_open(
    runner: Runner, word: str
) -> None:
    agent = Agent(asks_for(REFUND), "Done.", says=word, after=(Raises(),))
    state = runner.run(agent.graph, PLEASE)
    if "__interrupt__" in state:
        runner.run(agent.graph, resume(YES))
    agent.guard.flush()
    assert agent.shop.ran == [("refund", 99)]
    assert agent.bighub.statuses == ["BLOCKED", "SUCCESS"]


def test_a_blocked_call_that_the_journal_has_forgotten_is_answered_again(tmp_path: Path) -> None:
    clock = iter(range(10**9, 2 * 10**9, 10**6))
    journal = Journal(f"sqlite:///{tmp_path / 'calls.db'}", clock=lambda: float(next(clock)))
    agent = Agent(asks_for(REFUND), "Sorry.", "Sorry.", says="do_not_proceed", journal=journal)
    thread: Any = {"configurable": {"thread_id": "t"}}
    agent.graph.invoke(PLEASE, thread)
    agent.guard.flush()
    assert journal.prune(1.0) == 1
    history = agent.graph.get_state_history(thread)
    *_, behind_the_model = [
        item for item in history if item.next == ("BighubMiddleware.after_model",)
    ]
    state = agent.graph.invoke(None, behind_the_model.config)
    assert agent.shop.ran == []
    assert "was not run" in answers(state)["call-1"]


def test_without_a_checkpointer_a_call_that_needs_a_person_is_blocked(runner: Runner) -> None:
    agent = Agent(asks_for(REFUND), "Sorry.", says=REVIEW, memory=False)
    state = runner.run(agent.graph, PLEASE, thread=None)
    assert agent.shop.ran == []
    assert "compile(checkpointer=...)" in answers(state)["call-1"]


def test_a_call_without_an_id_beside_a_good_one_has_one_answer(runner: Runner) -> None:
    agent = Agent(asks_for({**REFUND, "id": None}, LOOK_UP), "Sorry.")
    messages = runner.run(agent.graph, PLEASE)["messages"]
    tool_messages = [item for item in messages if isinstance(item, ToolMessage)]
    assert sorted(item.tool_call_id for item in tool_messages) == ["", "call-2"]
    assert agent.shop.ran == [("look_up", "o1")]


def test_one_question_a_call_lets_the_others_run_meanwhile(runner: Runner) -> None:
    policy = ApprovalPolicy(interrupt_mode="per_call")
    agent = Agent(asks_for(REFUND, LOOK_UP), "Done.", says=REVIEW, approvals=policy)
    question = read_question(runner.run(agent.graph, PLEASE))
    assert (question["type"], question["tool_call_id"]) == ("tool_approval", "call-1")
    assert agent.shop.ran == [("look_up", "o1")]
    runner.run(agent.graph, Command(resume=YES))
    assert sorted(agent.shop.ran) == [("look_up", "o1"), ("refund", 40)]
    assert len(agent.model.shown) == 2


def test_an_unclear_answer_to_one_call_raises_and_the_question_stays_open(runner: Runner) -> None:
    policy = ApprovalPolicy(interrupt_mode="per_call")
    agent = Agent(asks_for(REFUND), "Done.", says=REVIEW, approvals=policy)
    runner.run(agent.graph, PLEASE)
    with pytest.raises(ValueError, match="has no type"):
        runner.run(agent.graph, Command(resume={"verdict": "go"}))
    assert agent.shop.ran == []
    runner.run(agent.graph, Command(resume=edit(7)))
    assert agent.shop.ran == [("refund", 7)]


def test_a_tool_that_raises_is_a_failure(runner: Runner) -> None:
    agent = Agent(asks_for(call("delete_account", customer="c1")), "Sorry.")
    with pytest.raises(RuntimeError, match="no c1 here"):
        runner.run(agent.graph, PLEASE)
    agent.guard.flush()
    assert agent.bighub.statuses == ["FAILURE"]


def test_what_is_no_guard_is_refused() -> None:
    with pytest.raises(ValueError, match="takes a BighubGuard"):
        BighubMiddleware("local")  # type: ignore[arg-type]


def test_two_guards_in_one_agent_are_refused_by_langchain() -> None:
    guard = BighubGuard(bighub=ScriptedBighub())
    with pytest.raises(AssertionError, match="duplicate middleware"):
        create_agent(
            ScriptedModel(script=["Hello."]),
            [],
            middleware=[BighubMiddleware(guard), BighubMiddleware(guard)],
        )


class AnswersItself(AgentMiddleware[Any, Any, Any]):
    """Answers a call in place of its tool: as an emulator, as a limit, or by an error."""

    def __init__(self, status: Any) -> None:
        super().__init__()
        self._status = status

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        if self._status is None:
            raise PermissionError("not in this house")
        call_id = request.tool_call["id"]
        return ToolMessage("emulated", tool_call_id=call_id, status=self._status)

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        return self.wrap_tool_call(request, handler)


@pytest.mark.parametrize("status", ["success", "error", None], ids=str)
def test_a_middleware_that_answers_itself_is_not_taken_for_the_tool(
    runner: Runner, status: Any
) -> None:
    agent = Agent(asks_for(REFUND), "Done.", "Done.", after=(AnswersItself(status),))
    config: Any = {"configurable": {"thread_id": "t"}}
    if status is None:
        with pytest.raises(PermissionError):
            runner.run(agent.graph, PLEASE)
    else:
        assert answers(runner.run(agent.graph, PLEASE))["call-1"] == "emulated"
        history = agent.graph.get_state_history(config)
        [before] = [item for item in history if item.next == ("tools",)]
        again = agent.graph.invoke(None, before.config)
        assert answers(again)["call-1"] == "emulated"
    agent.guard.flush()
    assert agent.shop.ran == []
    assert agent.bighub.statuses == ["BLOCKED"]
    assert "another middleware answered it" in agent.bighub.reported_outcomes[0]["description"]


def test_an_edit_is_checked_by_another_process_than_the_one_that_asked(runner: Runner) -> None:
    journal, saver = Journal.in_memory(), InMemorySaver()
    first, other = (
        Agent(asks_for(REFUND), "Done.", says=REVIEW, journal=journal, saver=saver)
        for _ in range(2)
    )
    runner.run(other.graph, PLEASE, thread="another thread")
    runner.run(first.graph, PLEASE)
    again = read_question(runner.run(other.graph, resume(edit("much"))))  # type: ignore[arg-type]
    assert "its arguments do not fit" in again["action_requests"][0]["description"]


def test_one_middleware_guards_two_agents_with_tools_of_the_same_name(runner: Runner) -> None:
    ran: list[Any] = []

    @tool("refund")
    def refund_in_cents(order_id: str, cents: int) -> str:
        """Pay money back."""
        ran.append(cents)
        return f"refunded {cents} cents"

    agent = Agent(asks_for(REFUND), "Done.", says=REVIEW)
    middleware = BighubMiddleware(agent.guard)
    tools: list[list[Any]] = [agent.shop.tools(), [refund_in_cents]]
    calls = [REFUND, call("refund", order_id="o1", cents=4000)]
    graphs: list[Any] = [
        create_agent(
            ScriptedModel(script=[asks_for(item), "Done."]),
            own,
            middleware=[middleware],
            checkpointer=InMemorySaver(),
        )
        for item, own in zip(calls, tools, strict=True)
    ]
    for graph in graphs:
        runner.run(graph, PLEASE)
    fits = {"name": "refund", "args": {"order_id": "o1", "cents": 5}}
    for graph, action in zip(graphs, [edit(5)["edited_action"], fits], strict=True):
        runner.run(graph, resume({"type": "edit", "edited_action": action}))
    assert (agent.shop.ran, ran) == ([("refund", 5)], [5])


class Trims(AgentMiddleware[Any, Any, Any]):
    """Shows the model the last messages only."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request.override(messages=request.messages[-2:]))

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        return await handler(request.override(messages=request.messages[-2:]))


def test_what_a_new_message_closes_is_told_right_behind_its_call_to_model_and_state(
    runner: Runner,
) -> None:
    agent = Agent(asks_for(REFUND), "Hello.", says="review_recommended", before=(Trims(),))
    runner.run(agent.graph, PLEASE)
    state = runner.run(agent.graph, {"messages": [HumanMessage("something else")]})
    kinds = [AIMessage, ToolMessage, HumanMessage]
    assert [type(item) for item in agent.model.shown[1]] == kinds
    assert [type(message) for message in state["messages"]] == [HumanMessage, *kinds, AIMessage]
    assert len({message.id for message in state["messages"]}) == len(state["messages"])


class Leaves(AgentMiddleware[Any, Any, Any]):
    """Ends the run before the model is asked again."""

    @hook_config(can_jump_to=["end"])
    def before_model(self, state: Any, runtime: Any) -> Any:
        over = isinstance(state["messages"][-1], ToolMessage)
        return {"jump_to": "end"} if over else None


def test_a_run_that_ends_behind_its_tools_is_told_of_in_a_moment(runner: Runner) -> None:
    agent = Agent(asks_for(REFUND), before=(Leaves(),))
    runner.run(agent.graph, PLEASE)
    deadline = time.monotonic() + 5
    while not agent.bighub.statuses and time.monotonic() < deadline:
        time.sleep(0.01)
    assert agent.bighub.statuses == ["SUCCESS"]


async def test_a_subclass_keeps_its_own_hooks() -> None:
    class CountingMiddleware(BighubMiddleware):
        calls = 0

        async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
            self.calls += 1
            return await super().awrap_tool_call(request, handler)

    shop = Shop()
    middleware = CountingMiddleware(BighubGuard(bighub=ScriptedBighub()))
    assert inspect.iscoroutinefunction(middleware.awrap_tool_call)
    assert list(inspect.signature(middleware.wrap_tool_call).parameters) == ["request", "handler"]
    model = ScriptedModel(script=(asks_for(REFUND, LOOK_UP), "Done."))
    graph: Any = create_agent(model, shop.tools(), middleware=[middleware])
    await graph.ainvoke(PLEASE)
    assert (middleware.calls, len(shop.ran)) == (2, 2)


async def test_a_copy_asks_its_own_guard() -> None:
    shop, strict = Shop(), ScriptedBighub("do_not_proceed")
    lenient = BighubMiddleware(BighubGuard(bighub=ScriptedBighub()))
    copy_of_lenient = copy(lenient)
    copy_of_lenient.guard = BighubGuard(bighub=strict)
    model = ScriptedModel(script=(asks_for(REFUND), "Done.") * 2)
    graph: Any = create_agent(model, shop.tools(), middleware=[copy_of_lenient])
    graph.invoke(PLEASE)
    await graph.ainvoke(PLEASE)
    assert (len(strict.evaluations), shop.ran) == (2, [])
