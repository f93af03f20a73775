"""The ready graph: evaluate, ask, run once, report; blocking and async."""

from typing import Annotated, Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, InjectedToolCallId
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Interrupt
from pydantic import AliasChoices, BaseModel, Field

from bighub_langgraph import (
    ApprovalPolicy,
    BighubGuard,
    ToolPolicy,
    create_guarded_agent,
    current_call,
)
from tests.agents import (
    PLEASE,
    REFUND,
    Runner,
    ScriptedModel,
    Shop,
    answers,
    asks_for,
    call,
    resume,
)
from tests.engines import AsyncScriptedBighub, ScriptedBighub


class Desk:
    """A guarded agent with everything a test looks at."""

    def __init__(
        self, *script: Any, says: Any = "proceed", memory: bool = True, **guard: Any
    ) -> None:
        self.bighub = guard.pop("bighub", None) or ScriptedBighub(says)
        self.shop = Shop()
        self.model = ScriptedModel(script=script)
        self.guard = BighubGuard(bighub=self.bighub, **guard)
        tools = ToolNode(self.shop.tools(), handle_tool_errors=True)
        saver = InMemorySaver() if memory else False
        self.agent = create_guarded_agent(self.model, tools, self.guard, checkpointer=saver)

    def read_question(self, state: dict[str, Any]) -> dict[str, Any]:
        [interrupt] = state["__interrupt__"]
        assert isinstance(interrupt, Interrupt)
        value: dict[str, Any] = interrupt.value
        return value


def test_a_call_that_needs_a_person_waits_with_the_evidence(runner: Runner) -> None:
    desk = Desk(asks_for(REFUND), "Done.", says="review_recommended")
    request = desk.read_question(runner.run(desk.agent, PLEASE))
    assert desk.shop.ran == []
    [action] = request["action_requests"]
    assert (action["name"], action["args"]) == ("refund", {"order_id": "o1", "amount": 40})
    assert "BIGHUB says review recommended, risk 0.20, confidence high" in action["description"]
    evidence = action["bighub"]
    assert (evidence["tool_call_id"], evidence["request_id"]) == ("call-1", "req-1")
    [config] = request["review_configs"]
    assert config["action_name"] == "refund"
    assert config["allowed_decisions"] == ["approve", "edit", "reject", "respond"]


def test_an_approval_runs_the_call_once_and_bighub_hears_of_both(runner: Runner) -> None:
    desk = Desk(asks_for(REFUND), "Done.", says="review_recommended")
    runner.run(desk.agent, PLEASE)
    yes = {"type": "approve", "approver": "ada", "comment": "known customer"}
    runner.run(desk.agent, resume(yes))
    desk.guard.flush()
    assert desk.shop.ran == [("refund", 40)]
    assert desk.bighub.resolutions == [
        {"request_id": "req-1", "resolution": "approved", "comment": "ada: known customer"}
    ]
    assert desk.bighub.statuses == ["SUCCESS"]
    assert len(desk.bighub.evaluations) == 1


def test_edited_arguments_are_seen_by_bighub_before_they_run(runner: Runner) -> None:
    desk = Desk(asks_for(REFUND), "Done.", says="review_recommended")
    runner.run(desk.agent, PLEASE)
    edit = {"name": "refund", "args": {"order_id": "o1", "amount": 10}}
    state = runner.run(desk.agent, resume({"type": "edit", "edited_action": edit}))
    desk.guard.flush()
    assert [request["value"] for request in desk.bighub.evaluations] == [40, 10]
    assert desk.shop.ran == [("refund", 10)]
    assert "refund(order_id='o1', amount=10)" in answers(state)["call-1"]
    assert desk.bighub.statuses == ["SUCCESS"]
    assert desk.bighub.reported_outcomes[0]["request_id"] == "req-2"


def test_what_may_run_runs_at_once_while_the_rest_waits(runner: Runner) -> None:
    look_up = call("look_up", "call-2", order_id="o1")
    says = {
        "refund": "review_recommended",
        "look_up": "proceed",
        "delete_account": "do_not_proceed",
    }
    delete = call("delete_account", "call-3", customer="c1")
    desk = Desk(asks_for(REFUND, look_up, delete), "Done.", says=says)
    runner.run(desk.agent, PLEASE)
    assert desk.shop.ran == [("look_up", "o1")]
    assert len(desk.model.shown) == 1
    state = runner.run(desk.agent, resume({"type": "approve"}))
    assert desk.shop.ran == [("look_up", "o1"), ("refund", 40)]
    assert len(desk.model.shown) == 2
    assert set(answers(state)) == {"call-1", "call-2", "call-3"}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_partial_answers_are_fine_and_the_model_goes_on_once(
    runner: Runner, order: tuple[int, int]
) -> None:
    calls = [call("refund", f"call-{n}", order_id=f"o{n}", amount=n) for n in (1, 2)]
    desk = Desk(asks_for(*calls), "Done.", says="review_recommended")
    runner.run(desk.agent, PLEASE)
    for number in order:
        yes = {"type": "approve", "tool_call_id": f"call-{number + 1}"}
        state = runner.run(desk.agent, resume(yes))
    assert [amount for _, amount in desk.shop.ran] == [number + 1 for number in order]
    assert len(desk.model.shown) == 2
    assert "__interrupt__" not in state


NONSENSE: list[Any] = [
    *("yes", True, 7, [], {"resolution": "sure"}, {"decisions": []}),
    {"decisions": [{"type": "maybe"}]},
    {"decisions": [{"type": "approve"}, {"type": "approve"}]},
    {"decisions": [{"type": "approve", "tool_call_id": "call-9"}]},
    {"decisions": [{"type": "edit", "edited_action": {"name": "look_up", "args": {}}}]},
    {"decisions": [{"type": "edit", "edited_action": {"name": "refund", "args": {"x": 1}}}]},
    {"decisions": [{"type": "respond"}]},
]


@pytest.mark.parametrize("nonsense", NONSENSE, ids=repr)
def test_an_answer_that_is_not_understood_is_asked_again_and_poisons_nothing(
    runner: Runner, nonsense: Any
) -> None:
    desk = Desk(asks_for(REFUND), "Done.", says="review_recommended")
    runner.run(desk.agent, PLEASE)
    again = desk.read_question(runner.run(desk.agent, Command(resume=nonsense)))
    assert "The last answer was not understood" in again["action_requests"][0]["description"]
    assert desk.shop.ran == []
    runner.run(desk.agent, resume({"type": "approve"}))
    assert desk.shop.ran == [("refund", 40)]
    assert len(desk.bighub.evaluations) == 1


DIALECTS = [
    {"type": "approve"},
    [{"type": "accept", "args": None}],
    {"resolution": "approved", "comment": "ok", "approver": "ada"},
    {"decisions": [{"type": "approve", "tool_call_id": "call-1"}]},
    {"type": "edit", "edited_action": {"name": "refund", "args": {"amount": 40, "order_id": "o1"}}},
]


@pytest.mark.parametrize("yes", DIALECTS, ids=repr)
def test_every_dialect_of_yes_is_understood(runner: Runner, yes: Any) -> None:
    desk = Desk(asks_for(REFUND), "Done.", says="review_recommended")
    runner.run(desk.agent, PLEASE)
    runner.run(desk.agent, Command(resume=yes))
    assert desk.shop.ran == [("refund", 40)]


@pytest.mark.parametrize(
    "no", [{"type": "reject"}, [{"type": "ignore", "args": None}], {"resolution": "denied"}]
)
def test_every_dialect_of_no_is_understood(runner: Runner, no: Any) -> None:
    desk = Desk(asks_for(REFUND), "Sorry.", says="review_recommended")
    runner.run(desk.agent, PLEASE)
    runner.run(desk.agent, Command(resume=no))
    assert desk.shop.ran == []


def test_without_a_checkpointer_nobody_can_be_asked_so_the_call_is_blocked(runner: Runner) -> None:
    desk = Desk(asks_for(REFUND), "Sorry.", says="review_recommended", memory=False)
    state = runner.run(desk.agent, PLEASE)
    assert desk.shop.ran == []
    assert "compile(checkpointer=...)" in answers(state)["call-1"]
    desk.guard.flush()
    assert desk.bighub.statuses == ["BLOCKED"]


class Payment(BaseModel):
    order_id: str = Field(alias="orderId")
    amount: float = Field(validation_alias=AliasChoices("amount", "sum"))
    call_id: Annotated[str, InjectedToolCallId]


class Pay(BaseTool):
    """A tool whose arguments have other names than its fields."""

    name: str = "pay"
    description: str = "Pay."
    args_schema: type[BaseModel] = Payment
    paid: list[Any] = []  # noqa: RUF012 - pydantic copies it for each tool

    def _run(self, **arguments: Any) -> str:
        self.paid.append((arguments["order_id"], arguments["amount"]))
        return "paid"


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"orderId": "o1", "sum": 1}, None),
        ({"order_id": "o1", "sum": 1}, "orderId: Field required"),
        ({"orderId": "o1", "sum": "NaN"}, "amount: a finite number is expected"),
    ],
    ids=str,
)
def test_arguments_are_checked_by_the_names_that_the_tool_reads(
    runner: Runner, arguments: dict[str, Any], wrong: str | None
) -> None:
    guard, tool = BighubGuard(bighub=ScriptedBighub("proceed")), Pay()
    model = ScriptedModel(script=[asks_for(call("pay", **arguments)), "Done."])
    state = runner.run(
        create_guarded_agent(model, [tool], guard, checkpointer=InMemorySaver()), PLEASE
    )
    assert tool.paid == ([] if wrong else [("o1", 1)])
    assert (wrong or "paid") in answers(state)["call-1"]


def test_a_policy_that_cannot_read_the_arguments_is_named_to_the_model(runner: Runner) -> None:
    policy = ToolPolicy(value_from_args=lambda a: a["cents"])
    desk = Desk(asks_for(REFUND), "Sorry.", tools={"refund": policy})
    state = runner.run(desk.agent, PLEASE)
    assert desk.shop.ran == []
    assert "value_from_args of 'refund' raised KeyError" in answers(state)["call-1"]


def test_a_tool_that_raises_is_a_failure_and_keeps_no_secrets(runner: Runner) -> None:
    desk = Desk(asks_for(call("delete_account", customer="c1")), "Sorry.")
    state = runner.run(desk.agent, PLEASE)
    desk.guard.flush()
    [message] = [message for message in state["messages"] if isinstance(message, ToolMessage)]
    assert message.status == "error"
    [outcome] = desk.bighub.reported_outcomes
    assert outcome["status"] == "FAILURE"
    assert "sk-live" not in str(desk.bighub.reported_outcomes) + str(desk.bighub.rounds)


def test_a_tool_that_is_always_reviewed_is_asked_about_even_when_bighub_proceeds(
    runner: Runner,
) -> None:
    desk = Desk(asks_for(REFUND), "Done.", tools={"refund": ToolPolicy(always_review=True)})
    assert "__interrupt__" in runner.run(desk.agent, PLEASE)
    assert desk.shop.ran == []


def test_an_approval_that_comes_too_late_runs_nothing(runner: Runner) -> None:
    now = [100.0]
    desk = Desk(
        asks_for(REFUND),
        "Sorry.",
        says="review_recommended",
        approvals=ApprovalPolicy(expires_after=60),
        clock=lambda: now[0],
    )
    runner.run(desk.agent, PLEASE)
    now[0] += 60
    state = runner.run(desk.agent, resume({"type": "approve"}))
    assert desk.shop.ran == []
    assert "ran out" in answers(state)["call-1"]


@pytest.mark.parametrize(("mode", "ran"), [("closed", 0), ("open", 1)])
def test_an_outage_is_settled_by_the_fail_mode_and_reported_when_it_is_over(
    runner: Runner, mode: str, ran: int
) -> None:
    desk = Desk(asks_for(REFUND), "Done.", fail_mode=mode, retries=0)
    desk.bighub.away = True
    runner.run(desk.agent, PLEASE)
    assert len(desk.shop.ran) == ran
    desk.bighub.away = False
    assert desk.guard.flush() == 0
    assert desk.bighub.statuses == ["SUCCESS"] * ran
    late_requests = [
        request for request in desk.bighub.evaluations if request["context"].get("auto_executed")
    ]
    late = {request["idempotency_key"] for request in late_requests}
    assert len(late) == ran
    assert all(outcome["request_id"] for outcome in desk.bighub.reported_outcomes)
    assert len(desk.bighub.rounds) == 1


def test_an_old_checkpoint_that_is_resumed_gets_the_stored_result(runner: Runner) -> None:
    desk = Desk(asks_for(REFUND), "Done.", "Done again.", says="review_recommended")
    runner.run(desk.agent, PLEASE)
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    pending_config = desk.agent.get_state(config).config
    runner.run(desk.agent, resume({"type": "approve"}))
    again = desk.agent.invoke(resume({"type": "approve"}), pending_config)
    assert desk.shop.ran == [("refund", 40)]
    assert answers(again)["call-1"] == "refunded 40.0 for o1"
    [message] = [message for message in again["messages"] if isinstance(message, ToolMessage)]
    assert message.additional_kwargs["bighub"] == {"replayed": True}


def test_a_tool_knows_the_call_it_runs_for(runner: Runner) -> None:
    states: list[Any] = []

    def pay(amount: float) -> str:
        """Pay."""
        states.append(current_call())
        return "paid"

    bighub = ScriptedBighub("review_recommended")
    model = ScriptedModel(script=[asks_for(call("pay", amount=1)), "Done."])
    guard = BighubGuard(bighub=bighub)
    agent = create_guarded_agent(model, [pay], guard, checkpointer=InMemorySaver())
    runner.run(agent, PLEASE)
    runner.run(agent, resume({"type": "approve", "approver": "ada"}))
    [current] = states
    assert current.idempotency_key == bighub.evaluations[0]["idempotency_key"]
    assert (current.approver, current.approver_verified) == ("ada", False)
    assert current.decision.raw_recommendation == "review_recommended"


def test_outside_of_a_call_there_is_no_current_call() -> None:
    with pytest.raises(LookupError, match="inside a guarded tool call"):
        current_call()


def test_the_custom_stream_tells_decisions_approvals_and_outcomes(runner: Runner) -> None:
    desk = Desk(asks_for(REFUND), "Done.", says="review_recommended")
    events = list(runner.stream(desk.agent, PLEASE, stream_mode="custom"))
    events += runner.stream(desk.agent, resume({"type": "approve"}), stream_mode="custom")
    assert [event["event"] for event in events] == ["decision", "approval", "outcome"]
    assert [event["status"] for event in events] == ["approval_required", None, "executed"]
    assert events[0]["verdict"] == "review"
    assert events[2]["output"] == "refunded 40.0 for o1"


@pytest.mark.parametrize("mode", ["values", "updates", "messages", "debug", "checkpoints", "tasks"])
def test_every_stream_mode_works(runner: Runner, mode: str) -> None:
    desk = Desk(asks_for(REFUND), "Done.")
    assert list(runner.stream(desk.agent, PLEASE, stream_mode=mode))


def test_an_async_client_serves_sync_and_async_runs(runner: Runner) -> None:
    bighub = AsyncScriptedBighub()
    desk = Desk(asks_for(REFUND), "Done.", bighub=bighub)
    runner.run(desk.agent, PLEASE)
    assert desk.shop.ran == [("refund", 40)]
    assert bighub.blocking.statuses == ["SUCCESS"]


def test_on_decision_sees_every_decision_and_may_raise(runner: Runner) -> None:
    events: list[dict[str, Any]] = []

    def look(event: dict[str, Any]) -> None:
        events.append(event)
        raise RuntimeError("the log is full")

    desk = Desk(asks_for(REFUND), "Done.", on_decision=look)
    runner.run(desk.agent, PLEASE)
    assert [event["recommendation"] for event in events] == ["proceed"]
    assert desk.shop.ran == [("refund", 40)]


def test_turning_reports_off_turns_them_off(runner: Runner) -> None:
    desk = Desk(asks_for(REFUND), "Done.", outcome_reporting=False, memory_enabled=False)
    runner.run(desk.agent, PLEASE)
    assert desk.guard.flush() == 0
    assert (desk.bighub.reported_outcomes, desk.bighub.rounds) == ([], [])


def test_the_picture_of_the_graph_shows_its_nodes() -> None:
    desk = Desk("Hello.")
    diagram = desk.agent.get_graph().draw_mermaid()
    for name in ("close_stale_calls", "model", "evaluate", "approve", "tools", "report"):
        assert f"\t{name}(" in diagram
    assert "__tools" in diagram
