"""Whatever people's tools send back: nothing unapproved runs, nothing gets stuck."""

from collections.abc import Sequence
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from bighub_langgraph import ApprovalPolicy, BighubGuard, BighubMiddleware, create_guarded_agent
from tests.agents import ScriptedModel, call
from tests.engines import ScriptedBighub

IDS = ["a", "b"]
CALLS = [call("pay", "a", amount=1), call("pay", "b", amount=2)]


class Payer(ScriptedModel):
    """Wants to pay twice, then is done; counts its turns by thread."""

    turns: list[int] = []  # noqa: RUF012 - pydantic copies it for each model

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.turns.append(1)
        has_asked = any(isinstance(message, AIMessage) for message in messages)
        response = AIMessage("Done.") if has_asked else AIMessage("", tool_calls=CALLS)
        return ChatResult(generations=[ChatGeneration(message=response)])


class Desk:
    """One agent that serves many threads."""

    def __init__(self, host: str, mode: Any) -> None:
        self.paid: list[float] = []
        self.model = Payer(script=[])
        guard = BighubGuard(
            bighub=ScriptedBighub("review_recommended"),
            approvals=ApprovalPolicy(interrupt_mode=mode),
            outcome_reporting=False,
            memory_enabled=False,
        )

        @tool
        def pay(amount: float) -> str:
            """Pay."""
            self.paid.append(amount)
            return f"paid {amount:g}"

        saver = InMemorySaver()
        self.graph: Any = (
            create_guarded_agent(self.model, [pay], guard, checkpointer=saver)
            if host == "ready"
            else create_agent(
                self.model, [pay], middleware=[BighubMiddleware(guard)], checkpointer=saver
            )
        )


class Thread:
    """One conversation with a desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._config: Any = {"configurable": {"thread_id": uuid4().hex}}
        desk.paid.clear()
        desk.model.turns.clear()
        self.state = desk.graph.invoke({"messages": [HumanMessage("please")]}, self._config)

    @property
    def open(self) -> list[Any]:
        return list(self.state.get("__interrupt__", ()))

    def asked_ids(self, question: Any) -> list[str]:
        """The ids of the calls a question is about."""
        value = question.value
        if "tool_call_id" in value:
            return [value["tool_call_id"]]
        return [item["bighub"]["tool_call_id"] for item in value["action_requests"]]

    def answer(self, question: Any, response: Any) -> None:
        """Answer a question; LangGraph itself may refuse an answer that does not fit."""
        try:
            self.state = self._desk.graph.invoke(
                Command(resume={question.id: response}), self._config
            )
        except ValueError:
            interrupts = self._desk.graph.get_state(self._config).interrupts
            self.state = {**self.state, "__interrupt__": interrupts}


WORDS = st.sampled_from(["approve", "accept", "reject", "ignore", "respond", "edit", "go", "", 1])
ARGS = st.sampled_from([{"amount": 1}, {"amount": 9}, {"amount": "x"}, {}, None])
DECISIONS = st.fixed_dictionaries(
    {},
    optional={
        "type": WORDS,
        "resolution": st.sampled_from(["approved", "denied", "maybe"]),
        "tool_call_id": st.sampled_from([*IDS, "c", None]),
        "message": st.sampled_from(["because", "", 3]),
        "edited_action": st.fixed_dictionaries(
            {"name": st.sampled_from(["pay", "steal"]), "args": ARGS}
        ),
    },
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
ANSWERS = st.one_of(
    DECISIONS,
    st.lists(DECISIONS, max_size=3),
    st.fixed_dictionaries({"decisions": st.lists(DECISIONS, max_size=3)}),
    JSON,
)


def decisions_in(response: Any) -> list[dict[str, Any]]:
    """Everything in an answer that looks like a decision."""
    if isinstance(response, dict):
        decisions = response.get("decisions", [response])
        return decisions_in(decisions) if isinstance(decisions, list) else []
    if isinstance(response, list):
        return [item for item in response if isinstance(item, dict)]
    return []


def amounts_allowed(response: Any, ids: Sequence[str]) -> set[float]:
    """The most that an answer can allow to be paid."""
    allowed_amounts: set[float] = set()
    for position, decision in enumerate(decisions_in(response)):
        by_position = ids[position] if position < len(ids) else None
        call_id = decision.get("tool_call_id") or by_position
        amount = IDS.index(call_id) + 1 if call_id in IDS else None
        if amount and (
            decision.get("type") in {"approve", "accept"}
            or decision.get("resolution") == "approved"
        ):
            allowed_amounts.add(amount)
        args = decision.get("edited_action", {}).get("args") or {}
        if decision.get("type") == "edit" and isinstance(args.get("amount"), int):
            allowed_amounts.add(args["amount"])
    return allowed_amounts


@pytest.fixture(
    scope="module",
    params=[
        ("ready", "batched"),
        ("ready", "per_call"),
        ("middleware", "batched"),
        ("middleware", "per_call"),
    ],
    ids="-".join,
)
def desk(request: pytest.FixtureRequest) -> Desk:
    return Desk(*request.param)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(responses=st.lists(ANSWERS, min_size=1, max_size=6))
def test_no_answer_runs_an_unapproved_call_or_poisons_a_thread(
    desk: Desk, responses: list[Any]
) -> None:
    thread = Thread(desk)
    allowed_amounts: set[float] = set()
    for response in responses:
        if not thread.open:
            break
        question = thread.open[0]
        allowed_amounts |= amounts_allowed(response, thread.asked_ids(question))
        thread.answer(question, response)
        assert set(desk.paid) <= allowed_amounts
    for _ in count():
        if not thread.open:
            break
        question = thread.open[0]
        no = [{"type": "reject", "tool_call_id": call_id} for call_id in thread.asked_ids(question)]
        thread.answer(question, {"decisions": no})
    messages = thread.state["messages"]
    answered_ids = [
        message.tool_call_id for message in messages if isinstance(message, ToolMessage)
    ]
    assert sorted(answered_ids) == IDS
    assert messages[-1].content == "Done."
    assert len(desk.model.turns) == 2
    assert set(desk.paid) <= allowed_amounts
    assert len(desk.paid) <= 2
