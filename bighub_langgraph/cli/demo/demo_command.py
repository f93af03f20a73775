"""The `demo` command: watch a guarded support desk for a simulated month."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bighub_langgraph.cli import console
from bighub_langgraph.cli.options import (
    ConfidenceLevelOption,
    JsonOption,
    MaxBadRateOption,
    SettingsOption,
    read_settings,
)

if TYPE_CHECKING:
    from bighub_langgraph import BighubGuard
    from bighub_langgraph.cli.demo.demo_run import DemoRun, Stop
    from bighub_langgraph.cli.demo.support_desk import Responder, SimulatedPerson
    from bighub_langgraph.cli.demo.views import View
    from bighub_langgraph.local import DomainSettings, Settings

MODEL_FAILED = 1
INTERRUPTED = 130
ACCURACY = 0.9
FEW_DAYS = 1


def demo(
    *,
    ask: Annotated[bool, typer.Option("--ask", help="Ask you about three calls.")] = False,
    inbox: Annotated[
        bool, typer.Option("--inbox", help="Answer on the approval page, in a browser.")
    ] = False,
    approve: Annotated[
        Literal["yes", "no"] | None,
        typer.Option(help="Approve or reject all; else a simulated person answers."),
    ] = None,
    accuracy: Annotated[
        float, typer.Option(min=0.5, max=1.0, help="The share of right answers of that person.")
    ] = ACCURACY,
    seed: Annotated[int, typer.Option(help="Another seed is another month.")] = 0,
    days: Annotated[
        int | None,
        typer.Option(
            min=1, max=84, help="How long it lasts.", show_default="28; 1 with --model or --inbox"
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="An OpenAI model; needs langchain-openai and a key."),
    ] = None,
    db: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Keep state in a SQLite file or a database's URL."),
    ] = None,
    chart: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Write a picture of the run, SVG."),
    ] = None,
    max_bad_rate: MaxBadRateOption = None,
    confidence_level: ConfidenceLevelOption = None,
    settings: SettingsOption = None,
    json: JsonOption = False,
) -> None:
    """Watch the agent of a support desk being guarded for a month, and the guard learning.

    Honest and dishonest customers write to a small shop in memory, about twenty a day; the clock is
    simulated. The agent's tools refund, cancel, redirect, delete and issue vouchers. The embedded
    BIGHUB evaluates each call that changes something, at its default risk limit, and hears what
    became of it: frauds and mistakes up to three days later. The summary compares the weeks, and
    the cost with that of asking about every call and about none.

    Nothing is asked of you, and no account, key or network is needed: a script replaces the LLM,
    and a simulated person approves. `--ask` asks you about three calls, of different tools; `s`
    stops that. `--inbox` prints a link to the approval page, on this machine only; the agent goes
    on as you answer there. Ctrl-C ends the run with the summary so far. With `--db` a second run
    starts with what the first one learned.

    Exit codes: 0 done; 1 the model failed; 2 bad usage; 130 ended by Ctrl-C, after the summary.

    **Examples**

    ```
    bighub-langgraph demo --seed 7 --chart month.svg
    bighub-langgraph demo --ask
    bighub-langgraph demo --json > month.json
    bighub-langgraph demo --inbox --days 1 --db demo.db
    bighub-langgraph demo --model gpt-5-mini
    ```
    """
    from bighub_langgraph.cli.demo.demo_run import DEFAULTS
    from bighub_langgraph.cli.demo.support_desk import SimulatedPerson
    from bighub_langgraph.cli.demo.world import DAYS

    _check_usage(model=model, is_json=json, chart=chart, approve=approve, ask=ask, inbox=inbox)
    options = Options(
        person=SimulatedPerson(accuracy if approve is None else None, approve == "yes"),
        settings=read_settings(settings, max_bad_rate, confidence_level, default=DEFAULTS),
        ask=ask,
        inbox=inbox,
        seed=seed,
        days=days or (FEW_DAYS if model or inbox else DAYS),
        model=model,
        db=db,
        is_json=json,
    )
    with _exit_on_error(db):
        run = _run(options)
    _print_summary(run, options, chart)
    if run.stop.is_set:
        raise typer.Exit(INTERRUPTED)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a run."""

    person: "SimulatedPerson"
    settings: "Settings"
    ask: bool
    inbox: bool
    seed: int
    days: int
    model: str | None
    db: str | None
    is_json: bool

    @property
    def limit(self) -> "DomainSettings":
        """The engine's risk limit for the desk."""
        from bighub_langgraph.cli.demo.demo_run import DOMAIN

        return self.settings.for_domain(DOMAIN)


def _check_usage(
    *,
    model: str | None,
    is_json: bool,
    chart: Path | None,
    approve: str | None,
    ask: bool,
    inbox: bool,
) -> None:
    if model and not os.environ.get("OPENAI_API_KEY"):
        console.fail("--model needs OPENAI_API_KEY (and OPENAI_BASE_URL for your own server)")
    if (approve is not None) + inbox + ask > 1:
        console.fail("pass only one of --approve, --ask and --inbox")
    if is_json and (ask or inbox):
        console.fail("--json asks nothing; omit --ask and --inbox")
    if chart is not None and not chart.absolute().parent.is_dir():
        console.fail(f"--chart {chart}: there is no such folder")
    if inbox:
        _check_extra()


def _run(options: Options) -> "DemoRun":
    from bighub_langgraph.cli.demo.demo_run import Clock, DemoRun, Stop, create_agent, open_guard
    from bighub_langgraph.cli.demo.views import format_introduction, open_view
    from bighub_langgraph.cli.demo.world import create_world

    world, clock, stop = create_world(options.seed, options.days), Clock(), Stop()
    out, settings = console.stdout(), options.settings
    with (
        open_guard(world, clock, options.db, settings, has_page=options.inbox) as guard,
        open_view(out, is_silent=options.is_json) as view,
    ):
        if not options.is_json:
            introduction = format_introduction(
                days=options.days,
                requests=len(world.requests),
                model=options.model,
                person=_describe_person(options),
                limit=options.limit,
            )
            out.print(introduction)
        with _open_responder(options, view, guard, stop) as respond:
            agent = create_agent(options.model, world, guard)
            run = DemoRun(world, guard, clock, agent, respond, stop)
            for _ in run.serve_all():
                view.update(run)
    return run


@contextmanager
def _exit_on_error(db: str | None) -> Iterator[None]:
    from langgraph.errors import GraphRecursionError
    from openai import OpenAIError

    from bighub_langgraph.core.errors import ConfigurationError, JournalError
    from bighub_langgraph.core.redaction import mask_passwords

    try:
        yield
    except EOFError:
        console.fail("no answer on stdin; run it without --ask")
    except (ImportError, ConfigurationError) as error:
        console.fail(str(error))
    except JournalError as error:
        console.fail(mask_passwords(f"--db {db}: {error}"))
    except (OpenAIError, GraphRecursionError) as error:
        console.fail(f"the model failed: {error}", MODEL_FAILED)


@contextmanager
def _open_responder(
    options: Options, view: "View", guard: "BighubGuard", stop: "Stop"
) -> "Iterator[Responder]":
    """Open what answers the approvals: a simulated person, the terminal, or the page."""
    from functools import partial

    from bighub_langgraph.cli.demo.approval_page import serve_page, wait_for_answers
    from bighub_langgraph.cli.demo.support_desk import TerminalPerson, decide_each
    from bighub_langgraph.journal.sql import Journal

    @contextmanager
    def pause() -> Iterator[None]:
        with view.pause(), stop.interrupt():
            yield

    if options.ask:
        yield partial(decide_each, TerminalPerson(console.stdout(), options.person, pause))
    elif options.inbox and isinstance(guard.journal, Journal):
        with serve_page(guard.journal) as link:
            console.print_line(f"Sign in, once, and answer at {link}")
            yield partial(wait_for_answers, guard.journal, stop)
    else:
        yield partial(decide_each, options.person)


def _print_summary(run: "DemoRun", options: Options, chart: Path | None) -> None:
    from dataclasses import asdict

    from bighub_langgraph.cli.demo.chart import write_chart
    from bighub_langgraph.cli.demo.summary import summarize
    from bighub_langgraph.cli.demo.views import format_summary
    from bighub_langgraph.core.redaction import mask_passwords

    summary = summarize(run.calls, options.person, run.served)
    if options.is_json:
        limit = {name: asdict(options.limit)[name] for name in ("max_bad_rate", "confidence_level")}
        head = {"seed": options.seed, "days": options.days, "accuracy": options.person.accuracy}
        interrupted = {"interrupted": run.stop.is_set}
        console.print_json({**head, **limit, **interrupted, **summary.to_json()})
    else:
        console.stdout().print("", format_summary(summary, options.limit), sep="\n")
        if options.db is not None:
            name = mask_passwords(options.db)
            console.print_line(f"The engine keeps what it learned in {name} for the next run.")
    if chart is not None:
        try:
            write_chart(chart, run.calls, options.person, summary)
        except OSError as error:
            console.fail(f"--chart {chart}: {error}")


def _describe_person(options: Options) -> str:
    person = options.person
    if options.inbox:
        return "you, on the approval page; Ctrl-C stops"
    if person.accuracy is None:
        answer = "approved (--approve yes)" if person.approves_all else "rejected (--approve no)"
        return f"all {answer}"
    simulated = f"a simulated person, right about {person.accuracy:.0%} of the calls"
    return f"you, three times; {simulated}" if options.ask else f"{simulated}; --ask asks you"


def _check_extra() -> None:
    from bighub_langgraph.cli.inbox_commands import NEEDS_EXTRA

    try:
        import bighub_langgraph.approvals.web.pages  # noqa: F401
    except ImportError:
        console.fail(NEEDS_EXTRA)
