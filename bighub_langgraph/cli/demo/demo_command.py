"""The `demo` command: watch a guarded support desk for a simulated month."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from bighub_langgraph.cli import console
from bighub_langgraph.cli.options import (
    ConfidenceLevelOption,
    JsonOption,
    MaxBadRateOption,
    SettingsOption,
    read_settings,
)

ACCURACY = 0.9
FEW_DAYS = 1


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a run, besides the engine's settings."""

    ask: bool
    inbox: bool
    approve: Literal["yes", "no"] | None
    accuracy: float
    seed: int
    days: int
    model: str | None
    db: str | None
    chart: Path | None
    is_json: bool

    def check(self) -> None:
        """Exit with code 2 if they cannot be used together, or not here."""
        if self.model and not os.environ.get("OPENAI_API_KEY"):
            console.fail("--model needs OPENAI_API_KEY (and OPENAI_BASE_URL for your own server)")
        if self.model and not (find_spec("langchain") and find_spec("langchain_openai")):
            console.fail(
                "--model needs: pip install 'bighub-langgraph[langchain]' langchain-openai"
            )
        if (self.approve is not None) + self.inbox + self.ask > 1:
            console.fail("pass only one of --approve, --ask and --inbox")
        if self.is_json and (self.ask or self.inbox):
            console.fail("--json asks nothing; omit --ask and --inbox")
        if self.chart is not None and not self.chart.absolute().parent.is_dir():
            console.fail(f"--chart {self.chart}: there is no such folder")
        if self.inbox:  # before anything is printed
            import bighub_langgraph.approvals.web.pages  # noqa: F401


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
    from bighub_langgraph.cli.demo.demo_session import DEFAULTS, run_demo
    from bighub_langgraph.cli.demo.world import DAYS

    options = Options(
        ask=ask,
        inbox=inbox,
        approve=approve,
        accuracy=accuracy,
        seed=seed,
        days=days or (FEW_DAYS if model or inbox else DAYS),
        model=model,
        db=db,
        chart=chart,
        is_json=json,
    )
    options.check()
    run_demo(options, read_settings(settings, max_bad_rate, confidence_level, default=DEFAULTS))
