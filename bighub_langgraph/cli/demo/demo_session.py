"""A session of the demo: its guard and its agent, who approves, and what is printed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import typer
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from openai import OpenAIError

from bighub_langgraph import BighubGuard, Journal, LocalBighub, create_guarded_agent
from bighub_langgraph.cli import console
from bighub_langgraph.cli.demo.chart import write_chart
from bighub_langgraph.cli.demo.demo_command import Options
from bighub_langgraph.cli.demo.demo_run import LABEL_DELAY, Clock, DemoRun, Stop
from bighub_langgraph.cli.demo.scripted_model import scripted_model
from bighub_langgraph.cli.demo.shop import create_policies, create_tools
from bighub_langgraph.cli.demo.summary import summarize
from bighub_langgraph.cli.demo.support_desk import (
    Agent,
    Responder,
    SimulatedPerson,
    TerminalPerson,
    decide_each,
    wait_for_answers,
)
from bighub_langgraph.cli.demo.views import View, format_introduction, format_summary, open_view
from bighub_langgraph.cli.demo.world import DAY, FIRST_DAY, World, create_world
from bighub_langgraph.cli.options import database_url, exit_on_database_error
from bighub_langgraph.core.redaction import mask_passwords
from bighub_langgraph.journal.memory_journal import MemoryJournal
from bighub_langgraph.local import DomainSettings, Settings

EXIT_ON_INTERRUPT = 130
AGENT, DOMAIN = "support-desk", "shop"
DEFAULTS = DomainSettings(label_delay=LABEL_DELAY)
PAGE_USER = "demo"
PROMPT = (
    "You are the support desk of a small shop. The customer's number stands before each message. "
    "Look the order or the customer up first, then do what is asked with one call of a tool. "
    "Ask nothing back. When a tool is refused, say so and stop."
)


def run_demo(options: Options, settings: Settings) -> None:
    """Run the demo and print its summary; exit with 1 if the model fails, 130 after Ctrl-C."""
    accuracy = options.accuracy if options.approve is None else None
    person = SimulatedPerson(accuracy, approves_all=options.approve == "yes")
    with _exit_on_error():
        run = _run(options, settings, person)
    _print_summary(run, options, settings.for_domain(DOMAIN), person)
    if run.stop.is_set:
        raise typer.Exit(EXIT_ON_INTERRUPT)


def _run(options: Options, settings: Settings, person: SimulatedPerson) -> DemoRun:
    world, clock, stop = create_world(options.seed, options.days), Clock(), Stop()
    out = console.stdout()
    with (
        _open_guard(world, clock, options.db, settings, has_page=options.inbox) as guard,
        open_view(out, is_silent=options.is_json) as view,
    ):
        if not options.is_json:
            introduction = format_introduction(
                days=options.days,
                requests=len(world.requests),
                model=options.model,
                person=_describe_person(options),
                limit=settings.for_domain(DOMAIN),
            )
            out.print(introduction)
        with _open_responder(options, person, view, guard, stop) as respond:
            agent = _create_agent(options.model, world, guard)
            run = DemoRun(world, guard, clock, agent, respond, stop)
            for _ in run.serve_all():
                view.update(run)
    return run


@contextmanager
def _open_guard(
    world: World, clock: Clock, db: str | None, settings: Settings, *, has_page: bool
) -> Iterator[BighubGuard]:
    """Open a guard over the embedded engine; they share the database if there is one.

    A second run over a database starts after the first one, by the simulated clock.
    """
    with TemporaryDirectory(prefix="bighub-demo-") as folder, exit_on_database_error(db):
        location = db or (f"{folder}/calls.db" if has_page else None)
        journal: Any = MemoryJournal(clock=clock.now)
        if location is not None:
            # People who answer on the page live by the real time.
            options: dict[str, Any] = {} if has_page else {"clock": clock.now}
            journal = Journal(database_url(location), **options)
            latest = [view.updated_at for view in journal.admin.calls(limit=1)]
            clock.start = max([FIRST_DAY, *(at + DAY for at in latest)])
        with (
            LocalBighub(database_url(db), settings=settings, clock=clock.now) as client,
            BighubGuard(
                bighub=client,
                actor="support-agent",
                domain=DOMAIN,
                tools=create_policies(world.shop),
                journal=journal,
                name=AGENT,
                clock=clock.now,
            ) as guard,
        ):
            try:
                yield guard
            finally:
                guard.flush()
        journal.close()


def _create_agent(model: str | None, world: World, guard: BighubGuard) -> Agent:
    """Create the desk's agent, with a scripted model or one of OpenAI's."""
    return create_guarded_agent(
        f"openai:{model}" if model else scripted_model,
        create_tools(world.shop),
        guard,
        prompt=PROMPT,
        checkpointer=InMemorySaver(),
    )


# -- who approves ----------------------------------------------------------------------------------


@contextmanager
def _open_responder(
    options: Options, person: SimulatedPerson, view: View, guard: BighubGuard, stop: Stop
) -> Iterator[Responder]:
    """Open what answers the approvals: a simulated person, the terminal, or the page."""

    @contextmanager
    def pause() -> Iterator[None]:
        with view.pause(), stop.interrupt():
            yield

    if options.ask:
        yield partial(decide_each, TerminalPerson(console.stdout(), person, pause))
    elif options.inbox and isinstance(guard.journal, Journal):
        with _serve_page(guard.journal) as link:
            console.print_line(f"Sign in, once, and answer at {link}")
            yield partial(wait_for_answers, guard.journal, stop.interrupt)
    else:
        yield partial(decide_each, person)


@contextmanager
def _serve_page(journal: Journal) -> Iterator[str]:
    """Serve the page of a journal on loopback; the value is a link that signs in once."""
    from bighub_langgraph.approvals.accounts import Accounts
    from bighub_langgraph.approvals.inbox import ApprovalInbox
    from bighub_langgraph.approvals.web.pages import create_app
    from bighub_langgraph.approvals.web.visitors import Visitors
    from bighub_langgraph.local.server.connections import serve_in_background

    accounts = Accounts(journal)
    if accounts.find(PAGE_USER) is None:
        accounts.add(PAGE_USER, {"approver"}, None, by=PAGE_USER)
    app = create_app(ApprovalInbox(journal), accounts, Visitors(accounts))
    with serve_in_background(app) as url:
        yield f"{url}/sign-in?link={accounts.create_link(PAGE_USER)}"


def _describe_person(options: Options) -> str:
    if options.inbox:
        return "you, on the approval page; Ctrl-C stops"
    if options.approve is not None:
        answer = "approved" if options.approve == "yes" else "rejected"
        return f"all {answer} (--approve {options.approve})"
    simulation = f"a simulated person, right about {options.accuracy:.0%} of the calls"
    return f"you, three times; {simulation}" if options.ask else f"{simulation}; --ask asks you"


# -- the end ---------------------------------------------------------------------------------------


def _print_summary(
    run: DemoRun, options: Options, limit: DomainSettings, person: SimulatedPerson
) -> None:
    summary = summarize(run.calls, person, run.served_count)
    if options.is_json:
        head = {"seed": options.seed, "days": options.days, "accuracy": person.accuracy}
        head |= {name: asdict(limit)[name] for name in ("max_bad_rate", "confidence_level")}
        console.print_json({**head, "interrupted": run.stop.is_set, **summary.to_json()})
    else:
        console.stdout().print("", format_summary(summary, limit), sep="\n")
        if options.db is not None:
            name = mask_passwords(options.db)
            console.print_line(f"The engine keeps what it learned in {name} for the next run.")
    if options.chart is not None:
        try:
            write_chart(options.chart, summary)
        except OSError as error:
            console.fail(f"--chart {options.chart}: {error}")


@contextmanager
def _exit_on_error() -> Iterator[None]:
    try:
        yield
    except EOFError:
        console.fail("no answer on stdin; run it without --ask")
    except (OpenAIError, GraphRecursionError) as error:
        console.fail(f"the model failed: {error}", console.NOT_DONE)
