"""Run the demo, and print it and what its outcomes changed, in at most 80 columns."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from tempfile import TemporaryDirectory
from uuid import uuid4

from langgraph.checkpoint.memory import InMemorySaver
from rich.console import Console, Group, RenderableType
from rich.text import Text

from bighub_langgraph import BighubGuard, Journal, create_guarded_agent
from bighub_langgraph.cli.console import create_table, stdout, to_visible
from bighub_langgraph.cli.demo.approval_page import AGENT, serve_page, wait_for_answers
from bighub_langgraph.cli.demo.demo_command import Approve
from bighub_langgraph.cli.demo.scenario import REQUESTS, Request, create_shop
from bighub_langgraph.cli.demo.scripted_model import scripted_model
from bighub_langgraph.cli.demo.shop import POLICIES, create_tools
from bighub_langgraph.cli.demo.support_desk import (
    DemoCall,
    Responder,
    create_approver,
    decide_each,
    report_late_outcomes,
    serve_request,
)
from bighub_langgraph.cli.options import database_url, open_local_bighub
from bighub_langgraph.core.decision import resolve_verdict
from bighub_langgraph.core.models import Verdict
from bighub_langgraph.core.redaction import mask_passwords
from bighub_langgraph.local import DomainSettings, Settings

# Looser than the default, so that two dozen requests are enough for some calls to run without
# approval. All requests take only seconds, so the age of a success says nothing.
LIMIT = DomainSettings(max_bad_rate=0.35, confidence_level=0.6, label_delay=0.0)

DOMAIN = "shop"

PROMPT = (
    "You are the support desk of a small shop. The customer's number stands before each message. "
    "Look the order or the customer up first, then do what is asked with your tools, then write to "
    "the customer by send_mail. Ask nothing back. When a tool is refused, say so and stop."
)

HEADER = (
    f" {'tool':<14} {'on':<6} {'value':>7} {'recommendation':<20} {'conf.':<6} {'risk':>4} "
    f"{'verdict':<8} outcome"
)
STYLES = {
    **dict.fromkeys(("proceed", "execute", "SUCCESS"), "green"),
    **dict.fromkeys(("proceed_with_caution", "BLOCKED"), "yellow"),
    **dict.fromkeys(("review_recommended", "review"), "dark_orange"),
    **dict.fromkeys(("do_not_proceed", "block", "FAILURE"), "red"),
}

Calls = Sequence[DemoCall]

LEGEND = (
    "No outcomes: the same calls, evaluated by an engine that received no outcomes. Bad: the call"
    " failed, or was fraud or a mistake, or would have been if it had been executed."
)


def run_demo(
    model: str | None, approve: Approve, *, is_default: bool, db: str | None, settings: Settings
) -> None:
    """Serve all requests, print each call, and compare the first with the last ones."""
    console = stdout()
    calls: list[DemoCall] = []
    with (
        _open_guard(db, settings, needs_file=approve == "page") as guard,
        _open_page(guard, approve) as link,
    ):
        chat_model = f"openai:{model}" if model else scripted_model
        tools, saver = create_tools(create_shop()), InMemorySaver()
        agent = create_guarded_agent(chat_model, tools, guard, prompt=PROMPT, checkpointer=saver)
        introduction = format_introduction(
            model, approve, is_default=is_default, db=db, limit=settings.for_domain(DOMAIN)
        )
        console.print(introduction)
        if link:
            console.print(f"Sign in, once, and answer at {link}\n", soft_wrap=True)
        respond, run_id = _create_responder(approve, guard, console), uuid4().hex
        print_line(console, Text(HEADER, "dim"))
        for number, request in enumerate(REQUESTS, start=1):
            console.print()
            print_line(console, format_request(number, request))
            thread = f"{run_id}-{number}"
            for call in serve_request(agent, number, request, thread_id=thread, respond=respond):
                calls.append(call)
                print_line(console, format_call(call))
            due = [call for call in calls if number == _discovery_number(call)]
            report_late_outcomes(due, guard)
            for call in due:
                print_line(console, format_late_outcome(call))
    with _open_guard(None, settings) as new_guard:
        console.print("", compare_thirds(calls, len(REQUESTS), new_guard), sep="\n")
    if db is not None:
        console.print()
        print_line(
            console,
            Text(f"The engine keeps what it learned in {mask_passwords(db)} for the next run."),
        )


def _discovery_number(call: DemoCall) -> int | None:
    """Get the number of the request after which an executed call's late outcome is discovered."""
    if call.late_outcome is None or call.outcome != "SUCCESS":
        return None
    return min(call.request + call.late_outcome.delay, len(REQUESTS))


@contextmanager
def _open_guard(
    db: str | None, settings: Settings, *, needs_file: bool = False
) -> Iterator[BighubGuard]:
    """Open a guard over the embedded engine; they share the database if there is one."""
    with TemporaryDirectory(prefix="bighub-demo-") as folder:
        file = db or (f"{folder}/calls.db" if needs_file else None)
        with (
            open_local_bighub(db, settings) as client,
            BighubGuard(
                bighub=client,
                actor="support-agent",
                domain=DOMAIN,
                tools=POLICIES,
                journal=None if file is None else database_url(file),
                name=AGENT,
            ) as guard,
        ):
            yield guard


@contextmanager
def _open_page(guard: BighubGuard, approve: Approve) -> Iterator[str]:
    """Serve the approval page where it is wanted; the value is the link to sign in."""
    if approve == "page" and isinstance(guard.journal, Journal):
        with serve_page(guard.journal) as link:
            yield link
    else:
        yield ""


def _create_responder(approve: Approve, guard: BighubGuard, console: Console) -> Responder:
    if approve == "page":
        return partial(wait_for_answers, guard.journal)
    return partial(decide_each, create_approver(approve, console))


def format_introduction(
    model: str | None,
    approve: Approve,
    *,
    is_default: bool,
    db: str | None,
    limit: DomainSettings = LIMIT,
) -> Text:
    """Get the text that explains the run and its options."""
    approvals = {
        "ask": "you decide",
        "page": "you decide, on the approval page",
        "yes": "all approved (--approve yes)",
        "no": "all rejected (--approve no)",
    }[approve]
    if is_default and approve == "yes":
        approvals += ", because there is no terminal"
    return Text.assemble(
        ("A support desk that learns\n\n", "bold"),
        f"{len(REQUESTS)} customers write to a small shop. The embedded BIGHUB evaluates each\n"
        "call that changes something, and receives its outcome afterwards. It lets\n"
        f"calls run without approval while it is {limit.confidence_level:.0%} confident "
        f"that at most\n{limit.max_bad_rate or 1:.0%} of them go wrong.\n\n",
        (f"{'model':<15}", "dim"),
        f"{model}, a real one\n" if model else "scripted, no LLM; --model NAME uses one\n",
        (f"{'approvals':<15}", "dim"),
        f"{approvals}\n",
        (f"{'learning':<15}", "dim"),
        f"kept in {mask_passwords(db)}\n" if db else "discarded at the end; --db FILE keeps it\n",
    )


def print_line(console: Console, line: Text) -> None:
    """Print one line, cut at the width of the terminal."""
    console.print(line, no_wrap=True, overflow="ellipsis")


def format_request(number: int, request: Request) -> Text:
    """Format a customer's request."""
    progress = (f"{number:>2}/{len(REQUESTS)} ", "dim")
    return Text.assemble(progress, (f"{request.customer}: ", "bold cyan"), request.text)


def format_call(call: DemoCall) -> Text:
    """Format a call: BIGHUB's recommendation, the verdict and the outcome."""
    ids = (str(value) for key, value in call.arguments.items() if key.endswith("_id"))
    tool, target = to_visible(call.tool), to_visible(next(ids, ""))
    outcome = (call.outcome, STYLES.get(call.outcome, ""))
    if call.verdict is None:
        if call.outcome == "FAILURE":
            return Text.assemble((f" {tool} {target}  not evaluated  ", "dim"), outcome)
        return Text(f" {tool} {target}  read-only, not evaluated", "dim")
    value = call.arguments.get("amount")
    amount = f"{value:.2f}" if isinstance(value, int | float) else ""
    risk = "" if call.risk is None else f"{call.risk:.2f}"
    answer = {None: "", True: " ✓", False: " ✗"}[call.approved]
    return Text.assemble(
        f" {tool:<14.14} ",
        (f"{target:<6.6} ", "cyan"),
        f"{amount:>7} ",
        (f"{call.recommendation:<20.20} ", STYLES.get(call.recommendation, "")),
        f"{call.confidence:<6.6} {risk:>4} ",
        (f"{call.verdict + answer:<8} ", STYLES.get(call.verdict, "")),
        outcome,
    )


def format_late_outcome(call: DemoCall) -> Text:
    """Format what was discovered about an earlier call."""
    if call.late_outcome is None:
        return Text()
    line = Text.assemble(("  ↯ ", "red"), (call.late_outcome.status, "bold red"))
    return line.append(f" {call.tool} of request {call.request}: {call.late_outcome.reason}")


# -- what the outcomes changed ---------------------------------------------------------------------


def compare_thirds(calls: Calls, requests: int, new_guard: BighubGuard) -> RenderableType:
    """Get a table of the requests' first third, their last, and the last without outcomes."""
    size = requests // 3
    evaluated = [call for call in calls if call.verdict is not None]
    first = [call for call in evaluated if call.request <= size]
    last = [call for call in evaluated if call.request > requests - size]
    groups = {
        f"first third,\nrequests 1-{size}": first,
        f"last third,\nrequests {requests - size + 1}-{requests}": last,
        "last third,\nno outcomes": [_evaluate_again(call, new_guard) for call in last],
    }
    table = create_table("What the outcomes changed")
    table.add_column("", ratio=1)
    for title in groups:
        table.add_column(title, justify="right", min_width=14)
    for name, summarize in ROWS.items():
        table.add_row(name, *map(summarize, groups.values()))
    return Group(table, "", Text(LEGEND, "dim"))


def _evaluate_again(call: DemoCall, guard: BighubGuard) -> DemoCall:
    decision = guard.evaluate(call.tool, call.arguments, session=f"no-outcomes-{call.request}")
    return replace(call, verdict=resolve_verdict(decision), risk=decision.risk_score)


def _count(verdict: Verdict) -> Callable[[Calls], str]:
    return lambda calls: str(sum(call.verdict is verdict for call in calls))


def _bad_without_approval(calls: Calls) -> str:
    bad = [call for call in calls if call.is_bad]
    return f"{sum(call.verdict is Verdict.EXECUTE for call in bad)} of {len(bad)}"


def _mean_risk(*, is_bad: bool) -> Callable[[Calls], str]:
    def mean(calls: Calls) -> str:
        risks = [call.risk for call in calls if call.risk is not None and call.is_bad is is_bad]
        return f"{sum(risks) / len(risks):.2f}" if risks else "."

    return mean


ROWS: dict[str, Callable[[Calls], str]] = {
    "calls evaluated": lambda calls: str(len(calls)),
    "executed without approval": _count(Verdict.EXECUTE),
    "reviewed by a person": _count(Verdict.REVIEW),
    "blocked": _count(Verdict.BLOCK),
    "bad calls executed without approval": _bad_without_approval,
    "mean risk of good calls": _mean_risk(is_bad=False),
    "mean risk of bad calls": _mean_risk(is_bad=True),
}
