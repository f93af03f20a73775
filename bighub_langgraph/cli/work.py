"""The `work` command: resume an agent's threads when people have answered."""

import asyncio
import inspect
import logging
import pkgutil
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    contextmanager,
)
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bighub_langgraph.cli import console
from bighub_langgraph.cli.options import LogFormatOption
from bighub_langgraph.core.errors import BighubGuardError
from bighub_langgraph.core.redaction import redact_exception
from bighub_langgraph.json_logs import JsonFormatter, LogFormat

if TYPE_CHECKING:
    from bighub_langgraph.approvals.resume_worker import ApprovalWorker

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def work(  # noqa: PLR0917 - typer makes options of them
    agent: Annotated[
        str,
        typer.Argument(
            help="MODULE:OBJECT of a graph, a worker, or a function that returns a worker."
        ),
    ],
    guard: Annotated[
        str | None,
        typer.Option(help="Where a graph's guard is.", show_default="`guard` in its module"),
    ] = None,
    poll: Annotated[
        float, typer.Option(min=0.01, help="Seconds to wait when there is nothing to do.")
    ] = 2.0,
    concurrency: Annotated[int, typer.Option(min=1, help="How many threads run at a time.")] = 4,
    once: Annotated[bool, typer.Option("--once", help="End when no thread can go on.")] = False,
    log_format: LogFormatOption = "text",
) -> None:
    """Resume an agent's threads when their calls are answered, until SIGTERM or Ctrl-C.

    On a signal the threads that run come to their end or to a question first; a second signal ends
    the process at once, and another worker goes on. A function that returns a worker may be a
    coroutine function or a context manager, also an async one.

    **Examples**

    ```
    bighub-langgraph work support.agent:graph
    bighub-langgraph work support.agent:graph --guard support.guards:refunds --concurrency 8
    bighub-langgraph work support.agent:create_worker --once --log-format json
    ```

    Exit codes: 0 done, 1 with `--once` when a thread failed, 2 for bad usage.
    """
    _configure_logging(log_format)
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
    source = _load_worker(agent, guard, poll, concurrency)
    is_async = isinstance(source, AbstractAsyncContextManager) or inspect.isawaitable(source)
    if is_async:
        worker = asyncio.run(_arun(agent, source, once=once))
    else:
        worker = _run(agent, source, once=once)
    failing_threads = worker.list_failing_threads()
    for thread in failing_threads:
        console.print_line(f"{thread.thread} failed {thread.tries} times: {thread.error}")
    raise typer.Exit(console.NOT_DONE if once and failing_threads else 0)


def _load_worker(agent: str, guard: str | None, poll: float, concurrency: int) -> Any:
    """Return a worker, an awaitable of one, or a context manager that opens one."""
    from bighub_langgraph.approvals.resume_worker import ApprovalWorker

    target = _load(agent)
    if hasattr(target, "get_state"):
        own_guard = _load(guard or f"{agent.partition(':')[0]}:guard")
        target = ApprovalWorker(target, own_guard, poll=poll, concurrency=concurrency)
    if not callable(target):
        return target
    with _exit_on_error_of(agent):
        return target()


def _configure_logging(log_format: LogFormat) -> None:
    handler = logging.StreamHandler()
    is_json = log_format == "json"
    handler.setFormatter(JsonFormatter() if is_json else logging.Formatter("%(message)s"))
    logging.basicConfig(handlers=[handler])  # of others, warnings and errors
    logging.getLogger("bighub_langgraph").setLevel(logging.INFO)
    logging.captureWarnings(is_json)


def _load(name: str) -> Any:
    """Import an object by `module:object`; exit with code 2 if there is none."""
    if not all(name.partition(":")):
        console.fail(f"{name} names no object: pass MODULE:OBJECT, such as support.agent:graph")
    try:
        with _exit_on_error_of(name, but=(ImportError, AttributeError, ValueError)):
            return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        console.fail(
            f"{name} is not the MODULE:OBJECT of something that exists: {error}; modules are "
            "imported from the current directory and the environment"
        )


@contextmanager
def _exit_on_error_of(name: str, *, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Exit with code 2 where an object of the user's raises an error; it says what and where."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (BighubGuardError, *but)):
            raise
        place = traceback.extract_tb(sys.exc_info()[2])[-1]
        where = f"{place.filename}, line {place.lineno}"
        console.fail(f"{name} failed with {redact_exception(error)} ({where})")


def _run(name: str, source: Any, *, once: bool) -> "ApprovalWorker":
    with ExitStack() as stack:
        is_context = isinstance(source, AbstractContextManager)
        with _exit_on_error_of(name):
            target = stack.enter_context(source) if is_context else source
        worker = _check_and_stop_on_signals(target)
        worker.run(once=once)
    return worker


async def _arun(name: str, source: Any, *, once: bool) -> "ApprovalWorker":
    async with AsyncExitStack() as stack:
        is_context = isinstance(source, AbstractAsyncContextManager)
        with _exit_on_error_of(name):
            target = await (stack.enter_async_context(source) if is_context else source)
        worker = _check_and_stop_on_signals(target)
        await worker.arun(once=once)
    return worker


def _check_and_stop_on_signals(worker: Any) -> "ApprovalWorker":
    """Return a worker that the first signal stops; the second one ends the process."""
    from bighub_langgraph.approvals.resume_worker import ApprovalWorker

    if not isinstance(worker, ApprovalWorker):
        console.fail(
            "a compiled graph, an ApprovalWorker or a function that returns one is needed, not "
            f"{type(worker).__name__}"
        )

    def stop(*_: object) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        worker.stop()

    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    return worker
