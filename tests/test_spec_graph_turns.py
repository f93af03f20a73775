"""How a turn ends and what is refused before it: tools that return directly, unfit calls, edges."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import StructuredTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from pydantic import BaseModel

from bighub_langgraph import (
    BighubGuard,
    BighubMiddleware,
    Journal,
    ToolPolicy,
    add_guard,
    create_guarded_agent,
    model_node,
)
from bighub_langgraph.core.errors import ConfigurationError, JournalError
from tests.agents import (
    PLEASE,
    YES,
    Runner,
    ScriptedModel,
    Shop,
    answers,
    asks_for,
    call,
    history_faults,
    resume,
)
from tests.engines import ScriptedBighub

HOSTS = ["ready", "own", "middleware"]


def build(host: str, model: Any, tools: Any, guard: BighubGuard) -> Any:
    if host == "middleware":
        middleware = [BighubMiddleware(guard)]
        return create_agent(model, tools, middleware=middleware, checkpointer=InMemorySaver())
    if host == "ready":
        return create_guarded_agent(model, tools, guard, checkpointer=InMemorySaver())
    builder = StateGraph(MessagesState)
    builder.add_node("agent", model_node(model, tools))
    builder.add_edge(START, "agent")
    add_guard(builder, tools, guard, after="agent")
    return builder.compile(checkpointer=InMemorySaver())


# -- tools that return directly --------------------------------------------------------------------


@tool(return_direct=True)
def ticket(text: str) -> str:
    """Open a ticket."""
    if text == "fails":
        raise ValueError("no ticket")
    return f"ticket: {text}"


TICKET = call("ticket", text="a")
OTHER_TICKET = call("ticket", "call-2", text="b")
LOOK_UP = call("look_up", "call-2", order_id="o")
EDIT = {"type": "edit", "edited_action": {"name": "ticket", "args": {"text": "b"}}}
NO = {"type": "reject", "message": "no"}
RESPOND = {"type": "respond", "message": "It is open already."}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    ("calls", "says", "decisions", "ends"),
    [
        ([TICKET], "proceed", [], True),
        ([TICKET], "review_recommended", [YES], True),
        ([TICKET], "review_recommended", [EDIT], True),
        ([TICKET], "review_recommended", [NO], False),
        ([TICKET], "review_recommended", [RESPOND], False),
        ([TICKET], "do_not_proceed", [], False),
        ([TICKET, OTHER_TICKET], "proceed", [], True),
        ([TICKET, OTHER_TICKET], "review_recommended", [YES, YES], True),
        ([TICKET, LOOK_UP], "proceed", [], False),
    ],
)
def test_a_tool_that_returns_directly_ends_the_run_if_it_ran(
    runner: Runner, host: str, calls: Any, says: str, decisions: Any, *, ends: bool
) -> None:
    model = ScriptedModel(script=[asks_for(*calls), "Done."])
    guard = BighubGuard(bighub=ScriptedBighub(says))
    graph = build(host, model, [ticket, *Shop().tools()], guard)
    state = runner.run(graph, PLEASE)
    if decisions:
        state = runner.run(graph, resume(*decisions))
    assert len(model.shown) == (1 if ends else 2)
    assert (state["messages"][-1].text == "Done.") is not ends
    assert history_faults(state["messages"]) == []


@pytest.mark.parametrize("host", ["ready", "own"])
def test_a_tool_that_failed_does_not_return_directly(runner: Runner, host: str) -> None:
    model = ScriptedModel(script=[asks_for(call("ticket", text="fails")), "Done."])
    guard = BighubGuard(bighub=ScriptedBighub())
    graph = build(host, model, ToolNode([ticket], handle_tool_errors=True), guard)
    assert runner.run(graph, PLEASE)["messages"][-1].text == "Done."


# -- calls that LangChain could not parse ----------------------------------------------------------


def cut_off(call_id: str = "bad", **fields: Any) -> dict[str, Any]:
    text = '{"order_id": "o", "amount": '
    invalid = {"name": "refund", "args": text, "id": call_id, "error": "cut off"}
    return {**invalid, "type": "invalid_tool_call", **fields}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("beside", [[], [LOOK_UP], [call("refund", order_id="o", amount=4)]])
@pytest.mark.parametrize("invalid", [cut_off(), cut_off(args=None), cut_off(name=None)])
def test_a_call_without_complete_arguments_is_answered_and_can_be_made_again(
    runner: Runner, host: str, beside: Any, invalid: Any
) -> None:
    shop = Shop()
    bighub = ScriptedBighub({"refund": "review_recommended", "look_up": "proceed"})
    broken = AIMessage("", tool_calls=beside, invalid_tool_calls=[invalid])
    model = ScriptedModel(
        script=[broken, asks_for(call("refund", order_id="o", amount=5)), "Done."]
    )
    graph = build(host, model, shop.tools(), BighubGuard(bighub=bighub))
    state = runner.run(graph, PLEASE)
    while "__interrupt__" in state:
        state = runner.run(graph, resume(YES))
    assert "not a complete JSON object" in answers(state)["bad"]
    assert ("refund", 5) in shop.ran
    assert all(history_faults(history) == [] for history in model.shown)
    assert state["messages"][-1].text == "Done."


@pytest.mark.parametrize("host", HOSTS)
def test_an_unanswered_call_of_that_kind_in_an_old_history_is_answered(
    runner: Runner, host: str
) -> None:
    model = ScriptedModel(script=["Done."])
    graph = build(host, model, Shop().tools(), BighubGuard(bighub=ScriptedBighub()))
    broken = AIMessage("", invalid_tool_calls=[cut_off()])
    runner.run(graph, {"messages": [HumanMessage("please"), broken, HumanMessage("and?")]})
    assert history_faults(model.shown[0]) == []


# -- tools with a JSON schema, as MCP servers have them --------------------------------------------


def with_schema(ran: list[Any], **properties: Any) -> StructuredTool:
    def refund(**arguments: Any) -> str:
        ran.append(arguments)
        return "refunded"

    schema = {
        "type": "object",
        "properties": {"order_id": {"type": "string"}, "amount": {"type": "number"}, **properties},
        "required": ["order_id", "amount"],
        "additionalProperties": False,
    }
    return StructuredTool.from_function(
        refund, name="refund", description="Pay money back.", args_schema=schema
    )


UNFIT: list[tuple[dict[str, Any], str]] = [
    ({"order_id": "o"}, "'amount' is a required property"),
    ({"order_id": "o", "amount": "many"}, "amount: 'many' is not of type 'number'"),
    ({"order_id": 7, "amount": 5}, "order_id: 7 is not of type 'string'"),
    ({"order_id": "o", "amount": 5, "to": "me"}, "'to' was unexpected"),
]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(("arguments", "error"), UNFIT)
def test_a_call_that_does_not_fit_a_json_schema_is_answered_and_nobody_is_asked(
    runner: Runner, host: str, arguments: Any, error: str
) -> None:
    ran: list[Any] = []
    model = ScriptedModel(script=[asks_for(call("refund", **arguments)), "Done."])
    bighub = ScriptedBighub("review_recommended")
    state = runner.run(build(host, model, [with_schema(ran)], BighubGuard(bighub=bighub)), PLEASE)
    assert error in answers(state)["call-1"]
    assert (ran, bighub.evaluations) == ([], [])


class Line(BaseModel):
    """A part of an invoice."""

    amount: float


@tool
def pay(
    amount: float, lines: list[Line] | None = None, rates: dict[str, float] | None = None
) -> str:
    """Pay an invoice."""
    PAID.append(amount)
    return f"paid {amount}"


PAID: list[float] = []


@pytest.mark.parametrize("host", HOSTS)
def test_a_number_that_the_model_sends_as_text_is_a_value_for_bighub(
    runner: Runner, host: str
) -> None:
    PAID.clear()
    model = ScriptedModel(script=[asks_for(call("pay", amount="5000")), "Done."])
    bighub = ScriptedBighub("proceed")
    runner.run(build(host, model, [pay], BighubGuard(bighub=bighub)), PLEASE)
    assert PAID == [5000.0]
    assert [request["value"] for request in bighub.evaluations] == [5000.0]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ({"amount": "NaN"}, "amount"),
        ({"amount": "-Infinity"}, "amount"),
        ({"amount": "1e999"}, "amount"),
        ({"amount": 1, "lines": [{"amount": 1}, {"amount": "inf"}]}, "lines.1.amount"),
        ({"amount": 1, "rates": {"eur": "nan"}}, "rates.eur"),
    ],
)
def test_a_text_that_a_tool_would_read_as_no_finite_number_is_answered_and_nobody_is_asked(
    runner: Runner, host: str, arguments: Any, place: str
) -> None:
    PAID.clear()
    model = ScriptedModel(script=[asks_for(call("pay", **arguments)), "Done."])
    bighub = ScriptedBighub("review_recommended")
    state = runner.run(build(host, model, [pay], BighubGuard(bighub=bighub)), PLEASE)
    assert f"({place}: a finite number is expected)" in answers(state)["call-1"]
    assert (PAID, bighub.evaluations) == ([], [])


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(("arguments", "error"), UNFIT)
def test_an_edit_that_does_not_fit_a_json_schema_is_refused(
    runner: Runner, host: str, arguments: Any, error: str
) -> None:
    ran: list[Any] = []
    model = ScriptedModel(script=[asks_for(call("refund", order_id="o", amount=5)), "Done."])
    guard = BighubGuard(bighub=ScriptedBighub("review_recommended"))
    graph = build(host, model, [with_schema(ran)], guard)
    runner.run(graph, PLEASE)
    edit = {"type": "edit", "edited_action": {"name": "refund", "args": arguments}}
    state = runner.run(graph, resume(edit))
    assert error in str(state["__interrupt__"][0].value)
    runner.run(graph, resume(YES))
    assert ran == [{"order_id": "o", "amount": 5}]


def test_an_edit_is_checked_though_another_process_takes_the_answer(runner: Runner) -> None:
    ran: list[Any] = []
    saver, guard = InMemorySaver(), BighubGuard(bighub=ScriptedBighub("review_recommended"))
    calls = [asks_for(call("refund", order_id="o", amount=5))]
    first, second = (
        create_agent(
            ScriptedModel(script=script),
            [with_schema(ran)],
            middleware=[BighubMiddleware(guard)],
            checkpointer=saver,
        )
        for script in (calls, ["Done."])
    )
    runner.run(first, PLEASE)
    arguments = {"order_id": "o", "amount": "many"}
    edit = {"type": "edit", "edited_action": {"name": "refund", "args": arguments}}
    state = runner.run(second, resume(edit))
    assert "amount: 'many' is not of type 'number'" in answers(state)["call-1"]
    assert ran == []


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        ({"multipleOf": 0.01}, 19.99, True),
        ({"multipleOf": 0.01}, 19.999, False),
        ({"type": "money"}, 1, False),
        ({"$ref": "#/$defs/missing"}, 1, False),
        ({"$ref": "https://example.com/schema.json"}, 1, False),
    ],
)
def test_a_schema_is_applied_exactly_and_a_wrong_one_fits_nothing(
    runner: Runner, schema: Any, value: Any, *, fits: bool
) -> None:
    ran: list[Any] = []
    model = ScriptedModel(script=[asks_for(call("refund", order_id="o", amount=value)), "Done."])
    guard = BighubGuard(bighub=ScriptedBighub())
    runner.run(build("ready", model, [with_schema(ran, amount=schema)], guard), PLEASE)
    assert bool(ran) is fits


# -- what is wrong is said when the agent is built -------------------------------------------------

LEFTOVERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "out of the model": (lambda b: b.add_edge("agent", "other"), r"add_edge\('agent', 'other'\)"),
    "to the end": (lambda b: b.add_edge("agent", END), r"add_edge\('agent', '__end__'\)"),
    "by a condition": (
        lambda b: b.add_conditional_edges("agent", tools_condition),
        r"add_conditional_edges\('agent', tools_condition\)",
    ),
    "out of the tools": (lambda b: b.add_edge("tools", "agent"), r"add_edge\('tools', 'agent'\)"),
    "to the tools": (lambda b: b.add_edge("other", "tools"), r"add_edge\('other', 'tools'\)"),
    "after several": (
        lambda b: b.add_edge(["other", "agent"], "last"),
        r"add_edge\(\['other', 'agent'\], 'last'\)",
    ),
    "to the tools by a condition": (
        lambda b: b.add_conditional_edges("other", lambda _: "tools", ["tools", "last"]),
        r"add_conditional_edges\('other', ",
    ),
}


@pytest.mark.parametrize("leftover", LEFTOVERS)
def test_edges_that_the_guard_replaces_are_refused_by_the_line_to_delete(leftover: str) -> None:
    builder = StateGraph(MessagesState)
    for name in ("agent", "other", "last"):
        builder.add_node(name, lambda _: {})
    builder.add_edge(START, "agent")
    add_edge, line = LEFTOVERS[leftover]
    add_edge(builder)
    with pytest.raises(ConfigurationError, match=f"delete {line}"):
        add_guard(builder, [], BighubGuard(bighub=ScriptedBighub()), after="agent")


def test_a_model_node_that_goes_to_the_tools_by_itself_is_refused() -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("model", lambda _: {}, destinations=("tools", END))
    builder.add_edge(START, "model")
    with pytest.raises(ConfigurationError, match="destinations"):
        add_guard(builder, [], BighubGuard(bighub=ScriptedBighub()))


def test_an_agent_without_a_checkpointer_is_warned_of_once_when_it_is_built() -> None:
    guard, model = BighubGuard(bighub=ScriptedBighub()), ScriptedModel(script=[])
    with pytest.warns(UserWarning, match="has no checkpointer") as warning_list:
        create_guarded_agent(model, [], guard)
    assert len(warning_list) == 1
    assert warning_list[0].filename == __file__
    create_guarded_agent(model, [], guard, checkpointer=False)
    create_guarded_agent(model, [], guard, name="part of another graph")


def test_a_journal_in_memory_beside_a_durable_checkpointer_is_refused_when_built() -> None:
    model = ScriptedModel(script=[])
    with SqliteSaver.from_conn_string(":memory:") as saver:
        guard = BighubGuard(bighub=ScriptedBighub())
        with pytest.raises(JournalError, match="outlives the process"):
            create_guarded_agent(model, [], guard, checkpointer=saver)
        own_guard = BighubGuard(bighub=ScriptedBighub(), journal=Journal.in_memory())
        with pytest.warns(UserWarning, match="the journal is in memory"):
            create_guarded_agent(model, [], own_guard, checkpointer=saver)


@pytest.mark.parametrize("name", ["refunds", "Refund", "refnd", "look-up", "lookup"])
def test_a_policy_for_a_tool_with_nearly_that_name_is_warned_of(name: str) -> None:
    guard = BighubGuard(bighub=ScriptedBighub(), tools={name: ToolPolicy(read_only=True)})
    with pytest.warns(UserWarning, match=f"a policy for '{name}', but the tool here is called"):
        create_guarded_agent(
            ScriptedModel(script=[]), Shop().tools(), guard, checkpointer=InMemorySaver()
        )


def test_the_middleware_warns_of_such_a_policy_when_it_sees_the_tools(runner: Runner) -> None:
    guard = BighubGuard(bighub=ScriptedBighub(), tools={"refnd": ToolPolicy(read_only=True)})
    model = ScriptedModel(script=[asks_for(LOOK_UP), "Done."])
    with pytest.warns(UserWarning, match="a policy for 'refnd'"):
        runner.run(build("middleware", model, Shop().tools(), guard), PLEASE)


def test_policies_of_other_tools_are_nobodys_mistake() -> None:
    policies = {name: ToolPolicy() for name in ("refund", "refunds", "send_mail", "look_up")}
    guard = BighubGuard(bighub=ScriptedBighub(), tools=policies)
    create_guarded_agent(ScriptedModel(script=[]), Shop().tools(), guard, checkpointer=False)
