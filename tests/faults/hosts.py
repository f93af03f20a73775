"""The hosts at work in an office: a thread is brought to its end from any state it was left in.

`work` and `begin` are what a process does that is killed.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol
from uuid import uuid4

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from bighub_langgraph import (
    AsyncBighubOpenAI,
    BighubGuard,
    BighubMiddleware,
    BighubOpenAI,
    Journal,
    create_guarded_agent,
)
from bighub_langgraph.approvals.resume_worker import ApprovalWorker
from bighub_langgraph.core.errors import InvalidTransition, RunInProgress
from bighub_langgraph.core.lifecycle import OutcomeResolved, OwnerLost
from bighub_langgraph.core.models import State, ToolSucceeded
from bighub_langgraph.core.reporting import ReportingConfig
from tests.faults.office import LAST_MESSAGE, Office
from tests.openai_answers import Answer, response, says
from tests.postgres import plain

LONGEST = 50.0  # seconds
Json = dict[str, Any]
Finish = Callable[[Any], Any]


class Host(Protocol):
    """What the tests ask of a guarded agent, whichever host guards it."""

    def begin(self, thread: str) -> None:
        """Bring a new thread to its first question."""

    def finish(self, thread: str) -> None:
        """Bring a thread to its end, whatever state it is in."""

    def check(self, thread: str, calls: int) -> None:
        """Every call of the thread is answered once, and the thread takes a new message."""


@contextmanager
def open_host(office: Office) -> Iterator[Host]:
    """The office's agent in this process."""
    with asyncio.Runner() as runner:
        finish: Finish = runner.run if office.mode == "async" else lambda value: value
        runner.get_loop()
        if office.host == "facade":
            with _facade(office, finish) as facade:
                yield facade
        else:
            with _graph(office, finish) as graph:
                yield graph


def prepare(office: Office) -> None:
    """Make the tables, so that no killed process is found making them."""
    with open_host(office):
        pass


def work(office: Office, threads: Sequence[str]) -> None:
    """Bring threads to their end from any state."""
    with open_host(office) as host:
        for thread in threads:
            host.finish(thread)


def begin(office: Office, thread: str) -> None:
    """Bring a thread to its first approval."""
    with open_host(office) as host:
        host.begin(thread)


# -- LangGraph


class ScriptedClerk(BaseChatModel):
    """A model that derives its position from the messages and repeats no id."""

    office: Office

    def bind_tools(self, tools: Any, **_: Any) -> "ScriptedClerk":
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        request = max(at for at, message in enumerate(messages) if message.type == "human")
        answered = sum(message.type == "tool" for message in messages[request:])
        calls = self.office.calls_of(answered)
        message = AIMessage(LAST_MESSAGE) if calls is None else AIMessage("", tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=message)])

    @property
    def _llm_type(self) -> str:
        return "clerk"


class GraphHost:
    """A ready graph, or an agent with the middleware, over a real checkpointer."""

    def __init__(self, office: Office, agent: Any, guard: BighubGuard, finish: Finish) -> None:
        self._office, self._finish = office, finish
        self._agent, self._guard = agent, guard
        prefix = "a" if office.mode == "async" else ""
        self._invoke = getattr(agent, f"{prefix}invoke")
        self._get_state = getattr(agent, f"{prefix}get_state")
        self._options = {} if office.durability is None else {"durability": office.durability}

    def begin(self, thread: str) -> None:
        self._run({"messages": [("user", "please")]}, thread)

    def finish(self, thread: str) -> None:
        if not self._state(thread).values.get("messages"):
            self.begin(thread)
        # Not `next`: it is empty, too, when all tasks of a step are done and the next step is not.
        while (state := self._state(thread)).values["messages"][-1].content != LAST_MESSAGE:
            answers = {item.id: self._answer_all(item.value) for item in state.interrupts}
            try:
                self._run(Command(resume=answers) if answers else None, thread)
            except RunInProgress:  # another worker goes on with this thread
                time.sleep(0.02)

    def bring_to_question(self, thread: str) -> None:
        """Bring a thread to its first question from any state before it."""
        while not (state := self._state(thread)).interrupts:
            if not state.values.get("messages"):
                self.begin(thread)
            elif state.tasks:
                self._run(None, thread)
            else:
                return

    def resume_answered(self) -> None:
        """Resume what is answered, as a worker does."""
        worker = ApprovalWorker(self._agent, self._guard)
        if self._office.mode == "async":
            self._finish(worker.arun(once=True))
        else:
            worker.run(once=True)

    def has_ended(self, thread: str) -> bool:
        """Whether a thread came to its last message."""
        return bool(self._state(thread).values["messages"][-1].content == LAST_MESSAGE)

    def check(self, thread: str, calls: int) -> None:
        messages = self._state(thread).values["messages"]
        call_ids = [call["id"] for part in messages for call in getattr(part, "tool_calls", ())]
        answered_ids = [part.tool_call_id for part in messages if part.type == "tool"]
        assert sorted(call_ids) == sorted(answered_ids)
        assert len(call_ids) == calls
        assert messages[-1].content == LAST_MESSAGE
        state = self._run({"messages": [("user", "and again")]}, thread)
        assert "__interrupt__" in state or state["messages"][-1].content == LAST_MESSAGE

    def _run(self, value: Any, thread: str) -> Any:
        return self._finish(self._invoke(value, _config(thread), **self._options))

    def _state(self, thread: str) -> Any:
        return self._finish(self._get_state(_config(thread)))

    def _answer_all(self, question: Json) -> Json:
        """A person's answers: yes to waiting calls, the truth about unknown outcomes."""
        return {"decisions": [self._answer(request) for request in question["action_requests"]]}

    def _answer(self, request: Json) -> Json:
        about = request["bighub"]
        if about.get("state") != "unknown":
            return {"type": "approve"}
        if self._office.count("effect", about["key"]):
            return {"type": "respond", "message": json.dumps(request["args"])}
        return {"type": "reject", "message": "there is no record of it"}


@contextmanager
def _graph(office: Office, finish: Finish) -> Iterator[GraphHost]:
    is_async = office.mode == "async"
    savers: Any
    if office.database.startswith("sqlite"):
        savers, url = (SqliteSaver, AsyncSqliteSaver), str(office.home / "threads.db")
    else:
        savers, url = (PostgresSaver, AsyncPostgresSaver), plain(office.database)
    connection = savers[is_async].from_conn_string(url)
    saver = finish(connection.__aenter__()) if is_async else connection.__enter__()
    try:
        finish(saver.setup())
        with office.guard() as guard:
            model, tools = ScriptedClerk(office=office), [tool(work) for work in office.tools()]
            if office.host == "graph":
                agent: Any = create_guarded_agent(model, tools, guard, checkpointer=saver)
            else:
                middleware = [BighubMiddleware(guard)]
                agent = create_agent(model, tools, middleware=middleware, checkpointer=saver)
            yield GraphHost(office, agent, guard, finish)
    finally:
        finish(
            connection.__aexit__(None, None, None)
            if is_async
            else connection.__exit__(None, None, None)
        )


def _config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


# -- The facade


class ScriptedService:
    """The model's service: derives its position from the input, and repeats no id."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self.responses = self

    def create(self, **body: Any) -> Any:
        call_ids = [
            item["call_id"] for item in body["input"] if item.get("type") == "function_call"
        ]
        answered_ids = [
            item["call_id"] for item in body["input"] if item.get("type") == "function_call_output"
        ]
        assert sorted(call_ids) == sorted(answered_ids), "the service would refuse this input"
        calls = self._office.calls_of(len(answered_ids))
        answer = says(LAST_MESSAGE) if calls is None else Answer([_item(call) for call in calls])
        reply = {**response(answer, body, reasons=False), "id": f"resp_{uuid4().hex}"}
        return _return(reply) if self._office.mode == "async" else reply


class FacadeHost:
    """A client of the Responses API, whose runs are stored in files when they stop."""

    def __init__(self, office: Office, client: Any, finish: Finish) -> None:
        self._office, self._client, self._finish = office, client, finish
        (office.home / "runs").mkdir(exist_ok=True)

    def begin(self, thread: str) -> None:
        self._store(thread, self._finish(self._client.run(messages="please", model="clerk")))

    def finish(self, thread: str) -> None:
        if not self._file(thread).exists():
            self.begin(thread)
        deadline = time.monotonic() + LONGEST
        while (stored := json.loads(self._file(thread).read_text()))["status"] != "completed":
            assert time.monotonic() < deadline, "a run does not come to its end"
            state = self._client.state_from_json(stored["state"])
            for item in state.interruptions:
                self._answer(state, item)
            self._store(thread, self._finish(self._client.resume(state)))

    def check(self, thread: str, calls: int) -> None:
        stored = json.loads(self._file(thread).read_text())
        assert stored["text"] == LAST_MESSAGE
        items = json.loads(stored["state"])["run"]["items"]
        assert sum(item.get("type") == "function_call_output" for item in items) == calls

    def _answer(self, state: Any, item: Json) -> None:
        """A person's answer: yes to a waiting call, the truth about an unknown outcome."""
        if not item.get("outcome_unknown"):
            state.approve(item)
        elif item["tool"] in self._office.policies:
            return  # which recover it without a person
        elif self._office.count("effect", item["event_id"]):
            journal = Journal(self._office.database)
            with suppress(InvalidTransition):  # another worker has said so
                record = journal.find([item["event_id"]])[item["event_id"]]
                if record.state is State.RUNNING:
                    lost = OwnerLost(record.owner or "", "its process is gone")
                    journal.transition(record.key, lost, ReportingConfig())
                took_effect = OutcomeResolved(ToolSucceeded("it took effect"))
                journal.transition(record.key, took_effect, ReportingConfig())
            journal.close()
        else:
            state.reject(item, rejection_message="there is no record of it")

    def _store(self, thread: str, result: Any) -> None:
        blob = {
            "status": result.status,
            "text": result["output_text"],
            "state": result.to_state().to_json(),
        }
        draft = self._file(thread).with_suffix(f".{uuid4().hex}")
        draft.write_text(json.dumps(blob))
        draft.replace(self._file(thread))

    def _file(self, thread: str) -> Any:
        return self._office.home / "runs" / f"{thread}.json"


@contextmanager
def _facade(office: Office, finish: Finish) -> Iterator[FacadeHost]:
    kind: Any = AsyncBighubOpenAI if office.mode == "async" else BighubOpenAI
    client = kind(guard=office.guard(), openai_client=ScriptedService(office))
    for work in office.tools():
        client.tool(work.__name__, work)
    try:
        yield FacadeHost(office, client, finish)
    finally:
        finish(client.close())


def _item(call: Json) -> Json:
    arguments = json.dumps(call["args"])
    return {
        "type": "function_call",
        "call_id": call["id"],
        "name": call["name"],
        "arguments": arguments,
        "status": "completed",
    }


async def _return(value: Any) -> Any:
    return value
