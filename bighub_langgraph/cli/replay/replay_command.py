"""The `replay` command: what would BIGHUB have decided about an agent's recorded calls?"""

from pathlib import Path
from typing import Annotated

import typer

from bighub_langgraph.cli import console, options
from bighub_langgraph.cli.replay.formats import Format, read_steps
from bighub_langgraph.cli.replay.recording import InvalidEntry, RecordedCall, Step


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False)],
    *,
    file_format: Annotated[
        Format | None, typer.Option("--format", help="Detected by default.")
    ] = None,
    db: Annotated[str | None, typer.Option(help="Keep what the engine learns.")] = None,
    actor: Annotated[str, typer.Option(help="The actor of the calls.")] = "AI_AGENT",
    domain: Annotated[str, typer.Option(help="The domain in which the engine learns.")] = "replay",
    max_bad_rate: options.MaxBadRateOption = None,
    confidence_level: options.ConfidenceLevelOption = None,
    settings: options.SettingsOption = None,
    json: options.JsonOption = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at an unreadable line.")] = False,
) -> None:
    """Replay recorded agent runs in shadow mode.

    The embedded engine evaluates every recorded tool call in time order. No call is executed, and
    each recorded outcome is reported only after its call was evaluated. The table shows by tool
    what would have been executed, reviewed and blocked, how many bad calls that catches and how
    many good ones it holds up, compared with executing everything and reviewing everything.

    FILE holds JSON lines or one JSON document, in one of four formats:

    - **compact**: `{"trajectory_id", "calls": [{"tool", "arguments", ...}]}`, each call with the
      labels `state_changing`, `error` and `as_intended` as far as they are known
    - **chat**: OpenAI chat messages with `tool_calls`, a list or `{"messages": [...]}`
    - **responses**: OpenAI Responses items, a list or `{"input": [...]}` and `{"output": [...]}`
    - **tau-bench**: the results of tau-bench as published; a call that changes state was as
      intended if it equals one of the task's reference calls

    A line that cannot be read is reported and skipped. Exit codes: 0 done; 2 bad usage, nothing
    readable, or an unreadable line with `--strict`.

    **Examples**

    ```
    bighub-langgraph replay runs.jsonl --json > report.json
    bighub-langgraph replay chat.json --format chat --db seen.db --domain support
    bighub-langgraph replay runs.jsonl --max-bad-rate 0.2 --confidence-level 0.8
    ```
    """
    from rich.progress import track

    from bighub_langgraph import BighubGuard, LocalBighub, ToolPolicy
    from bighub_langgraph.cli.replay.report import create_document, format_report
    from bighub_langgraph.cli.replay.shadow import evaluate_steps, find_target, find_value

    engine_settings = options.read_settings(settings, max_bad_rate, confidence_level)
    steps, invalid_entries = _read_file(file, file_format, strict=strict)
    policy = ToolPolicy(value_from_args=find_value, target_from_args=find_target)
    tools = dict.fromkeys((step.tool for step in steps if isinstance(step, RecordedCall)), policy)
    with (
        options.exit_on_database_error(db),
        LocalBighub(options.database_url(db), settings=engine_settings) as client,
        BighubGuard(bighub=client, actor=actor, domain=domain, tools=tools, retries=0) as guard,
    ):
        stderr = console.stderr()
        bar = track(steps, "steps", console=stderr, transient=True) if stderr.is_terminal else steps
        calls = list(evaluate_steps(bar, guard))
    if json:
        console.print_json(create_document(calls, invalid_entries))
    else:
        console.stdout().print(format_report(calls))


def _read_file(
    file: Path, file_format: Format | None, *, strict: bool
) -> tuple[list[Step], list[InvalidEntry]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        console.fail(f"{file}: {error}")
    steps: list[Step] = []
    invalid_entries: list[InvalidEntry] = []
    for step in read_steps(text, name=file.stem, file_format=file_format):
        if not isinstance(step, InvalidEntry):
            steps.append(step)
            continue
        invalid_entries.append(step)
        message = f"{file}:{step.line}: {step.reason}"
        if strict:
            console.fail(message)
        console.print_line(f"skipped {message}", to=console.stderr())
    if not steps:
        console.fail(f"{file}: no tool call could be read")
    return steps, invalid_entries
