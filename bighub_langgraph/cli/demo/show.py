"""Puts the demo together and prints it while it runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

from langgraph.checkpoint.memory import InMemorySaver
from rich.console import Console

from bighub_langgraph import BighubGuard, create_guarded_agent
from bighub_langgraph.cli.console import progress, stdout
from bighub_langgraph.cli.database import database_url, embedded_engine
from bighub_langgraph.cli.demo.approving import Approve, approver
from bighub_langgraph.cli.demo.comparison import comparison
from bighub_langgraph.cli.demo.introduction import introduction
from bighub_langgraph.cli.demo.lines import (
    call_line,
    later_line,
    print_line,
    request_line,
    titles,
)
from bighub_langgraph.cli.demo.models import chat_model
from bighub_langgraph.cli.demo.requests import REQUESTS
from bighub_langgraph.cli.demo.seen import Seen, thirds
from bighub_langgraph.cli.demo.stock import open_shop
from bighub_langgraph.cli.demo.story import Came, CameToLight, story
from bighub_langgraph.cli.demo.tools import POLICIES, shop_tools
from bighub_langgraph.cli.demo.unlearned import unlearned
from bighub_langgraph.local import DomainSettings, Settings

# Looser than the engine's default, so that two dozen requests are enough to earn it for some calls.
# The story's days pass in seconds, so how old a success is does not tell whether it will last.
PROMISE = DomainSettings(max_bad_rate=0.25, assurance=0.7, correction_delay=0.0)

PROMPT = (
    "You are the support desk of a small shop. The customer's number stands before each message. "
    "Look the order or the customer up first, then do what is asked with your tools, then write to "
    "the customer by send_mail. Ask nothing back. When a tool is refused, say so and stop."
)


def show(*, model: str | None, approve: Approve, chosen: bool, db: str | None) -> None:
    """Run the demo and print it."""
    console = stdout()
    chat = chat_model(model)
    with _guard(db) as guard:
        console.print(introduction(model, approve, PROMISE, chosen=chosen, db=db))
        print_line(console, titles())
        agent = create_guarded_agent(
            chat, shop_tools(open_shop()), guard, prompt=PROMPT, checkpointer=InMemorySaver()
        )
        steps = story(
            REQUESTS,
            agent=agent,
            guard=guard,
            approve=approver(approve, console),
            run=uuid4().hex,
        )
        # A bar and a question would write over each other.
        seen = _printed(steps, console, bar=approve is not Approve.ASK)
    _conclude(console, seen, db)


@contextmanager
def _guard(db: str | None) -> Iterator[BighubGuard]:
    """A guard over the embedded engine; engine and journal share the database, if there is one."""
    journal = None if db is None else database_url(db)
    with (
        embedded_engine(db, Settings(default=PROMISE)) as engine,
        BighubGuard(
            bighub=engine, actor="support-agent", domain="shop", tools=POLICIES, journal=journal
        ) as guard,
    ):
        yield guard


def _printed(
    steps: Iterator[Came | Seen | CameToLight], console: Console, *, bar: bool
) -> list[Seen]:
    seen: list[Seen] = []
    with progress(console, wanted=bar) as shown:
        task = shown.add_task("requests", total=len(REQUESTS))
        for step in steps:
            match step:
                case Came(number, request):
                    shown.update(task, completed=number)
                    console.print()
                    print_line(console, request_line(number, len(REQUESTS), request))
                case Seen():
                    seen.append(step)
                    print_line(console, call_line(step))
                case CameToLight(call, trouble):
                    print_line(console, later_line(call, trouble))
    return seen


def _conclude(console: Console, seen: Sequence[Seen], db: str | None) -> None:
    first, last = thirds(seen, len(REQUESTS))
    with _guard(None) as fresh:
        console.print("", comparison(first, last, unlearned(last, fresh)), sep="\n")
    if db is not None:
        console.print(f"\nWhat was learned is kept in {db}: run it again, it starts wiser.")
