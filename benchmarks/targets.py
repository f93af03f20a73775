"""What is measured against what, and how much it may take: one row a target."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from statistics import median

from benchmarks.experiments import BOTH_WAYS, COLOURS


class Of(StrEnum):
    """Which figure a limit is set to: ours over theirs, ours itself, or ours above theirs."""

    RATIO = "ratio"
    ITSELF = "itself"
    EXCESS = "excess"


@dataclass(frozen=True)
class Limit:
    """How much a figure may be at most, or has to be at least."""

    bound: float
    of: Of = Of.RATIO
    at_least: bool = False

    def used(self, figure: float) -> float:
        """How much of the limit a figure uses up: 1 at the limit, more beyond it."""
        return self.bound / figure if self.at_least else figure / self.bound


def p99(samples: Sequence[float]) -> float:
    """What one of a hundred samples exceeds."""
    return sorted(samples)[int(0.99 * len(samples))]


@dataclass(frozen=True)
class Target:
    """One figure of ours beside that of a named alternative, both from one experiment.

    Attributes:
        ours: Which samples of the experiment are ours, and `theirs` the alternative's.
        against: The alternative in words.
        limit: None where the figure is only stated.
        at: What is taken of the samples of a round.
    """

    name: str
    what: str
    experiment: str
    ours: str
    against: str
    theirs: str
    limit: Limit | None = None
    unit: str = "ms"
    at: Callable[[Sequence[float]], float] = median

    @property
    def group(self) -> str:
        """The first word of the name."""
        return self.name.partition("-")[0]


_PUBLISHED, _US = "bighub-openai 0.1.0b5", "bighub_langgraph"
_NUMBER = {1: "one call", 10: "10 calls"}
_WORKING = "10 parallel calls, model 400 ms twice, evaluate 30, tool 50, report 30, ingest 30"


def _facade(colour: str, calls: int) -> Target:
    name = f"facade-{colour}-{calls}"
    what = f"facade, fakes that answer at once, {_NUMBER[calls]}, {colour}"
    return Target(name, what, name, _US, _PUBLISHED, "bighub_openai", Limit(1.0))


def _parallel(colour: str) -> tuple[Target, ...]:
    name = f"parallel-{colour}"
    what = f"facade, {_WORKING}, {colour}"
    return (
        Target(name, what, name, _US, "the floor: nothing but these waits", "floor", Limit(1.04)),
        Target(f"{name}-published", what, name, _US, _PUBLISHED, "bighub_openai"),
    )


_STOCK = "HumanInTheLoopMiddleware that asks nobody"
_EMBEDDED = "the embedded engine in memory"
_OURS = "create_agent with BighubMiddleware"
# The middleware with a client that answers at once shows its own cost; with an engine, all of it.
_TURNS = (
    ("agent", f"create_guarded_agent, {_EMBEDDED}", "create_agent without a guard", 1.5),
    ("middleware", f"{_OURS}, a client that answers at once", _STOCK, 1.25),
    ("middleware-embedded", f"{_OURS}, {_EMBEDDED}", _STOCK, 1.25),
    ("hooks", "create_agent with a middleware of the same hooks, empty", _STOCK, None),
)


def _turns() -> Iterator[Target]:
    for (name, what, against, most), (colour, calls) in product(_TURNS, BOTH_WAYS):
        size = f"{colour}-{calls}"
        turn = f"a turn of {what}, no checkpointer, {_NUMBER[calls]}, {colour}"
        ours, theirs = ("guarded", "bare") if name == "agent" else (name, "stock")
        limit = None if most is None else Limit(most)
        yield Target(f"{name}-{size}", turn, f"agent-{size}", ours, against, theirs, limit)


def _engine(cases: str) -> tuple[Target, ...]:
    what = f"embedded engine on a file, one decision with its commit, after {cases} cases"
    name, bare = f"engine-{cases.replace(' ', '-')}", "a bare SQLite commit"
    half = Limit(0.5, Of.ITSELF)
    return (
        Target(f"{name}-p50", f"{what}, p50", "engine", cases, bare, "bare", half),
        Target(f"{name}-p99", f"{what}, p99", "engine", cases, bare, "bare", at=p99),
    )


_FLAT = Limit(1.0, Of.EXCESS)

TARGETS = (
    *(_facade(colour, calls) for colour, calls in BOTH_WAYS),
    *(target for colour in COLOURS for target in _parallel(colour)),
    Target(
        "crowd",
        f"100 runs at once, {_WORKING}, async, one process",
        "crowd",
        "crowd",
        "one such run",
        _US,
        Limit(1.15),
    ),
    *_turns(),
    Target(
        "journal-memory",
        "journal in memory, one call from claim to outcome",
        "journal-memory",
        "journal",
        "a dictionary write",
        "dictionary",
        Limit(0.02, Of.ITSELF),
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
        "embedded engine in memory, one decision and what it learns of its outcome",
        "lesson",
        "engine",
        "one row in a bare SQLite database in memory",
        "bare",
    ),
    Target(
        "server-rate",
        "server on a file, 32 connections, load from the same machine",
        "server",
        "served a second",
        "the engine in process",
        "alone a second",
        Limit(1_000, Of.ITSELF, at_least=True),
        unit="decisions a second",
    ),
    Target(
        "server-p99",
        "server on a file, 32 connections, p99",
        "server",
        "served",
        "the engine in process",
        "alone",
        Limit(50, Of.ITSELF),
        at=p99,
    ),
    Target(
        "import-package",
        "an interpreter with `import bighub_langgraph`, start to end",
        "import",
        "package",
        "a bare interpreter",
        "interpreter",
        Limit(20, Of.EXCESS),
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
        "their words as dictionaries",
        "dictionaries",
        unit="MB",
    ),
    Target(
        "memory-pending-file",
        "10,000 pending calls in a journal on SQLite, its file",
        "pending",
        "file",
        "their words as lines of JSON",
        "lines",
        unit="MB",
    ),
    Target(
        "memory-pending-beside",
        "10,000 pending calls in a journal on SQLite, this process",
        "pending",
        "beside a file",
        "their words as dictionaries",
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
    Target(
        "memory-flat-facade",
        "100,000 calls through the facade, journal in memory, this process in the last third",
        "growth-facade",
        "last",
        "itself in the middle third",
        "middle",
        _FLAT,
        unit="MB",
    ),
    Target(
        "memory-flat-journal",
        "100,000 calls through a journal on a file, this process in the last third",
        "growth-journal",
        "last",
        "itself in the middle third",
        "middle",
        _FLAT,
        unit="MB",
    ),
    Target(
        "memory-flat-engine",
        "100,000 calls through the embedded engine on a file, this process in the last third",
        "growth-engine",
        "last",
        "itself in the middle third",
        "middle",
        _FLAT,
        unit="MB",
    ),
)


def chosen(names: Sequence[str]) -> list[Target]:
    """The targets of these names and groups; all of them without any."""
    return [target for target in TARGETS if not names or {target.name, target.group} & set(names)]


def known() -> list[str]:
    """The names of groups and targets, as one may choose them."""
    return list(dict.fromkeys(name for each in TARGETS for name in (each.group, each.name)))
