"""A clerk at work: a real agent in a process of its own, made to be killed.

What its tools did is written down in files outside of every database, so that it can be counted.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command
from sqlalchemy.dialects.postgresql import psycopg as _psycopg
from sqlalchemy.dialects.sqlite import pysqlite as _pysqlite

from bighub_langgraph import (
    BighubGuard,
    Journal,
    LocalBighub,
    ToolPolicy,
    create_guarded_agent,
    current_call,
)
from tests.postgres import plain

# Imported before processes are forked: they shall be killed at work, not while they import.
IMPORTED_EARLY = (LocalBighub, _psycopg, _pysqlite)

LAST_MESSAGE = "done"
PAUSE = 0.002


@dataclass(frozen=True, slots=True)
class Office:
    """Where a clerk works.

    Attributes:
        home: Where the files are that say what tools did.
        database: URL of journal, checkpoints and embedded engine.
        rounds: The tools that the clerk calls in each turn of a thread, before its last message.
        durability: LangGraph's; None for its default.
    """

    home: Path
    database: str
    rounds: tuple[tuple[str, ...], ...] = (("pay", "book", "write"), ("pay", "write"))
    durability: str | None = None

    @property
    def engine(self) -> str:
        """URL of the engine's database: the same server, or a file beside it."""
        if self.database.startswith("sqlite"):
            return f"sqlite:///{self.home / 'engine.db'}"
        return self.database

    @contextmanager
    def checkpointer(self) -> Iterator[Any]:
        """LangGraph's own checkpointer."""
        if self.database.startswith("sqlite"):
            with SqliteSaver.from_conn_string(str(self.home / "threads.db")) as sqlite:
                yield sqlite
        else:
            with PostgresSaver.from_conn_string(plain(self.database)) as postgres:
                yield postgres

    def prepare(self) -> None:
        """Make the tables, so that no killed process is found making them."""
        with self.checkpointer() as saver:
            saver.setup()
        with self.guard():
            pass

    def guard(self) -> BighubGuard:
        """A guard of this office."""
        policies = {
            "write": ToolPolicy(idempotent=True),
            "book": ToolPolicy(probe=self._booked),
        }
        return BighubGuard(bighub=self.engine, journal=Journal(self.database), tools=policies)

    def wrote(self, what: str, key: str) -> int:
        """How often a tool wrote down that it had started, or had taken effect."""
        return len(list((self.home / what / key).glob("*")))

    def write(self, what: str) -> None:
        """Write down for the current call that its tool started, or took effect."""
        place = self.home / what / current_call().idempotency_key
        place.mkdir(parents=True, exist_ok=True)
        (place / uuid4().hex).touch()

    def tools(self) -> list[BaseTool]:
        """A tool that may not run twice, one with a probe, and one that is idempotent."""

        def work(result: str) -> str:
            self.write("started")
            time.sleep(PAUSE)  # a tool takes its time, and may be killed in it
            self.write("effect")
            time.sleep(PAUSE)
            return result

        @tool
        def pay(order: str) -> str:
            """Pay an order."""
            return work(f"paid {order}")

        @tool
        def book(order: str) -> str:
            """Book an order."""
            return work(f"booked {order}")

        @tool
        def write(order: str) -> str:
            """Write to a customer."""
            return work(f"wrote about {order}")

        return [pay, book, write]

    def _booked(self, arguments: dict[str, Any], key: str) -> str | None:
        return f"booked {arguments['order']}" if self.wrote("effect", key) else None


class ScriptedClerk(BaseChatModel):
    """A scripted model that derives its position from the messages and repeats no id."""

    rounds: tuple[tuple[str, ...], ...]

    def bind_tools(self, tools: Any, **_: Any) -> "ScriptedClerk":
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        last_request = max(at for at, message in enumerate(messages) if message.type == "human")
        done = sum(message.type == "ai" for message in messages[last_request:])
        names = self.rounds[done] if done < len(self.rounds) else ()
        calls = [
            {"name": name, "args": {"order": f"{done}-{place}"}, "id": uuid4().hex}
            for place, name in enumerate(names)
        ]
        response = AIMessage("" if calls else LAST_MESSAGE, tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=response)])

    @property
    def _llm_type(self) -> str:
        return "clerk"


@contextmanager
def agent_of(office: Office) -> Iterator[Any]:
    """The clerk's agent."""
    with office.guard() as guard, office.checkpointer() as saver:
        model = ScriptedClerk(rounds=office.rounds)
        yield create_guarded_agent(model, office.tools(), guard, checkpointer=saver)


def work(office: Office, threads: Sequence[str]) -> None:
    """Bring threads to their end from any state."""
    with agent_of(office) as agent:
        for thread in threads:
            _finish(office, agent, {"configurable": {"thread_id": thread}})


def begin(office: Office, thread: str) -> None:
    """Bring a thread to its first approval."""
    with agent_of(office) as agent:
        agent.invoke({"messages": [("user", "please")]}, {"configurable": {"thread_id": thread}})


def _finish(office: Office, agent: Any, config: dict[str, Any]) -> None:
    options = {} if office.durability is None else {"durability": office.durability}
    state = agent.get_state(config)
    if not state.values.get("messages"):
        agent.invoke({"messages": [("user", "please")]}, config, **options)
    # Not `next`: it is empty, too, when all tasks of a step are done and the next step is not.
    while (state := agent.get_state(config)).values["messages"][-1].content != LAST_MESSAGE:
        answers = {
            interrupt.id: _answers(office, interrupt.value) for interrupt in state.interrupts
        }
        agent.invoke(Command(resume=answers) if answers else None, config, **options)


def _answers(office: Office, question: dict[str, Any]) -> dict[str, Any]:
    """A person's answers: yes to waiting calls, the truth about unknown outcomes."""
    return {"decisions": [_answer(office, request) for request in question["action_requests"]]}


def _answer(office: Office, request: dict[str, Any]) -> dict[str, Any]:
    about = request["bighub"]
    if about.get("state") != "unknown":
        return {"type": "approve"}
    if office.wrote("effect", about["key"]):
        return {"type": "respond", "message": json.dumps(request["args"])}
    return {"type": "reject", "message": "there is no record of it"}
