"""The `demo` command: run a guarded support desk that learns from outcomes."""

import os
import sys
from typing import Annotated, Literal

import typer

from bighub_langgraph.cli import console
from bighub_langgraph.cli.options import (
    ConfidenceLevelOption,
    MaxBadRateOption,
    SettingsOption,
    read_settings,
)

MODEL_FAILED = 1
Approve = Literal["yes", "no", "ask", "page"]


def demo(
    *,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="An OpenAI model; needs langchain-openai and a key."),
    ] = None,
    approve: Annotated[
        Literal["yes", "no", "ask"] | None,
        typer.Option(help="Who decides about reviews.", show_default="ask in a terminal, else yes"),
    ] = None,
    inbox: Annotated[
        bool, typer.Option("--inbox", help="Answer on the approval page, in a browser.")
    ] = False,
    db: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Keep state in a SQLite file or a database's URL."),
    ] = None,
    max_bad_rate: MaxBadRateOption = None,
    confidence_level: ConfidenceLevelOption = None,
    settings: SettingsOption = None,
) -> None:
    """Watch the agent of a support desk being guarded, and the guard learning.

    Two dozen customers write to a small shop in memory. The agent's tools refund, cancel, redirect,
    delete and send mail. The embedded BIGHUB evaluates each call that changes something; you
    approve or reject the calls that need a review. Some calls turn out to be wrong later (fraud, a
    wrong order) and are reported then. The last table compares the decisions before and after.

    No account, key or network is needed: a scripted model replaces the LLM. `--model` uses a real
    one. `--inbox` prints a link to the approval page, on this machine only; the agent goes on as
    you answer there. With `--db` a second run starts with what the first one learned. The risk
    limit is looser than an engine's default (0.25 at 0.7), so that some calls soon run without
    approval.

    Exit codes: 0 done; 1 the model failed; 2 bad usage.

    **Examples**

    ```
    bighub-langgraph demo --approve yes --db demo.db
    bighub-langgraph demo --inbox
    bighub-langgraph demo --model gpt-5-mini
    ```
    """
    from langgraph.errors import GraphRecursionError
    from openai import OpenAIError

    from bighub_langgraph.cli.demo.demo_run import LIMIT, run_demo
    from bighub_langgraph.core.errors import ConfigurationError, JournalError
    from bighub_langgraph.core.redaction import mask_passwords

    if model and not os.environ.get("OPENAI_API_KEY"):
        console.fail("--model needs OPENAI_API_KEY (and OPENAI_BASE_URL for your own server)")
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    engine_settings = read_settings(settings, max_bad_rate, confidence_level, default=LIMIT)
    answer: Approve = approve or ("ask" if is_terminal else "yes")
    if inbox:
        if approve is not None:
            console.fail("pass --approve or --inbox, not both")
        _check_extra()
        answer = "page"
    try:
        run_demo(model, answer, is_default=approve is None, db=db, settings=engine_settings)
    except EOFError:
        console.fail("no answer on stdin; pass --approve yes or --approve no")
    except (ImportError, ConfigurationError) as error:
        console.fail(str(error))
    except JournalError as error:
        console.fail(mask_passwords(f"--db {db}: {error}"))
    except (OpenAIError, GraphRecursionError) as error:
        console.fail(f"the model failed: {error}", MODEL_FAILED)


def _check_extra() -> None:
    from bighub_langgraph.cli.inbox_commands import NEEDS_EXTRA

    try:
        import bighub_langgraph.approvals.web.pages  # noqa: F401
    except ImportError:
        console.fail(NEEDS_EXTRA)
