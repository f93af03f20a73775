"""The `doctor` command: check the setup and list what needs a person's attention."""

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import distributions
from platform import python_version
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bighub_langgraph.cli import console, options
from bighub_langgraph.core.models import WAITING_STATES

if TYPE_CHECKING:
    from bighub_langgraph.journal.sql import Journal

DISTRIBUTIONS = (
    *("bighub-langgraph", "bighub", "langgraph", "langgraph-prebuilt", "langgraph-checkpoint"),
    *("langchain-core", "langchain", "openai", "SQLAlchemy", "psycopg"),
)
MAX_CLOCK_SKEW = 5.0
MAX_DELIVERY_DELAY = 3600.0
LONG_WAIT = 7 * 86_400.0

Health = Literal["ok", "warning", "problem"]
STYLES: dict[Health, str] = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check; a problem needs a person."""

    subject: str
    health: Health
    details: str


def doctor(
    location: options.JournalOption = options.DEFAULT_JOURNAL,
    bighub: options.BighubOption = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not contact BIGHUB.")] = False,
    json: options.JsonOption = False,
) -> None:
    """Check the keys, BIGHUB, the journal, its clock, calls with unknown outcomes, the outbox.

    Calls that wait for an approval are counted, and are no problem. Those that wait for more than a
    week without an expiry are named.

    **Examples**

    ```
    bighub-langgraph doctor --journal postgresql+psycopg://me@db/agents --json
    ```

    Exit codes: 0 when there is no problem, 1 when a problem needs a person, 2 for bad usage.
    """
    with options.open_journal(location) as journal:
        results = [_check_versions(), *_check_service(bighub, offline=offline)]
        results += [*_check_journal(journal), *_check_calls(journal), *_check_outbox(journal)]
    if json:
        console.print_json([asdict(result) for result in results])
    else:
        for result in results:
            health = (f"{result.health:>7}", STYLES[result.health])
            console.print_line(health, f"  {result.subject}: {result.details}")
    has_problem = any(result.health == "problem" for result in results)
    raise typer.Exit(console.NOT_DONE if has_problem else 0)


def _check_versions() -> CheckResult:
    versions = {distribution.name: distribution.version for distribution in distributions()}
    listing = [f"{name} {versions[name]}" for name in DISTRIBUTIONS if name in versions]
    return CheckResult("versions", "ok", ", ".join([f"Python {python_version()}", *listing]))


def _check_service(url: str | None, *, offline: bool) -> Iterator[CheckResult]:
    key = os.environ.get("BIGHUB_API_KEY")
    url = url or os.environ.get("BIGHUB_BASE_URL")
    if not key and not url:
        message = "neither BIGHUB_API_KEY nor BIGHUB_BASE_URL is set; pass bighub= to each guard"
        yield CheckResult("keys", "warning", message)
        return
    yield CheckResult("keys", "ok", f"BIGHUB_API_KEY is {'set' if key else 'not set'}")
    if not offline:
        yield _contact_service(url)


def _contact_service(url: str | None) -> CheckResult:
    """List the open approvals, to check that BIGHUB responds and accepts the key."""
    from bighub_langgraph.bighub.client_factory import open_clients
    from bighub_langgraph.bighub.retries import classify_error
    from bighub_langgraph.core.errors import ConfigurationError, EngineAuthError, EngineUnavailable

    started_at = time.monotonic()
    try:
        pair = open_clients(url, retries=0)
    except ConfigurationError as error:
        return CheckResult("BIGHUB", "problem", str(error))
    try:
        pair.sync_client.approvals.list(limit=1)
    except Exception as error:  # noqa: BLE001 - every failure is a result
        engine_error = classify_error(error)
        if isinstance(engine_error, EngineUnavailable | EngineAuthError):
            return CheckResult("BIGHUB", "problem", str(engine_error))
    finally:
        pair.close()
    milliseconds = (time.monotonic() - started_at) * 1000
    return CheckResult("BIGHUB", "ok", f"responds in {milliseconds:.0f} ms")


def _check_journal(journal: "Journal") -> Iterator[CheckResult]:
    yield CheckResult(
        "journal", "ok", f"{journal.database.name}, schema version {journal.schema_version}"
    )
    skew = journal.database.clock_skew
    health: Health = "ok" if abs(skew) < MAX_CLOCK_SKEW else "problem"
    details = f"the database's clock is {skew:+.1f} seconds ahead of this machine's"
    yield CheckResult("clock", health, details)
    if reason := journal.database.durability_warning():
        yield CheckResult("durability", "problem", reason)


def _check_calls(journal: "Journal") -> Iterator[CheckResult]:
    counts = sorted(journal.admin.counts().items())
    listing = ", ".join(f"{count} {state}" for state, count in counts)
    yield CheckResult("calls", "ok", listing or "none yet")
    waiting_calls = journal.admin.calls(states=WAITING_STATES, longer_than=LONG_WAIT)
    for view in (view for view in waiting_calls if view.record.expires_at is None):
        record = view.record
        details = (
            f"{console.shorten_key(record.key)} in thread {record.thread} since "
            f"{console.format_time(view.updated_at)}, and has no expiry; answer it, or end it with "
            "`calls cancel`"
        )
        yield CheckResult(f"{record.tool} waits", "warning", details)
    for view in journal.admin.unknown_outcomes():
        record = view.record
        since = console.format_time(view.updated_at)
        details = (
            f"{console.shorten_key(record.key)} in thread {record.thread} since {since}: "
            f"{record.reason or 'its process is gone'}; see `calls show`, then `calls resolve`"
        )
        yield CheckResult(f"outcome of {record.tool} is unknown", "problem", details)


def _check_outbox(journal: "Journal") -> Iterator[CheckResult]:
    pending = journal.pending_count()
    health: Health = "ok"
    details = "everything is delivered"
    for entry in journal.admin.outbox(dead_letter=False, limit=1):
        is_late = time.time() - entry.queued_at > MAX_DELIVERY_DELAY
        health = "problem" if is_late else "warning"
        since = console.format_time(entry.queued_at)
        details = (
            f"{pending} entries pending, the oldest since {since}: {entry.error or 'not tried'}"
        )
    yield CheckResult("outbox", health, details)
    if count := journal.pending_count(include_dead_letters=True) - pending:
        details = f"{count} entries were refused too often; see `outbox list`, `outbox requeue`"
        yield CheckResult("dead letters", "problem", details)
