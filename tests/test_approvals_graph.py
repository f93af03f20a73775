"""Answers that people give outside of the graph: every host reads them when it is resumed."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt

from bighub_langgraph import (
    ApprovalPolicy,
    BighubGuard,
    BighubMiddleware,
    ToolPolicy,
    create_guarded_agent,
)
from bighub_langgraph.approvals.cards import ApprovalCard, Approver
from bighub_langgraph.approvals.inbox import ApprovalInbox, NotAllowedToAnswer
from bighub_langgraph.core.approval_answers import RECORDED
from bighub_langgraph.core.lifecycle import ExecutionStarted, OwnerLost
from bighub_langgraph.core.models import State
from bighub_langgraph.core.reporting import ReportingConfig
from tests.agents import ScriptedModel, asks_for, call
from tests.engines import ScriptedBighub

CONFIG: Any = {"configurable": {"thread_id": "t"}}
ADA = Approver("ada", verified=True, roles=frozenset({"approver"}))
BOB = Approver("bob", verified=True, roles=frozenset({"approver"}))
REFUND = call("refund", order_id="o1", amount=40.0, api_key="sk-live-abcdefghijklmnop")
SECOND = call("refund", "call-2", order_id="o2", amount=50.0, api_key="sk-live-abcdefghijklmnop")
SECRET = REFUND["args"]["api_key"]


class Desk:
    """An agent in one of the hosts, whose refunds wait for a person, and the inbox beside it."""

    def __init__(self, host: str, place: Path, *calls: Any, **policy: Any) -> None:
        self.ran: list[Any] = []
        self.own_answers: list[Any] = []
        self.journal = place / "calls.db"
        kind, _, mode = host.partition(": ")
        if mode:
            policy["interrupt_mode"] = mode
        tools = policy.pop("tools", {})
        approvals = ApprovalPolicy(**policy)
        self.bighub = ScriptedBighub("review_recommended")
        self.now = time.time()
        self.guard = BighubGuard(
            bighub=self.bighub,
            journal=self.journal,
            approvals=approvals,
            name="desk",
            tools=tools,
            clock=lambda: self.now,
        )
        self.graph = self._build(kind, asks_for(*(calls or (REFUND,))))
        self.inbox = ApprovalInbox(self.journal)
        self.state: Any = self.graph.invoke({"messages": [("user", "please")]}, CONFIG)

    def _build(self, kind: str, message: Any) -> Any:
        @tool
        def refund(order_id: str, amount: float, api_key: str = "", note: str = "") -> str:
            """Pay money back."""
            if note == "ask":
                self.own_answers.append(interrupt("the tool's own question"))
            self.ran.append((order_id, amount, api_key))
            return f"refunded {amount}"

        model, saver = ScriptedModel(script=[message, "Done."]), InMemorySaver()
        if kind == "ready":
            return create_guarded_agent(model, [refund], self.guard, checkpointer=saver)
        if kind == "middleware":
            guard = BighubMiddleware(self.guard)
            return create_agent(model, [refund], middleware=[guard], checkpointer=saver)
        if kind == "guarded tools":
            tools = self.guard.wrap_tools([refund])
            return create_agent(model, tools, checkpointer=saver)
        builder = StateGraph(MessagesState)
        builder.add_node("model", lambda state: {"messages": [message]})
        builder.add_node("tools", ToolNode([refund], wrap_tool_call=self.guard.wrap_tool_call))
        builder.add_edge(START, "model")
        builder.add_edge("model", "tools")
        return builder.compile(checkpointer=saver)

    @property
    def card(self) -> ApprovalCard:
        [card] = self.inbox.list()
        return card

    def card_of(self, call_id: str) -> ApprovalCard:
        return next(card for card in self.inbox.list() if card.call_id == call_id)

    @property
    def questions(self) -> list[str]:
        """The texts of the questions that wait in the thread."""
        items = [item.value for item in self.graph.get_state(CONFIG).interrupts]
        values = [value for value in items if isinstance(value, dict)]
        requests = [item for value in values for item in value.get("action_requests", [value])]
        return [item["description"] for item in requests]

    def resume(self, value: Any = RECORDED) -> list[tuple[str, str | None, str | None]]:
        """Go on; return the events with their statuses and answers."""
        open_items = self.graph.get_state(CONFIG).interrupts
        answers: Any = Command(resume={item.id: value for item in open_items})
        events = []
        for mode, part in self.graph.stream(answers, CONFIG, stream_mode=["values", "custom"]):
            if mode == "values":
                self.state = part
            else:
                approval = part.get("approval", {})
                events.append((part["event"], part["status"], approval.get("answer")))
        return events

    @property
    def tool_messages(self) -> list[str]:
        return [item.content for item in self.state["messages"] if item.type == "tool"]


HOSTS = (
    "ready",
    "ready: per_call",
    "middleware",
    "middleware: per_call",
    "wrapper",
    "guarded tools",
)
# In these a person can be asked about several calls of a turn.
BATCHES = HOSTS[:4]


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_a_recorded_approval_runs_the_call_once(host: str, tmp_path: Path) -> None:
    desk = Desk(host, tmp_path)
    card = desk.card
    assert (card.agent, card.thread, card.tool) == ("desk", "t", "refund")
    assert card.tool_description == "Pay money back."
    assert card.schema["properties"]["amount"]["type"] == "number"
    assert desk.inbox.answer(card.key, "approve", approver=ADA).is_final
    desk.resume()
    assert desk.ran == [("o1", 40.0, SECRET)]
    assert desk.questions == []
    events = [entry.event for entry in desk.inbox.history(card.key)]
    assert events[:3] == ["DecisionMade", "PersonAsked", "AnswerGiven"]
    assert desk.inbox.get(card.key).state is State.EXECUTED


@pytest.mark.parametrize(
    ("answer", "text", "model_reads"),
    [("reject", "too much", "too much"), ("respond", "it was paid", "it was paid")],
)
def test_a_recorded_answer_without_the_tool_is_what_the_model_reads(
    host: str, tmp_path: Path, answer: str, text: str, model_reads: str
) -> None:
    desk = Desk(host, tmp_path)
    desk.inbox.answer(desk.card.key, answer, approver=ADA, text=text)
    desk.resume()
    assert desk.ran == []
    assert model_reads in desk.tool_messages[0]


def test_a_resume_grants_nothing_while_nobody_has_answered(host: str, tmp_path: Path) -> None:
    desk = Desk(host, tmp_path)
    for _ in range(3):
        desk.resume()
        assert desk.ran == []
        assert len(desk.questions) == 1
    desk.inbox.answer(desk.card.key, "approve", approver=ADA)
    desk.resume()
    assert desk.ran == [("o1", 40.0, SECRET)]


def test_an_edit_changes_its_fields_alone_and_is_evaluated_by_the_guard(
    host: str, tmp_path: Path
) -> None:
    desk = Desk(host, tmp_path)
    card = desk.card
    assert card.locked_pointers == ("/api_key",)
    assert SECRET not in f"{card}"
    desk.inbox.answer(card.key, "edit", approver=ADA, edit={"/amount": 20.0}, version=card.version)
    first_card = desk.inbox.get(card.key)
    assert (first_card.state, first_card.edit) == (State.EDITED, {"/amount": 20.0})
    desk.resume()
    assert desk.ran == [("o1", 20.0, SECRET)]
    approval = desk.inbox.get(card.key).record.approval
    assert approval is not None
    edited_card = desk.inbox.get(approval.edited_to)
    assert (edited_card.state, edited_card.arguments["amount"]) == (State.EXECUTED, 20.0)
    desk.guard.close()
    assert SECRET.encode() not in desk.journal.read_bytes()


def value_unless_13(arguments: dict[str, Any]) -> float:
    if arguments["amount"] == 13:
        raise ValueError("unlucky")
    return float(arguments["amount"])


def send_a_message(desk: Desk) -> None:
    desk.state = desk.graph.invoke({"messages": [("user", "never mind")]}, CONFIG)


def let_time_pass(desk: Desk) -> None:
    desk.now += 7200
    desk.guard.flush()


def cancel_it(desk: Desk) -> None:
    [card] = desk.inbox.list(states=[State.EDITED])
    desk.inbox.cancel(card.key, "withdrawn", approver=ADA)


# How an edit comes to no call, and in which state the call then is.
NO_CALL: dict[str, tuple[Callable[[Desk], object], State]] = {
    "the guard refuses it": (Desk.resume, State.BLOCKED),
    "a new message": (send_a_message, State.CANCELLED),
    "cancelled": (cancel_it, State.CANCELLED),
    "expired": (let_time_pass, State.EXPIRED),
}


@pytest.mark.parametrize("case", NO_CALL)
def test_an_edit_that_comes_to_no_call_has_an_outcome(host: str, tmp_path: Path, case: str) -> None:
    if case == "a new message" and host not in BATCHES:
        pytest.skip("these hosts do not see the messages of their graph")
    end, state = NO_CALL[case]
    policy = ToolPolicy(value_from_args=value_unless_13)
    desk = Desk(host, tmp_path, tools={"refund": policy}, expires_after=3600)
    card = desk.card
    desk.inbox.answer(card.key, "edit", approver=ADA, edit={"/amount": 13}, version=card.version)
    end(desk)
    desk.guard.flush()
    assert desk.inbox.get(card.key).state is state
    assert desk.bighub.statuses == ["BLOCKED"]
    if case != "a new message":
        desk.resume()
    assert desk.ran == []


# What a person answers, how it is sent by hand, and the events of it.
ANSWER_EVENTS: dict[str, tuple[dict[str, Any], list[tuple[str, str | None, str | None]]]] = {
    "approve": ({}, [("approval", None, "approve"), ("outcome", "executed", "approve")]),
    "reject": ({"message": "no"}, [("approval", "blocked", "reject")]),
    "respond": ({"message": "paid"}, [("approval", "blocked", "respond")]),
}


@pytest.mark.parametrize("channel", ["page", "by hand"])
@pytest.mark.parametrize("answer", ANSWER_EVENTS)
def test_an_answer_has_one_event_wherever_it_is_given(
    host: str, tmp_path: Path, answer: str, channel: str
) -> None:
    fields, events = ANSWER_EVENTS[answer]
    desk = Desk(host, tmp_path)
    if channel == "page":
        desk.inbox.answer(desk.card.key, answer, approver=ADA, text=fields.get("message", ""))
        assert desk.resume() == events
    else:
        assert desk.resume({"type": answer, **fields}) == events


def test_a_call_that_is_cancelled_on_the_page_has_an_event(host: str, tmp_path: Path) -> None:
    desk = Desk(host, tmp_path)
    desk.inbox.cancel(desk.card.key, "withdrawn", approver=ADA)
    assert desk.resume() == [("approval", "blocked", None)]


def test_an_edit_has_an_event_of_the_call_and_the_edited_call_its_own(
    host: str, tmp_path: Path
) -> None:
    desk = Desk(host, tmp_path)
    card = desk.card
    desk.inbox.answer(card.key, "edit", approver=ADA, edit={"/amount": 20.0}, version=card.version)
    events = desk.resume()
    assert [event for event, *_ in events] == ["approval", "decision", "outcome"]
    assert events[0][2] == "edit"


def test_the_tools_own_question_repeats_no_event(host: str, tmp_path: Path) -> None:
    desk = Desk(host, tmp_path, call("refund", order_id="o1", amount=40.0, note="ask"))
    desk.inbox.answer(desk.card.key, "approve", approver=ADA)
    events = desk.resume()
    assert desk.own_answers == []
    events += desk.resume("blue")
    assert desk.own_answers == ["blue"]
    assert [event for event, *_ in events] == ["approval", "outcome"]


@pytest.mark.parametrize("host", [*BATCHES, "guarded tools"])
def test_calls_that_are_answered_one_after_the_other_have_one_event_each(
    host: str, tmp_path: Path
) -> None:
    desk = Desk(host, tmp_path, REFUND, SECOND)
    desk.inbox.answer(desk.card_of("call-1").key, "reject", approver=ADA, text="no")
    events = desk.resume()
    desk.inbox.answer(desk.card_of("call-2").key, "approve", approver=ADA)
    events += desk.resume()
    assert desk.questions == []
    assert sorted(events, key=str) == sorted(
        [*ANSWER_EVENTS["reject"][1], *ANSWER_EVENTS["approve"][1]], key=str
    )


def test_an_answer_that_was_given_before_the_agent_went_on_to_ask_has_an_event(
    tmp_path: Path,
) -> None:
    def answer_at_once(event: Any) -> None:
        with ApprovalInbox(tmp_path / "calls.db") as inbox:
            inbox.answer(event["key"], "reject", approver=ADA, text="no")

    @tool
    def refund(order_id: str, amount: float, api_key: str = "") -> str:
        """Pay money back."""
        raise AssertionError

    bighub = ScriptedBighub("review_recommended")
    journal = tmp_path / "calls.db"
    with BighubGuard(bighub=bighub, journal=journal, on_decision=answer_at_once) as guard:
        model = ScriptedModel(script=[asks_for(REFUND), "Done."])
        graph = create_guarded_agent(model, [refund], guard, checkpointer=InMemorySaver())
        value = {"messages": [("user", "please")]}
        events = [event["event"] for event in graph.stream(value, CONFIG, stream_mode="custom")]
    assert events == ["decision", "approval"]


@pytest.mark.parametrize("host", BATCHES)
def test_answered_calls_go_on_and_the_others_are_asked_about_again(
    host: str, tmp_path: Path
) -> None:
    desk = Desk(host, tmp_path, REFUND, SECOND)
    desk.inbox.answer(desk.card_of("call-2").key, "approve", approver=ADA)
    desk.resume()
    assert desk.ran == [("o2", 50.0, SECRET)]
    [question] = desk.questions
    assert "o1" in question
    desk.inbox.answer(desk.card.key, "approve", approver=ADA)
    desk.resume()
    assert desk.ran == [("o2", 50.0, SECRET), ("o1", 40.0, SECRET)]
    assert desk.questions == []


def test_two_people_have_to_approve_and_a_plain_yes_does_not_count(
    host: str, tmp_path: Path
) -> None:
    desk = Desk(host, tmp_path, required_approvals=lambda call: 2 if call.value > 10 else 1)
    for _ in range(2):
        desk.resume({"type": "approve", "approver": "mallory"})
        assert desk.ran == []
        [question] = desk.questions
        assert "only people who are signed in may approve it" in question
    receipt = desk.inbox.answer(desk.card.key, "approve", approver=ADA)
    assert (receipt.is_final, receipt.missing_approvals) == (False, 1)
    with pytest.raises(NotAllowedToAnswer, match="ada has approved it already"):
        desk.inbox.answer(desk.card.key, "approve", approver=ADA)
    desk.resume()
    assert desk.ran == []
    assert "ada approved it" in desk.questions[0]
    assert desk.inbox.answer(desk.card.key, "approve", approver=BOB).is_final
    desk.resume()
    assert desk.ran == [("o1", 40.0, SECRET)]


def test_a_call_of_two_people_runs_again_only_when_two_say_so(host: str, tmp_path: Path) -> None:
    desk = Desk(host, tmp_path, required_approvals=2)
    key = desk.card.key
    for approver in (ADA, BOB):
        desk.inbox.answer(key, "approve", approver=approver)
    for event in (ExecutionStarted("a1", 0.0), OwnerLost("a1", "killed")):
        desk.guard.journal.transition(key, event, ReportingConfig())
    desk.resume()
    for _ in range(2):
        desk.resume({"type": "run_again", "approver": "mallory"})
        assert (desk.ran, desk.card.votes) == ([], ())
        [question] = desk.questions
        assert "only people who are signed in may approve it" in question
        assert "2 people who are signed in have to approve that it runs again" in question
    desk.inbox.answer(key, "approve", approver=ADA, version=desk.card.version)
    desk.resume()
    assert desk.ran == []
    assert "ada approved it" in desk.questions[0]
    desk.inbox.answer(key, "approve", approver=BOB, version=desk.card.version)
    desk.resume()
    assert desk.ran == [("o1", 40.0, SECRET)]


@pytest.mark.parametrize(("amount", "people"), [(5.0, 1), (30.0, 2)])
def test_an_edit_is_its_authors_approval_and_the_number_is_computed_anew(
    host: str, tmp_path: Path, amount: float, people: int
) -> None:
    desk = Desk(host, tmp_path, required_approvals=lambda call: 2 if call.value > 10 else 1)
    card = desk.card
    desk.inbox.answer(card.key, "approve", approver=BOB)
    version = desk.card.version
    desk.inbox.answer(card.key, "edit", approver=ADA, edit={"/amount": amount}, version=version)
    desk.resume()
    if people > 1:
        assert desk.ran == []
        edited_card = desk.card
        assert [vote.approver for vote in edited_card.votes] == ["ada"]
        assert desk.inbox.answer(edited_card.key, "approve", approver=BOB).is_final
        desk.resume()
    assert desk.ran == [("o1", amount, SECRET)]


def test_one_rejection_ends_what_others_approved(host: str, tmp_path: Path) -> None:
    desk = Desk(host, tmp_path, required_approvals=3)
    desk.inbox.answer(desk.card.key, "approve", approver=ADA)
    assert desk.inbox.answer(desk.card.key, "reject", approver=BOB, text="no").is_final
    desk.resume()
    assert desk.ran == []
    assert "A person rejected this call: no" in desk.tool_messages[0]


def test_a_number_of_people_that_cannot_be_computed_blocks_the_call(
    host: str, tmp_path: Path
) -> None:
    def fail(request: Any) -> int:
        raise TypeError("no value")

    desk = Desk(host, tmp_path, required_approvals=fail)
    assert desk.ran == desk.questions == []
    assert "required_approvals of 'refund' raised TypeError" in desk.tool_messages[0]


def test_the_tools_own_question_does_not_get_the_approval(host: str, tmp_path: Path) -> None:
    asks = call("refund", order_id="o1", amount=40.0, note="ask")
    desk = Desk(host, tmp_path, asks)
    desk.resume()
    desk.inbox.answer(desk.card.key, "approve", approver=ADA)
    desk.resume()
    assert desk.own_answers == []
    desk.resume("blue")
    assert desk.own_answers == ["blue"]
    assert desk.ran == [("o1", 40.0, "")]


def test_what_ended_meanwhile_goes_on_without_a_question(host: str, tmp_path: Path) -> None:
    desk = Desk(host, tmp_path)
    desk.inbox.cancel(desk.card.key, "the order was withdrawn", approver=ADA)
    desk.resume()
    assert desk.ran == desk.questions == []
    assert "the order was withdrawn" in desk.tool_messages[0]
