"""`bighub-langgraph demo`: a support desk that learns from what its tool calls lead to."""

import sys
from typing import Annotated

import typer

from bighub_langgraph.cli.console import stop
from bighub_langgraph.cli.demo.approving import Approve, NobodyAnswers


def demo(
    *,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A real model, by OPENAI_API_KEY and OPENAI_BASE_URL."),
    ] = None,
    approve: Annotated[
        Approve | None,
        typer.Option(
            help="Who answers reviews: you, or always yes, or always no.",
            show_default="ask in a terminal, else yes",
        ),
    ] = None,
    db: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Keep state between runs: a SQLite file or database URL."
        ),
    ] = None,
) -> None:
    """Watch a support desk's agent being guarded, and learning.

    Two dozen customers write to a small shop that lives in memory. The agent's tools refund,
    cancel, redirect, delete and send mail. Before each call that changes something the embedded
    BIGHUB is asked; what it wants reviewed, you approve or deny. Some calls turn out wrong later
    (fraud, a wrong order) and are reported then. At the end: what the outcomes changed.

    No account, no key and no network are needed: a scripted model stands in for the LLM. `--model`
    takes a real one. With `--db` the second run starts wiser than the first.

    Exit codes: 0 done; 1 the model failed; 2 bad usage.

    **Examples**

    ```
    bighub-langgraph demo
    bighub-langgraph demo --approve yes
    bighub-langgraph demo --db demo.db
    bighub-langgraph demo --model gpt-5-mini
    ```
    """
    from bighub_langgraph.cli.demo.models import ModelFailed
    from bighub_langgraph.cli.demo.show import show
    from bighub_langgraph.core.errors import JournalError

    in_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    how = approve or (Approve.ASK if in_terminal else Approve.YES)
    try:
        show(model=model, approve=how, chosen=approve is not None, db=db)
    except NobodyAnswers:
        stop("nobody answers on stdin; pass --approve yes or --approve no")
    except JournalError as error:
        stop(f"--db {db}: {error}")
    except ModelFailed as failure:
        stop(f"the model failed: {failure}", code=1)
