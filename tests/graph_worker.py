"""A guarded agent on files: SQLite checkpoints, an SQLite journal, and tools that leave a trace.

`python -m tests.graph_worker DIRECTORY HOST JSON` answers what a thread asks.
What runs is written outside of the graph, so that it can be counted over processes that die.
"""

import argparse
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command

from bighub_langgraph import (
    BighubGuard,
    Journal,
    create_guarded_agent,
)
from tests.agents import PLEASE, ScriptedModel, call
from tests.engines import ScriptedBighub

HOSTS = ("ready", "middleware")
ALL_HOSTS = (*HOSTS, "tools")
CONFIG: Any = {"configurable": {"thread_id": "t"}}
REFUND = call("refund", amount=40)
NOTE = call("note", "call-2", text="hello")
SAYS = {"refund": "review_recommended", "note": "proceed"}


class Trace:
    """Lines in a file, one an event, whichever process it happened in."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "trace.txt"
        self._directory = directory

    def add(self, line: str) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
            file.flush()
            os.fsync(file.fileno())

    def count(self, line: str) -> int:
        if not self._file.exists():
            return 0
        return self._file.read_text(encoding="utf-8").splitlines().count(line)

    def take_fault(self, name: str) -> bool:
        """Whether a test has requested a fault; it happens once."""
        request = self._directory / name
        if not request.exists():
            return False
        request.unlink()
        return True

    def request_fault(self, name: str) -> None:
        (self._directory / name).touch()


def die() -> None:
    """End this process as a power cut does."""
    os.kill(os.getpid(), signal.SIGKILL)


class CountingModel(ScriptedModel):
    """Asks for its calls once, then is done; each turn is traced."""

    trace: Any
    calls: Sequence[dict[str, Any]]

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.trace.add("model")
        has_answers = any(isinstance(message, ToolMessage) for message in messages)
        message = AIMessage("Done.") if has_answers else AIMessage("", tool_calls=list(self.calls))
        return ChatResult(generations=[ChatGeneration(message=message)])


class MortalSaver(SqliteSaver):
    """A checkpointer whose process may die before the tools' writes are kept, or be slow."""

    trace: Any = None
    before_put: Callable[[], None] | None = None
    after_load: Callable[[], None] | None = None

    def put(self, *arguments: Any) -> Any:
        if self.before_put:
            self.before_put()
        return super().put(*arguments)

    def get_tuple(self, config: Any) -> Any:
        checkpoint = super().get_tuple(config)
        if self.after_load:
            self.after_load()
        return checkpoint

    def put_writes(
        self,
        config: Any,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        spoken = [value for channel, value in writes if channel == "messages"]
        if "ToolMessage" in repr(spoken) and self.trace.take_fault("die before the checkpoint"):
            die()
        super().put_writes(config, writes, task_id, task_path)


def tools(trace: Trace) -> list[BaseTool]:
    """Tools with effects that outlive the process."""

    @tool
    def refund(amount: float) -> str:
        """Pay money back."""
        trace.add(f"refund {amount:g}")
        if trace.take_fault("die in the tool"):
            die()
        if trace.take_fault("take a moment"):
            time.sleep(0.3)
        return f"refunded {amount:g}"

    @tool
    def note(text: str) -> str:
        """Take a note."""
        trace.add(f"note {text}")
        if trace.take_fault("crash"):
            raise RuntimeError("the notebook is gone")
        return f"noted {text}"

    return [refund, note]


class Files:
    """An agent whose every trace is in one directory."""

    def __init__(
        self,
        directory: Path,
        host: str,
        *calls: dict[str, Any],
        says: Any = None,
        **guard: Any,
    ) -> None:
        self.trace = Trace(directory)
        self.bighub = ScriptedBighub(says or SAYS)
        self.journal = Journal(f"sqlite:///{directory / 'calls.db'}")
        self.guard = BighubGuard(bighub=self.bighub, journal=self.journal, **guard)
        self._db = sqlite3.connect(
            directory / "checkpoints.db", check_same_thread=False, timeout=30
        )
        self.saver = MortalSaver(self._db)
        self.saver.trace = self.trace
        model = CountingModel(script=[], trace=self.trace, calls=calls or [REFUND])
        self.graph: Any = _agent(host, model, self)(checkpointer=self.saver)

    def start(self) -> dict[str, Any]:
        """Ask the agent for something."""
        return self.run(PLEASE)

    def run(self, arguments: Any, config: Any = None) -> dict[str, Any]:
        """Run the thread on."""
        state: dict[str, Any] = self.graph.invoke(arguments, config or CONFIG)
        return state

    def answer(self, *decisions: dict[str, Any], config: Any = None) -> dict[str, Any]:
        """Answer what is asked."""
        return self.run(Command(resume={"decisions": list(decisions)}), config)

    def close(self) -> None:
        self.guard.close()
        self.journal.close()
        self._db.close()


def _agent(host: str, model: Any, files: Files) -> Any:
    if host == "ready":
        return partial(create_guarded_agent, model, tools(files.trace), files.guard)
    from langchain.agents import create_agent

    from bighub_langgraph import BighubMiddleware

    if host == "tools":
        return partial(create_agent, model, files.guard.wrap_tools(tools(files.trace)))
    middleware = [BighubMiddleware(files.guard)]
    return partial(create_agent, model, tools(files.trace), middleware=middleware)


def main() -> None:
    """One run in a process of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("host", choices=ALL_HOSTS)
    parser.add_argument("answer", type=json.loads)
    arguments = parser.parse_args()
    files = Files(arguments.directory, arguments.host)
    state = files.run(Command(resume=arguments.answer))
    files.close()
    sys.stdout.write(state["messages"][-1].text)


if __name__ == "__main__":
    main()
