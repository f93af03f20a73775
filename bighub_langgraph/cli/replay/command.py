"""`bighub-langgraph replay`: what would BIGHUB have said to the calls an agent once made?"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from bighub_langgraph.cli.console import progress, stderr, stdout, stop
from bighub_langgraph.cli.database import embedded_engine
from bighub_langgraph.cli.replay.formats import Format, read_steps
from bighub_langgraph.cli.replay.recording import Known, Proposed
from bighub_langgraph.cli.replay.records import BadLine
from bighub_langgraph.cli.replay.shadow import Judged

Steps = Sequence[Proposed | Known]


def replay(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="The recording.", exists=True, dir_okay=False),
    ],
    *,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="Read it as this format instead of telling by its shape."),
    ] = None,
    db: Annotated[
        str | None,
        typer.Option(help="Keep what the engine learns: a database URL or a SQLite file."),
    ] = None,
    actor: Annotated[str, typer.Option(help="Who acted, for the engine.")] = "AI_AGENT",
    domain: Annotated[str, typer.Option(help="The domain the engine learns in.")] = "replay",
    as_document: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of tables.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first line that cannot be read.")
    ] = False,
) -> None:
    """Replay recorded agent runs in shadow mode.

    Asks the embedded engine about every recorded tool call in time order, runs none of them, and
    tells it each recorded outcome only after its call was judged. Prints by tool what would have
    been executed, reviewed and blocked, how many bad calls that catches and how many good ones it
    holds up, next to executing everything and reviewing everything.

    FILE holds JSON lines or one JSON document, in one of three formats:

    - **compact**: `{"trajectory_id", "calls": [{"tool", "arguments", ...}]}`, each call with the
      labels `state_changing`, `error` and `as_intended` as far as they are known
    - **chat**: OpenAI chat messages with `tool_calls`, a list or `{"messages": [...]}`
    - **responses**: OpenAI Responses items, a list or `{"input": [...]}` and `{"output": [...]}`

    A line that cannot be read is reported and skipped. Exit codes: 0 done; 2 bad usage, nothing
    readable, or a bad line under `--strict`.

    **Examples**

    ```
    bighub-langgraph replay runs.jsonl
    bighub-langgraph replay runs.jsonl --json > report.json
    bighub-langgraph replay chat.json --format chat --db seen.db --domain support
    ```
    """
    steps, bad_lines = _read(file, form, strict=strict)
    judged = _judge(steps, db, actor=actor, domain=domain)
    if as_document:
        from bighub_langgraph.cli.replay.as_json import as_json

        print(json.dumps(as_json(judged, bad_lines)))
    else:
        from bighub_langgraph.cli.replay.table import tables

        stdout().print(tables(judged))


def _read(file: Path, form: Format | None, *, strict: bool) -> tuple[Steps, list[BadLine]]:
    steps: list[Proposed | Known] = []
    bad_lines: list[BadLine] = []
    for step in read_steps(_text(file), name=file.stem, forced=form):
        if not isinstance(step, BadLine):
            steps.append(step)
            continue
        bad_lines.append(step)
        report = f"{file}:{step.line}: {step.reason}"
        if strict:
            stop(report)
        stderr().print(f"skipped {report}", markup=False, soft_wrap=True)
    if not steps:
        stop(f"{file}: no tool call could be read")
    return steps, bad_lines


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        stop(f"{file}: {error}")


def _judge(steps: Steps, db: str | None, *, actor: str, domain: str) -> list[Judged]:
    from bighub_langgraph.bighub.client_factory import open_clients
    from bighub_langgraph.cli.replay.observer import Observer
    from bighub_langgraph.cli.replay.shadow import shadow

    tools = {step.call.tool for step in steps}
    with embedded_engine(db) as client:
        engine = open_clients(client).build_engine(retries=0)
        observer = Observer(engine, tools=tools, actor=actor, domain=domain)
        return list(shadow(_watched(steps), ask=observer.ask, tell=observer.tell))


def _watched(steps: Steps) -> Iterator[Proposed | Known]:
    """Show on a terminal how far the replay is."""
    with progress(stderr()) as bar:
        task = bar.add_task("calls", total=sum(isinstance(step, Proposed) for step in steps))
        for step in steps:
            yield step
            bar.advance(task, isinstance(step, Proposed))
