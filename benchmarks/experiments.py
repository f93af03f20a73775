"""The experiments: their programs, environments, rounds and options."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from benchmarks.environments import Environment

PUBLISHED = Environment("bighub-openai-0.1.0b5", ("bighub-openai==0.1.0b5",))
ADAPTERS = {"bighub_langgraph": None, "bighub_openai": PUBLISHED}
APIS, CALLS = ("sync", "async"), (1, 10)
APIS_AND_CALLS = tuple(product(APIS, CALLS))
AGENTS = ("bare", "guarded", "middleware", "middleware-embedded", "hooks", "stock")
TRACING = ("traced", "middleware")

NO_WAITS = dict.fromkeys(("model", "evaluate", "tool", "report", "ingest"), 0.0)
WAITS = {"model": 0.4, "evaluate": 0.03, "tool": 0.05, "report": 0.03, "ingest": 0.03}


@dataclass(frozen=True)
class Program:
    """A module of `benchmarks.workers` with its options.

    Attributes:
        quick: Options that replace `options` in a quick run.
        environment: Where the program runs; None for the environment of the benchmark itself.
    """

    worker: str
    options: Mapping[str, Any]
    quick: Mapping[str, Any] = field(default_factory=dict)
    environment: Environment | None = None


@dataclass(frozen=True)
class Experiment:
    """Programs that run in turn, round after round, each time in a new interpreter."""

    programs: tuple[Program, ...]
    rounds: int = 5


def _time_runs(
    worker: str, runs: int, environment: Environment | None = None, **options: Any
) -> Program:
    return Program(worker, {"runs": runs, **options}, {"runs": max(3, runs // 10)}, environment)


def _facade(api: str, calls: int, adapter: str, runs: int, **options: Any) -> Program:
    also: Sequence[str] = options.pop("also", ())
    arguments = {"api": api, "calls": calls, "adapter": adapter, "also": also}
    return _time_runs("facade", runs, ADAPTERS[adapter], **arguments, **options)


def _without_waits(api: str, calls: int) -> Experiment:
    runs = 3_000 // calls
    return Experiment(
        tuple(_facade(api, calls, adapter, runs, waits=NO_WAITS) for adapter in ADAPTERS)
    )


def _with_waits(api: str) -> Experiment:
    ours = _facade(api, 10, "bighub_langgraph", runs=4, waits=WAITS, also=["floor"])
    return Experiment((ours, _facade(api, 10, "bighub_openai", runs=4, waits=WAITS)))


def _agent(api: str, calls: int, agents: Sequence[str] = AGENTS) -> Experiment:
    # Each agent has its own interpreter, so that background work of a guard affects no other agent.
    return Experiment(
        tuple(
            _time_runs("graph", 300 // (1 + calls // 2), api=api, calls=calls, agent=agent)
            for agent in agents
        )
    )


_CROWD = _facade("async", 10, "bighub_langgraph", runs=4, waits=WAITS, also=["crowd"])
_HISTORIES = {"10 thousand": 10_000, "1 million": 1_000_000}
_SHORT = {"10 thousand": 1_000, "1 million": 10_000}

EXPERIMENTS = {
    **{f"facade-{api}-{calls}": _without_waits(api, calls) for api, calls in APIS_AND_CALLS},
    **{f"parallel-{api}": _with_waits(api) for api in APIS},
    "crowd": Experiment((_CROWD,)),
    **{f"agent-{api}-{calls}": _agent(api, calls) for api, calls in APIS_AND_CALLS},
    **{f"telemetry-{api}-{calls}": _agent(api, calls, TRACING) for api, calls in APIS_AND_CALLS},
    **{
        f"journal-{on}": Experiment((_time_runs("journal", runs, on=on),))
        for on, runs in {"memory": 5_000, "sqlite": 500, "postgres": 500}.items()
    },
    "engine": Experiment(
        (Program("engine", {"cases": _HISTORIES, "turns": 60}, {"cases": _SHORT, "turns": 10}),),
        rounds=1,
    ),
    "engine-memory": Experiment((_time_runs("engine_memory", 2_000),)),
    "server": Experiment(
        (Program("server", {"connections": 32, "seconds": 8}, {"seconds": 2}),), rounds=3
    ),
    "inbox": Experiment(
        (
            Program(
                "approval_page",
                {"pending": 1_000, "views": 20, "answers": 100, "pages": 50, "calls": 5_000},
                {"pending": 100, "views": 3, "answers": 10, "pages": 5, "calls": 200},
            ),
        ),
        rounds=3,
    ),
    "import": Experiment((_time_runs("imports", 5),)),
    "pending": Experiment((Program("pending", {"calls": 10_000}, {"calls": 1_000}),), rounds=1),
    **{
        f"growth-{of}": Experiment(
            (Program("growth", {"of": of, "calls": 100_000}, {"calls": 1_000}),), rounds=1
        )
        for of in ("facade", "journal", "engine")
    },
}
