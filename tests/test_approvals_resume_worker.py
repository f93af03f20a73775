"""The worker that resumes agents: answered threads go on by themselves, exactly once."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphBubbleUp
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt

from bighub_langgraph import (
    ApprovalPolicy,
    BighubGuard,
    BighubMiddleware,
    Journal,
    LocalBighub,
    ToolPolicy,
    add_guard,
    create_guarded_agent,
    model_node,
)
from bighub_langgraph.approvals.accounts import Accounts
from bighub_langgraph.approvals.cards import Approver
from bighub_langgraph.approvals.inbox import ApprovalInbox
from bighub_langgraph.approvals.notifications import Notification, Notifications
from bighub_langgraph.approvals.resume_worker import (
    MAX_MISSING,
    MISSING,
    UNANSWERED_SECONDS,
    ApprovalWorker,
)
from bighub_langgraph.core.errors import ConfigurationError, RunInProgress
from bighub_langgraph.core.lifecycle import AnswerGiven
from bighub_langgraph.core.models import State, Verdict
from bighub_langgraph.core.ports import ApprovalQuestion
from bighub_langgraph.core.reporting import ReportingConfig
from tests.agents import ScriptedModel, Shop, answers, asks_for, call
from tests.calls import approval, decided_record
from tests.documents import ROOT
from tests.engines import ScriptedBighub

ADA, BOB = (Approver(name, verified=True, roles=frozenset({"approver"})) for name in ("ada", "bob"))
TWO_REFUNDS = (
    call("refund", "c1", order_id="o1", amount=1.0),
    call("refund", "c2", order_id="o2", amount=2.0),
)


@dataclass
class Desk:
    """Agents on one journal and one checkpointer; each is asked about two refunds.

    Attributes:
        now: The time, which does not pass by itself.
    """

    journal: Journal
    stack: ExitStack
    saver: InMemorySaver = field(default_factory=InMemorySaver)
    shop: Shop = field(default_factory=Shop)
    now: float = 1000.0

    def guard(self, name: str = "desk", **settings: Any) -> BighubGuard:
        """A guard that asks about every call."""
        bighub = settings.pop("bighub", None) or ScriptedBighub("review_recommended")
        settings |= {"journal": self.journal, "name": name, "clock": lambda: self.now}
        return self.stack.enter_context(BighubGuard(bighub=bighub, **settings))

    def model(self, *more: Any) -> ScriptedModel:
        """A model that makes the calls, then says that it is done."""
        return ScriptedModel(script=[asks_for(*TWO_REFUNDS), *more, "done", "done again"])

    def ready(self, guard: BighubGuard, **options: Any) -> Any:
        """A ready graph, as the root."""
        options = {"checkpointer": self.saver, **options}
        return create_guarded_agent(self.model(), self.shop.tools(), guard, **options)

    @property
    def inbox(self) -> ApprovalInbox:
        """What people see."""
        return ApprovalInbox(self.journal, clock=lambda: self.now)

    def answer_all(self, answer: str = "approve", **fields: Any) -> None:
        """Answer every question of every agent."""
        for card in self.inbox.list():
            fields |= {"version": card.version}
            self.inbox.answer(card.key, answer, approver=ADA, **fields)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk with a journal on SQLite."""
    with open_desk(f"sqlite:///{tmp_path / 'calls.db'}") as new_desk:
        yield new_desk


@pytest.fixture
def any_desk(database: str) -> Iterator[Desk]:
    """A desk with a journal on either database."""
    with open_desk(database) as new_desk:
        yield new_desk


@contextmanager
def open_desk(database: str) -> Iterator[Desk]:
    with closing(Journal(database)) as journal, ExitStack() as stack:
        yield Desk(journal, stack)


def config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def ask(graph: Any, thread: str = "t", mode: str = "sync") -> dict[str, Any]:
    """Bring a thread to its questions."""
    value = {"messages": [("user", "please")]}
    if mode == "async":
        state: dict[str, Any] = asyncio.run(graph.ainvoke(value, config(thread)))
    else:
        state = graph.invoke(value, config(thread))
    assert state["__interrupt__"]
    return state


def resume(*workers: ApprovalWorker, mode: str = "sync") -> None:
    """Let workers work until no thread can go on."""
    for worker in workers:
        if mode == "async":
            asyncio.run(worker.arun(once=True))
        else:
            worker.run(once=True)


def last_message(graph: Any, thread: str = "t") -> str:
    return str(graph.get_state(config(thread)).values["messages"][-1].content)


# -- every host ------------------------------------------------------------------------------------


def own_graph(desk: Desk, guard: BighubGuard) -> Any:
    builder: Any = StateGraph(MessagesState)
    builder.add_node("model", model_node(desk.model(), desk.shop.tools()))
    builder.add_edge(START, "model")
    add_guard(builder, desk.shop.tools(), guard)
    return builder.compile(checkpointer=desk.saver)


def in_a_subgraph(desk: Desk, guard: BighubGuard) -> Any:
    builder: Any = StateGraph(MessagesState)
    builder.add_node("inner", desk.ready(guard, checkpointer=None, name="inner"))
    builder.add_edge(START, "inner")
    return builder.compile(checkpointer=desk.saver)


def agent_as_a_tool(desk: Desk, guard: BighubGuard) -> Any:
    inner = desk.ready(guard, checkpointer=None, name="inner")

    @tool
    def ask_agent(question: str) -> str:
        """Ask the other agent."""
        return str(inner.invoke({"messages": [("user", question)]})["messages"][-1].content)

    outer = ScriptedModel(script=[asks_for(call("ask_agent", "a1", question="?")), "done"])
    free = desk.guard("outer", tools={"ask_agent": ToolPolicy(read_only=True)})
    return create_guarded_agent(outer, [ask_agent], free, checkpointer=desk.saver)


def middleware(desk: Desk, guard: BighubGuard) -> Any:
    tools = desk.shop.tools()
    parts: Any = {"middleware": [BighubMiddleware(guard)], "checkpointer": desk.saver}
    return create_agent(desk.model(), tools, **parts)


def guarded_tools(desk: Desk, guard: BighubGuard) -> Any:
    tools = guard.wrap_tools(desk.shop.tools())
    return create_agent(desk.model(), tools, checkpointer=desk.saver)


HOSTS: dict[str, Callable[[Desk, BighubGuard], Any]] = {
    "ready graph": Desk.ready,
    "own graph": own_graph,
    "subgraph": in_a_subgraph,
    "agent as a tool": agent_as_a_tool,
    "middleware": middleware,
    "guarded tools": guarded_tools,
}
every_host = pytest.mark.parametrize("host", HOSTS)


@every_host
@pytest.mark.parametrize("interrupt_mode", ["batched", "per_call"])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_an_agent_goes_on_by_itself_once_its_calls_are_answered(
    desk: Desk, host: str, interrupt_mode: Any, mode: str
) -> None:
    guard = desk.guard(approvals=ApprovalPolicy(interrupt_mode=interrupt_mode))
    graph = HOSTS[host](desk, guard)
    worker = ApprovalWorker(graph, guard)
    ask(graph, mode=mode)
    resume(worker, mode=mode)
    assert desk.shop.ran == []
    desk.answer_all()
    resume(worker, worker, mode=mode)
    assert sorted(desk.shop.ran) == [("refund", 1.0), ("refund", 2.0)]
    assert last_message(graph) == "done"
    assert desk.journal.resumes.find_decided("desk", desk.now) == []


# -- what people answer ----------------------------------------------------------------------------


def edit(desk: Desk) -> None:
    desk.answer_all("edit", edit={"/amount": 0.5})


def expire(desk: Desk) -> None:
    desk.now += 1_000_000.0


def cancel(desk: Desk) -> None:
    for card in desk.inbox.list():
        desk.inbox.cancel(card.key, "withdrawn", approver=ADA)


ENDINGS: dict[str, tuple[Callable[[Desk], None], list[tuple[str, Any]], str]] = {
    "approved": (Desk.answer_all, [("refund", 1.0), ("refund", 2.0)], "refunded"),
    "edited": (edit, [("refund", 0.5)] * 2, "refunded 0.5"),
    "rejected": (lambda desk: desk.answer_all("reject", text="too much"), [], "too much"),
    "responded": (lambda desk: desk.answer_all("respond", text="by bank"), [], "by bank"),
    "expired": (expire, [], "ran out"),
    "cancelled": (cancel, [], "withdrawn"),
}


@pytest.mark.parametrize("host", ["ready graph", "middleware", "guarded tools"])
@pytest.mark.parametrize("case", ENDINGS)
def test_the_model_reads_how_each_question_ended(desk: Desk, host: str, case: str) -> None:
    end, ran, text = ENDINGS[case]
    guard = desk.guard(approvals=ApprovalPolicy(expires_after=3600.0))
    graph = HOSTS[host](desk, guard)
    ask(graph)
    end(desk)
    resume(ApprovalWorker(graph, guard))
    assert sorted(desk.shop.ran) == ran
    assert last_message(graph) == "done"
    messages = answers(graph.get_state(config("t")).values)
    assert len(messages) == 2
    assert all(text in message for message in messages.values())


def test_a_thread_waits_until_every_call_of_its_question_is_answered(desk: Desk) -> None:
    guard = desk.guard()
    graph, inbox = desk.ready(guard), desk.inbox
    worker = ApprovalWorker(graph, guard)
    ask(graph)
    first, second = inbox.list()
    inbox.answer(first.key, "approve", approver=ADA)
    resume(worker)
    assert desk.shop.ran == []
    inbox.answer(second.key, "reject", approver=ADA, text="no")
    resume(worker)
    assert len(desk.shop.ran) == 1
    assert last_message(graph) == "done"


def test_calls_that_are_asked_about_one_by_one_go_on_one_by_one(desk: Desk) -> None:
    guard = desk.guard(approvals=ApprovalPolicy(interrupt_mode="per_call"))
    graph, inbox = desk.ready(guard), desk.inbox
    ask(graph)
    inbox.answer(inbox.list()[0].key, "approve", approver=ADA)
    resume(ApprovalWorker(graph, guard))
    assert len(graph.get_state(config("t")).interrupts) == 1
    desk.answer_all("reject")
    resume(ApprovalWorker(graph, guard))
    assert len(desk.shop.ran) == 1
    assert last_message(graph) == "done"


def put_half_answered_threads(journal: Journal, count: int) -> None:
    """Store threads with two calls each, of which one is answered."""
    states = (State.ALLOWED, State.AWAITING)
    records = [
        decided_record(Verdict.REVIEW)._replace(
            key=f"{number:030x}{index:02x}", thread=f"half-{number}", state=state
        )
        for number in range(count)
        for index, state in enumerate(states)
    ]
    journal.insert(records, ReportingConfig())
    journal.store_questions(
        [
            ApprovalQuestion(
                *(record.key, "desk", record.thread, "", {}, "", "Refund?", {}),
                arguments={},
                locked_pointers=(),
                allowed_decisions=("approve",),
                allow_tool_change=False,
            )
            for record in records
        ]
    )


@pytest.mark.parametrize("interrupt_mode", ["batched", "per_call"])
def test_threads_that_wait_for_more_answers_hide_none_that_can_go_on(
    desk: Desk, interrupt_mode: Any
) -> None:
    put_half_answered_threads(desk.journal, 1001)
    guard = desk.guard(approvals=ApprovalPolicy(interrupt_mode=interrupt_mode))
    graph, inbox = desk.ready(guard), desk.inbox
    ask(graph)
    cards = inbox.list(thread="t")
    for card in cards if interrupt_mode == "batched" else cards[:1]:
        inbox.answer(card.key, "approve", approver=ADA)
    resume(ApprovalWorker(graph, guard))
    open_questions = graph.get_state(config("t")).interrupts
    expected = (2, 0) if interrupt_mode == "batched" else (0, 1)  # the tools run when all may
    assert (len(desk.shop.ran), len(open_questions)) == expected


def test_a_journal_finds_every_thread_by_what_is_answered(any_desk: Desk) -> None:
    journal, now = any_desk.journal, any_desk.now
    put_half_answered_threads(journal, 2001)
    key = f"{7:030x}01"
    journal.transition(key, AnswerGiven(approval()), ReportingConfig())
    find = journal.resumes.find_decided
    assert [item.thread for item in find("desk", now, complete=True)] == ["half-7"]
    assert len(find("desk", now, complete=False)) == 2000
    assert len(find("desk", now)) == 2001
    assert len(journal.resumes.find_unanswered("desk", now, time.time() + 60)) == 2000


# -- whose threads, and which questions ------------------------------------------------------------


def test_a_question_of_the_users_own_is_never_answered(desk: Desk) -> None:
    def own(_: Any) -> Any:
        return {"messages": [AIMessage(f"they said {interrupt({'question': 'how?'})}")]}

    guard = desk.guard()
    builder: Any = StateGraph(MessagesState)
    builder.add_node("inner", desk.ready(guard, checkpointer=None, name="inner"))
    builder.add_node("own", own)
    builder.add_edge(START, "inner")
    builder.add_edge(START, "own")
    graph = builder.compile(checkpointer=desk.saver)
    worker = ApprovalWorker(graph, guard)
    ask(graph)
    desk.answer_all()
    resume(worker, worker)
    assert len(desk.shop.ran) == 2
    [question] = graph.get_state(config("t")).interrupts
    assert question.value == {"question": "how?"}
    graph.invoke(Command(resume={question.id: "well"}), config("t"))
    assert last_message(graph) == "they said well"


def test_a_worker_does_not_run_past_a_breakpoint(desk: Desk) -> None:
    guard = desk.guard()
    builder: Any = StateGraph(MessagesState)
    builder.add_node("inner", desk.ready(guard, checkpointer=None, name="inner"))
    builder.add_node("send", lambda _: {"messages": [AIMessage("sent")]})
    builder.add_edge(START, "inner")
    builder.add_edge("inner", "send")
    graph = builder.compile(checkpointer=desk.saver, interrupt_before=["send"])
    worker = ApprovalWorker(graph, guard)
    ask(graph)
    desk.answer_all()
    resume(worker, worker)
    assert (len(desk.shop.ran), last_message(graph)) == (2, "done")
    assert graph.get_state(config("t")).next == ("send",)


def test_each_worker_resumes_only_its_own_agent(any_desk: Desk) -> None:
    desk = any_desk
    names = ("first", "second", "")
    guards = {name: desk.guard(name) for name in names}
    graphs = {name: desk.ready(guard) for name, guard in guards.items()}
    for name, graph in graphs.items():
        ask(graph, f"thread of {name}")
    desk.answer_all()
    resume(ApprovalWorker(graphs["second"], guards["second"]))
    messages = [last_message(graph, f"thread of {name}") for name, graph in graphs.items()]
    assert messages == ["", "done", ""]


class Sent:
    """Keeps the agents that its messages name."""

    channel = "test"

    def __init__(self) -> None:
        self.agents: list[str] = []

    def send(self, notification: Notification) -> None:
        self.agents += [call.agent for call in notification.calls]


def test_a_worker_tells_people_of_the_calls_of_guards_that_tell_nobody(desk: Desk) -> None:
    notifier = Sent()
    notifications = Notifications(notifier, inbox_url="https://inbox.example.com", burst=0.0)
    with desk.guard("other", notifications=notifications) as guard:
        graph = desk.ready(guard)
        ask(desk.ready(desk.guard()))
        resume(ApprovalWorker(graph, guard))
    assert notifier.agents == ["desk", "desk"]


def test_what_no_checkpoint_holds_is_supplied(desk: Desk) -> None:
    contexts: list[Any] = []

    def spy(_: Any, runtime: Any) -> None:
        contexts.append(runtime.context)

    guard = desk.guard()
    builder: Any = StateGraph(MessagesState, context_schema=dict)
    builder.add_node("inner", desk.ready(guard, checkpointer=None, name="inner"))
    builder.add_node("spy", spy)
    builder.add_edge(START, "inner")
    builder.add_edge("inner", "spy")
    graph = builder.compile(checkpointer=desk.saver)
    ask(graph)
    desk.answer_all()
    worker = ApprovalWorker(
        graph,
        guard,
        config_for=lambda thread: {"tags": [thread], "configurable": {"tenant": "acme"}},
        context_for=lambda thread: {"thread": thread},
    )
    resume(worker)
    assert contexts == [{"thread": "t"}]


# -- several at once -------------------------------------------------------------------------------


def test_two_workers_share_the_threads(any_desk: Desk) -> None:
    desk = any_desk
    guard = desk.guard()
    graphs = [desk.ready(guard) for _ in range(6)]  # each has a script of its own
    for number, graph in enumerate(graphs):
        ask(graph, f"t{number}")
    desk.answer_all()
    model = ScriptedModel(script=["done"] * 12)
    worker_graph = create_guarded_agent(model, desk.shop.tools(), guard, checkpointer=desk.saver)
    workers = [ApprovalWorker(worker_graph, guard) for _ in range(2)]
    threads = [threading.Thread(target=worker.run, kwargs={"once": True}) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(desk.shop.ran) == sorted([("refund", 1.0), ("refund", 2.0)] * 6)
    assert [last_message(graph, f"t{n}") for n, graph in enumerate(graphs)] == ["done"] * 6
    assert len(model.shown) == 6


def test_a_resume_by_hand_at_the_same_moment_runs_nothing_twice(desk: Desk) -> None:
    guard = desk.guard()
    graph = desk.ready(guard)
    state = ask(graph)
    desk.answer_all()
    yes = {"decisions": [{"type": "approve"}] * 2}
    by_hand: Any = Command(resume={state["__interrupt__"][0].id: yes})
    outcomes: list[Any] = []

    def resume_by_hand() -> None:
        try:
            outcomes.append(graph.invoke(by_hand, config("t")))
        except RunInProgress as error:
            outcomes.append(error)

    thread = threading.Thread(target=resume_by_hand)
    thread.start()
    resume(ApprovalWorker(graph, guard))
    thread.join()
    resume(ApprovalWorker(graph, guard))
    assert sorted(desk.shop.ran) == [("refund", 1.0), ("refund", 2.0)]
    assert last_message(graph).startswith("done")


# -- what fails ------------------------------------------------------------------------------------


def test_a_thread_that_fails_is_listed_and_tried_again_later(any_desk: Desk) -> None:
    desk = any_desk

    class Broken(ScriptedModel):
        broken: bool = True

        def _generate(self, messages: Any, *args: Any, **options: Any) -> Any:
            if self.shown and self.broken:
                raise ConnectionError("the model is away")
            return super()._generate(messages, *args, **options)

    guard = desk.guard()
    model = Broken(script=[asks_for(*TWO_REFUNDS), "done"])
    graph = create_guarded_agent(model, desk.shop.tools(), guard, checkpointer=desk.saver)
    worker = ApprovalWorker(graph, guard)
    ask(graph)
    desk.answer_all()
    resume(worker, worker)
    [thread] = worker.list_failing_threads()
    assert (thread.thread, thread.tries, thread.error) == ("t", 1, "the model is away")
    desk.now = thread.due_at
    resume(worker)
    assert [thread.tries for thread in worker.list_failing_threads()] == [2]
    model.broken = False
    desk.now += 10.0
    resume(worker)
    assert (last_message(graph), worker.list_failing_threads()) == ("done", [])
    assert sorted(desk.shop.ran) == [("refund", 1.0), ("refund", 2.0)]


@pytest.mark.parametrize("error", [GraphBubbleUp, KeyboardInterrupt])
def test_a_run_that_stopped_in_a_living_process_is_left_to_it(desk: Desk, error: Any) -> None:
    class Stopping(ScriptedModel):
        def _generate(self, messages: Any, *args: Any, **options: Any) -> Any:
            if self.shown:
                raise error
            return super()._generate(messages, *args, **options)

    guard = desk.guard()
    model = Stopping(script=[asks_for(*TWO_REFUNDS)])
    graph = create_guarded_agent(model, desk.shop.tools(), guard, checkpointer=desk.saver)
    state = ask(graph)
    yes = {"decisions": [{"type": "approve"}] * 2}
    with pytest.raises(error):
        graph.invoke(Command(resume={state["__interrupt__"][0].id: yes}), config("t"))
    before = graph.get_state(config("t"))
    resume(ApprovalWorker(graph, guard))
    assert graph.get_state(config("t")) == before


def test_calls_of_a_thread_without_a_checkpoint_stay_while_their_process_lives(desk: Desk) -> None:
    guard = desk.guard()
    graph = desk.ready(guard)
    ask(graph)
    desk.answer_all()
    desk.saver.delete_thread("t")
    worker = ApprovalWorker(graph, guard)
    resume(worker)  # the asking process lives: it may have stored nothing yet
    assert {card.state for card in cards(desk)} == {"allowed"}


ASKING = """
import sys

from langgraph.checkpoint.memory import InMemorySaver

from bighub_langgraph import BighubGuard, Journal, create_guarded_agent
from tests.agents import ScriptedModel, Shop, asks_for, call
from tests.engines import ScriptedBighub

bighub, journal = ScriptedBighub("review_recommended"), Journal(sys.argv[1])
settings = {"journal": journal, "name": "desk", "domain": sys.argv[2]}
model = ScriptedModel(script=[asks_for(call("refund", "c1", order_id="o1", amount=1.0))])
with BighubGuard(bighub=bighub, **settings) as guard:
    saver = InMemorySaver()  # ends with this process
    graph = create_guarded_agent(model, Shop().tools(), guard, checkpointer=saver)
    graph.invoke({"messages": [("user", "please")]}, {"configurable": {"thread_id": "t"}})
journal.close()
"""


def ask_and_end(database: str, domain: str) -> None:
    """A process that asks, and ends with all that its checkpointer has."""
    subprocess.run([sys.executable, "-c", ASKING, database, domain], cwd=ROOT, check=True)


@pytest.mark.parametrize("is_answered", [True, False])
def test_calls_of_a_thread_that_the_checkpointer_does_not_know_are_cancelled_in_the_end(
    database: str, is_answered: bool
) -> None:
    began = time.time()
    ask_and_end(database, "shop")
    with open_desk(database) as desk:
        desk.now = time.time()
        guard = desk.guard(domain="shop")
        graph = desk.ready(guard)
        if is_answered:
            desk.answer_all()
        else:
            desk.now = began + UNANSWERED_SECONDS - 1  # it may be answered soon
            resume(ApprovalWorker(graph, guard))
            assert ApprovalWorker(graph, guard).list_failing_threads() == []
            desk.now = time.time() + UNANSWERED_SECONDS + 1
        for tries in range(1, MAX_MISSING + 1):
            resume(ApprovalWorker(graph, guard))
            [failing] = ApprovalWorker(graph, guard).list_failing_threads()
            assert (failing.tries, failing.error) == (tries, MISSING)
            expected = State.ALLOWED if is_answered else State.AWAITING
            assert [card.state for card in cards(desk)] == [expected]
            desk.now = failing.due_at
        resume(ApprovalWorker(graph, guard))
        [record] = cards(desk)
        assert (record.state, record.reason) == ("cancelled", MISSING)
        assert ApprovalWorker(graph, guard).list_failing_threads() == []


def test_a_worker_cancels_no_calls_of_another_agent_with_the_same_name(database: str) -> None:
    ask_and_end(database, "shop")
    with open_desk(database) as desk:
        guard = desk.guard(domain="payroll")
        graph = desk.ready(guard)
        desk.answer_all()
        for _ in range(MAX_MISSING + 2):
            resume(ApprovalWorker(graph, guard))
            [failing] = ApprovalWorker(graph, guard).list_failing_threads()
            desk.now = failing.due_at
        assert [card.state for card in cards(desk)] == ["allowed"]
        assert "another guard of the name 'desk'" in failing.error
        assert "domain 'shop'" in failing.error


def test_a_thread_that_waits_for_long_keeps_waiting(desk: Desk) -> None:
    guard = desk.guard()
    graph = desk.ready(guard)
    ask(graph)
    before = graph.get_state(config("t"))
    desk.now = time.time() + 2 * UNANSWERED_SECONDS
    keys = [card.key for card in desk.inbox.list()]
    desk.journal.resumes.retry_later(keys, 3, 0.0, MISSING)  # as while the checkpointer was away
    worker = ApprovalWorker(graph, guard)
    resume(worker, worker)
    assert {card.state for card in cards(desk)} == {State.AWAITING}
    assert (worker.list_failing_threads(), graph.get_state(config("t"))) == ([], before)
    desk.answer_all()
    resume(worker)
    assert last_message(graph) == "done"


def cards(desk: Desk) -> list[Any]:
    return [view.record for view in desk.journal.admin.calls()]


# -- BIGHUB's queue --------------------------------------------------------------------------------


@pytest.mark.parametrize(("resolution", "ran"), [("approved", 2), ("denied", 0)])
def test_an_answer_in_bighubs_queue_resumes_the_agent(
    desk: Desk, resolution: str, ran: int
) -> None:
    with LocalBighub() as bighub:
        guard = desk.guard(bighub=bighub)
        graph = desk.ready(guard)
        ask(graph)
        for item in bighub.approvals.list():
            bighub.approvals.resolve(item["request_id"], resolution=resolution, comment="seen")
        resume(ApprovalWorker(graph, guard))
    assert (len(desk.shop.ran), last_message(graph)) == (ran, "done")
    assert {record.approval.verified for record in cards(desk)} == {False}


class OddQueue(ScriptedBighub):
    """A BIGHUB whose queue also holds what is no approval."""

    rows: Any = ()

    def list(self, *, status_filter: str, limit: int) -> Any:
        return self.rows if status_filter == "approved" else {"items": "of another shape"}


def test_what_is_no_approval_in_bighubs_queue_holds_up_nothing(desk: Desk) -> None:
    bighub = OddQueue("review_recommended")
    guard = desk.guard(bighub=bighub)
    graph = desk.ready(guard)
    ask(graph)
    ids = [card.record.request_id for card in desk.inbox.list()]
    odd = [None, "approved", {}, {"status": "approved"}, {"request_id": [1], "status": 2}]
    bighub.rows = [*odd, *({"request_id": item, "status": "approved"} for item in ids)]
    resume(ApprovalWorker(graph, guard))
    assert len(desk.shop.ran) == 2


def answer_in_queue(desk: Desk, bighub: LocalBighub) -> tuple[Any, BighubGuard]:
    """Approve in BIGHUB's queue what two people have to approve; a worker takes the answers."""
    guard = desk.guard(bighub=bighub, approvals=ApprovalPolicy(required_approvals=2))
    graph = desk.ready(guard)
    ask(graph)
    for item in bighub.approvals.list():
        bighub.approvals.resolve(item["request_id"], resolution="approved")
    resume(ApprovalWorker(graph, guard))
    return graph, guard


def test_an_answer_in_bighubs_queue_is_one_unverified_vote(desk: Desk) -> None:
    with LocalBighub() as bighub:
        graph, _ = answer_in_queue(desk, bighub)
    assert desk.shop.ran == []
    assert graph.get_state(config("t")).interrupts


def test_a_yes_in_bighubs_queue_is_recorded_once_and_disturbs_nobody(any_desk: Desk) -> None:
    desk = any_desk

    def rows() -> list[int]:
        counts = [len(desk.inbox.history(card.key)) for card in desk.inbox.list()]
        return [*counts, desk.inbox.newest_change(), len(Accounts(desk.journal).audit())]

    with LocalBighub() as bighub:
        graph, guard = answer_in_queue(desk, bighub)
        cards, rows_before = desk.inbox.list(), rows()
        for _ in range(3):  # each looks into the queue
            desk.now += 60
            resume(ApprovalWorker(graph, guard))
        assert rows() == rows_before
        for approver in (ADA, BOB):
            for card in cards:
                version = card.version + (approver is BOB)
                desk.inbox.answer(card.key, "approve", approver=approver, version=version)
            resume(ApprovalWorker(graph, guard))
    assert len(desk.shop.ran) == 2


# -- settings --------------------------------------------------------------------------------------


REFUSALS: dict[str, tuple[Callable[[Desk], tuple[Any, BighubGuard]], str]] = {
    "no graph": (lambda desk: (ToolNode([]), desk.guard()), "a compiled graph with a checkpointer"),
    "no checkpointer": (
        lambda desk: (desk.ready(desk.guard(), checkpointer=False), desk.guard()),
        "a compiled graph with a checkpointer",
    ),
    "no name": (lambda desk: (desk.ready(desk.guard()), desk.guard("")), "BighubGuard(name=...)"),
    "a journal in memory": (
        lambda desk: (
            desk.ready(desk.guard()),
            BighubGuard(bighub=ScriptedBighub(), journal=Journal.in_memory(), name="desk"),
        ),
        "journal=Journal(...)",
    ),
}


@pytest.mark.parametrize("fault", REFUSALS)
def test_a_worker_that_cannot_work_is_refused_at_once(desk: Desk, fault: str) -> None:
    build, words = REFUSALS[fault]
    graph, guard = build(desk)
    with pytest.raises(ConfigurationError) as error:
        ApprovalWorker(graph, guard)
    assert words in str(error.value)
