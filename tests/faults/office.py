"""An office: databases, tools and a person's answers, for agents that are made to be killed.

What the tools did is written down in files outside of every database, so that it can be counted.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy.dialects.postgresql import psycopg as _psycopg
from sqlalchemy.dialects.sqlite import pysqlite as _pysqlite

from bighub_langgraph import BighubGuard, Journal, LocalBighub, ToolPolicy, current_call

# Imported before processes are forked: they shall be killed at work, not while they import.
IMPORTED_EARLY = (LocalBighub, _psycopg, _pysqlite)

LAST_MESSAGE = "done"
PAUSE = 0.002
HOSTS = ("graph", "middleware", "facade")


@dataclass(frozen=True, slots=True)
class Office:
    """Where agents work.

    Attributes:
        home: Where the files are that say what tools did.
        database: URL of journal, checkpoints and embedded engine.
        host: What guards the agent.
        mode: How the agent is called.
        rounds: The tools that the model calls in each turn of a thread, before its last message.
        durability: LangGraph's; None for its default.
        clock_error: By how many seconds the clock of each process may be wrong, either way.
    """

    home: Path
    database: str
    host: str = "graph"
    mode: str = "sync"
    rounds: tuple[tuple[str, ...], ...] = (("pay", "book", "write"), ("pay", "write"))
    durability: str | None = None
    clock_error: float = 0.0

    @property
    def engine(self) -> str:
        """URL of the engine's database: the same server, or a file beside it."""
        if self.database.startswith("sqlite"):
            return f"sqlite:///{self.home / 'engine.db'}"
        return self.database

    @property
    def tool_names(self) -> set[str]:
        """The names of all tools."""
        return {tool.__name__ for tool in self.tools()}

    @property
    def policies(self) -> dict[str, ToolPolicy]:
        """What recovers a call of a tool whose outcome is unknown."""
        return {
            "write": ToolPolicy(idempotent=True),
            "book": ToolPolicy(probe=self._find_booking),
        }

    def guard(self) -> BighubGuard:
        """A guard of this office, in a process whose clock may be wrong."""
        clock = self._clock()
        return BighubGuard(
            bighub=self.engine,
            name="clerk",
            journal=Journal(self.database, clock=clock),
            tools=self.policies,
            clock=clock,
        )

    def tools(self) -> list[Any]:
        """A tool that may not run twice, one with a probe, and one that is idempotent."""

        def pay(order: str) -> str:
            """Pay an order."""
            return self._work(f"paid {order}")

        def book(order: str) -> str:
            """Book an order."""
            return self._work(f"booked {order}")

        def write(order: str) -> str:
            """Write to a customer."""
            return self._work(f"wrote about {order}")

        return [pay, book, write]

    def count(self, event: str, key: str) -> int:
        """How often the tool of a call has "started", or has taken "effect"."""
        return len(list((self.home / event / key).glob("*")))

    def calls_of(self, answered: int) -> list[dict[str, Any]] | None:
        """The calls that the model makes once so many are answered; None when it is done."""
        for turn, names in enumerate(self.rounds):
            if answered == 0:
                return [
                    {"name": name, "args": {"order": f"{turn}-{place}"}, "id": uuid4().hex}
                    for place, name in enumerate(names)
                ]
            answered -= len(names)
        return None

    def _work(self, result: str) -> str:
        self._note("started")
        time.sleep(PAUSE)  # a tool takes its time, and may be killed in it
        self._note("effect")
        time.sleep(PAUSE)
        return result

    def _note(self, event: str) -> None:
        place = self.home / event / current_call().idempotency_key
        place.mkdir(parents=True, exist_ok=True)
        (place / uuid4().hex).touch()

    def _find_booking(self, arguments: dict[str, Any], key: str) -> str | None:
        return f"booked {arguments['order']}" if self.count("effect", key) else None

    def _clock(self) -> Callable[[], float]:
        if not self.clock_error:
            return time.time
        error = random.SystemRandom().uniform(-self.clock_error, self.clock_error)
        return lambda: time.time() + error
