"""The targets: what is measured, against which alternative, and with which limit."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from statistics import median

from benchmarks.experiments import APIS, APIS_AND_CALLS


class Basis(StrEnum):
    """The value that a limit applies to: ours divided by theirs, ours, or ours minus theirs."""

    RATIO = "ratio"
    OURS = "ours"
    EXCESS = "excess"


@dataclass(frozen=True)
class Limit:
    """The maximum of a value, or its minimum with `at_least`."""

    bound: float
    basis: Basis = Basis.RATIO
    at_least: bool = False

    def usage_of(self, value: float) -> float:
        """How much of the limit a value uses up: 1 at the limit, more beyond it."""
        return self.bound / value if self.at_least else value / self.bound


def p99(samples: Sequence[float]) -> float:
    """The 99th percentile."""
    return sorted(samples)[int(0.99 * len(samples))]


@dataclass(frozen=True)
class Target:
    """A figure of ours beside that of a named alternative, both from one experiment.

    Attributes:
        ours: The series of the experiment that is ours; `theirs` is that of the alternative.
        limit: None for a figure without a limit.
        statistic: Reduces the samples of a round to one value.
    """

    name: str
    description: str
    experiment: str
    ours: str
    alternative: str
    theirs: str
    limit: Limit | None = None
    unit: str = "ms"
    statistic: Callable[[Sequence[float]], float] = median

    @property
    def group(self) -> str:
        """The first word of the name."""
        return self.name.partition("-")[0]


_PUBLISHED, _PACKAGE = "bighub-openai 0.1.0b5", "bighub_langgraph"
_CALL_COUNTS = {1: "one call", 10: "10 calls"}
_WAITING = "10 parallel calls, model 400 ms twice, evaluate 30, tool 50, report 30, ingest 30"


def _facade(api: str, calls: int) -> Target:
    name = f"facade-{api}-{calls}"
    description = f"facade, fakes that respond at once, {_CALL_COUNTS[calls]}, {api}"
    return Target(name, description, name, _PACKAGE, _PUBLISHED, "bighub_openai", Limit(1.0))


def _parallel(api: str) -> tuple[Target, ...]:
    name = f"parallel-{api}"
    description = f"facade, {_WAITING}, {api}"
    return (
        Target(
            name,
            description,
            name,
            _PACKAGE,
            "the floor: nothing but these waits",
            "floor",
            Limit(1.04),
        ),
        Target(f"{name}-published", description, name, _PACKAGE, _PUBLISHED, "bighub_openai"),
    )


_STOCK = "HumanInTheLoopMiddleware that lets every call run"
_EMBEDDED = "the embedded engine in memory"
_OURS = "create_agent with BighubMiddleware"
# With a client that responds at once, the middleware's own cost; with the engine, the total cost.
_TURNS = (
    ("agent", f"create_guarded_agent, {_EMBEDDED}", "create_agent without a guard", 1.5),
    ("middleware", f"{_OURS}, a client that responds at once", _STOCK, 1.25),
    ("middleware-embedded", f"{_OURS}, {_EMBEDDED}", _STOCK, 1.25),
    ("hooks", "create_agent with a middleware of the same hooks, empty", _STOCK, None),
)


def _turns() -> Iterator[Target]:
    for (name, description, alternative, maximum), (api, calls) in product(_TURNS, APIS_AND_CALLS):
        size = f"{api}-{calls}"
        turn = f"a turn of {description}, no checkpointer, {_CALL_COUNTS[calls]}, {api}"
        ours, theirs = ("guarded", "bare") if name == "agent" else (name, "stock")
        limit = None if maximum is None else Limit(maximum)
        yield Target(f"{name}-{size}", turn, f"agent-{size}", ours, alternative, theirs, limit)


def _telemetry(api: str, calls: int) -> Target:
    name = f"telemetry-{api}-{calls}"
    description = (
        f"a turn of {_OURS}, a client that responds at once, with spans to OpenTelemetry's SDK, "
        f"{_CALL_COUNTS[calls]}, {api}"
    )
    return Target(name, description, name, "traced", "itself without a provider", "middleware")


def _engine(cases: str) -> tuple[Target, ...]:
    description = f"embedded engine on a file, one decision with its commit, after {cases} cases"
    name, bare = f"engine-{cases.replace(' ', '-')}", "a bare SQLite commit"
    half = Limit(0.5, Basis.OURS)
    return (
        Target(f"{name}-p50", f"{description}, p50", "engine", cases, bare, "bare", half),
        Target(f"{name}-p99", f"{description}, p99", "engine", cases, bare, "bare", statistic=p99),
    )


def _flat_memory(side: str, how: str) -> Target:
    """The target of memory that stops growing while 100,000 calls are made."""
    return Target(
        f"memory-flat-{side}",
        f"100,000 calls {how}, this process in the last third",
        f"growth-{side}",
        "last",
        "itself in the middle third",
        "middle",
        Limit(1.0, Basis.EXCESS),
        unit="MB",
    )


TARGETS = (
    *(_facade(api, calls) for api, calls in APIS_AND_CALLS),
    *(target for api in APIS for target in _parallel(api)),
    Target(
        "crowd",
        f"100 runs at once, {_WAITING}, async, one process",
        "crowd",
        "crowd",
        "one such run",
        _PACKAGE,
        Limit(1.15),
    ),
    *_turns(),
    *(_telemetry(api, calls) for api, calls in APIS_AND_CALLS),
    Target(
        "journal-memory",
        "journal in memory, one call from claim to outcome",
        "journal-memory",
        "journal",
        "a dictionary write",
        "dictionary",
        Limit(0.02, Basis.OURS),
    ),
    Target(
        "journal-sqlite",
        "journal on SQLite FULL, claim, finish and outcome",
        "journal-sqlite",
        "journal",
        "two commits of the same rows by sqlite3",
        "raw",
        Limit(1.6),
    ),
    Target(
        "journal-postgres",
        "journal on PostgreSQL, claim, finish and outcome",
        "journal-postgres",
        "journal",
        "two commits of the same rows by psycopg",
        "raw",
        Limit(1.6),
    ),
    *_engine("10 thousand"),
    *_engine("1 million"),
    Target(
        "engine-growth",
        "embedded engine, one decision after 1 million cases, p50",
        "engine",
        "1 million",
        "itself after 10 thousand",
        "10 thousand",
        Limit(1.3),
    ),
    Target(
        "engine-memory",
        "embedded engine in memory, one decision and training on its outcome",
        "engine-memory",
        "engine",
        "one row in a bare SQLite database in memory",
        "bare",
    ),
    Target(
        "server-rate",
        "server on a file, 32 connections, load from the same machine",
        "server",
        "served per second",
        "the engine in process",
        "alone per second",
        Limit(1_000, Basis.OURS, at_least=True),
        unit="decisions per second",
    ),
    Target(
        "server-p99",
        "server on a file, 32 connections, p99",
        "server",
        "served",
        "the engine in process",
        "alone",
        Limit(50, Basis.OURS),
        statistic=p99,
    ),
    Target(
        "inbox-page",
        "approval page with 1,000 pending calls, the first page of the inbox",
        "inbox",
        "many pending",
        "itself with 10 pending calls",
        "few pending",
        Limit(1_000, Basis.OURS),
    ),
    Target(
        "inbox-answer",
        "approval page with 1,000 pending calls, an answer, p99",
        "inbox",
        "answered",
        "ApprovalInbox.answer in process",
        "in process",
        Limit(200, Basis.OURS),
        statistic=p99,
    ),
    Target(
        "inbox-decisions",
        "journal on a file, calls from decision to outcome, while 50 inboxes are open",
        "inbox",
        "beside pages per second",
        "itself without open pages",
        "alone per second",
        Limit(0.9, at_least=True),
        unit="calls per second",
    ),
    Target(
        "import-package",
        "an interpreter with `import bighub_langgraph`, start to end",
        "import",
        "package",
        "a bare interpreter",
        "interpreter",
        Limit(20, Basis.EXCESS),
    ),
    Target(
        "import-facade",
        "an interpreter with `from bighub_langgraph import BighubOpenAI`, start to end",
        "import",
        "facade",
        "one with `import openai`",
        "openai",
        Limit(0.4),
    ),
    Target(
        "memory-pending",
        "10,000 pending calls in the journal in memory",
        "pending",
        "in memory",
        "their data as dictionaries",
        "dictionaries",
        unit="MB",
    ),
    Target(
        "memory-pending-file",
        "10,000 pending calls in a journal on SQLite, its file",
        "pending",
        "file",
        "their data as lines of JSON",
        "lines",
        unit="MB",
    ),
    Target(
        "memory-pending-beside",
        "10,000 pending calls in a journal on SQLite, this process",
        "pending",
        "beside a file",
        "their data as dictionaries",
        "dictionaries",
        unit="MB",
    ),
    Target(
        "memory-engine",
        "embedded engine on a file with 1 million cases, this process",
        "engine",
        "1 million memory",
        "itself with 10 thousand",
        "10 thousand memory",
        unit="MB",
    ),
    Target(
        "memory-engine-file",
        "embedded engine with 1 million cases, its file",
        "engine",
        "1 million file",
        "itself with 10 thousand",
        "10 thousand file",
        unit="MB",
    ),
    _flat_memory("facade", "through the facade, journal in memory"),
    _flat_memory("journal", "through a journal on a file"),
    _flat_memory("engine", "through the embedded engine on a file"),
)


def select_targets(names: Sequence[str]) -> list[Target]:
    """The targets with these names or groups; all targets if there are no names."""
    return [target for target in TARGETS if not names or {target.name, target.group} & set(names)]


def target_names() -> list[str]:
    """The names of all groups and targets."""
    return list(dict.fromkeys(name for target in TARGETS for name in (target.group, target.name)))
