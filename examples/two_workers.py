"""Two workers, one PostgreSQL: LangGraph's checkpoints and the journal in the same database.

    python examples/two_workers.py postgresql://me@localhost/agents

Ten threads wait for an approval. Both workers resume all of them, as after a double click or a
redelivered message, so each refund is requested twice. Each is paid once.
"""

import contextlib
import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from bighub_langgraph import (
    BighubGuard,
    Journal,
    ToolPolicy,
    create_guarded_agent,
    current_call,
)
from bighub_langgraph.core.errors import RunInProgress

THREADS: list[RunnableConfig] = [
    {"configurable": {"thread_id": f"order-{number}"}} for number in range(10)
]


class ScriptedModel(BaseChatModel):
    """Replaces an LLM: makes one refund call, then ends."""

    def bind_tools(self, tools: Any, **_: Any) -> "ScriptedModel":
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        call = {"name": "refund", "args": {"amount": 40.0}, "id": uuid4().hex}
        is_done = any(message.type == "tool" for message in messages)
        answer = AIMessage("done") if is_done else AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=answer)])

    @property
    def _llm_type(self) -> str:
        return "scripted"


@contextmanager
def open_agent(url: str) -> Iterator[CompiledStateGraph[Any, Any, Any, Any]]:
    """Open the agent, with one URL for the checkpoints and for the journal."""

    def refund(amount: float) -> str:
        """Pay money back."""
        with psycopg.connect(url, autocommit=True) as bank:
            # Pass the key to a real provider as its idempotency key.
            key = current_call().idempotency_key
            bank.execute("INSERT INTO payments VALUES (%s, %s)", (key, amount))
        return f"refunded {amount}"

    journal_url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    with (
        BighubGuard(
            bighub=journal_url,  # the embedded engine; an https URL or None uses BIGHUB
            journal=Journal(journal_url),
            tools={"refund": ToolPolicy(always_review=True)},
        ) as guard,
        PostgresSaver.from_conn_string(url) as checkpointer,
    ):
        checkpointer.setup()
        yield create_guarded_agent(ScriptedModel(), [refund], guard, checkpointer=checkpointer)


def run_worker(url: str, name: str) -> None:
    """Resume every thread, except those that the other worker resumes right now."""
    approve: Command[Any] = Command(resume={"decisions": [{"type": "approve"}]})
    with open_agent(url) as agent:
        for thread in THREADS:
            with contextlib.suppress(RunInProgress):
                agent.invoke(approve, thread)
        print(f"{name} went through {len(THREADS)} threads")


def main(url: str) -> None:
    """Run ten threads up to their approval, and let two workers resume all of them."""
    with psycopg.connect(url, autocommit=True) as bank:
        bank.execute("DROP TABLE IF EXISTS payments")
        bank.execute("CREATE TABLE payments (key text, amount float)")
    with open_agent(url) as agent:
        for thread in THREADS:
            agent.invoke({"messages": [("user", "My chair is broken.")]}, thread)
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=run_worker, args=(url, f"worker {number}")) for number in (1, 2)
    ]
    for process in workers:
        process.start()
    for process in workers:
        process.join()
    with psycopg.connect(url) as bank:
        paid = bank.execute("SELECT count(*), count(DISTINCT key) FROM payments").fetchone()
    print(f"payments: {paid[0] if paid else 0}, of different calls: {paid[1] if paid else 0}")


if __name__ == "__main__":
    main(sys.argv[1])
