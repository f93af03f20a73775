"""Which programs measure, where, how often and with which options."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from benchmarks.rooms import Room

PUBLISHED = Room("bighub-openai-0.1.0b5", ("bighub-openai==0.1.0b5",))
ADAPTERS = {"bighub_langgraph": None, "bighub_openai": PUBLISHED}
COLOURS, CALLS = ("sync", "async"), (1, 10)
BOTH_WAYS = tuple(product(COLOURS, CALLS))
AGENTS = ("bare", "guarded", "middleware", "middleware-embedded", "hooks", "stock")

NO_WAITS = dict.fromkeys(("model", "evaluate", "tool", "report", "ingest"), 0.0)
WAITS = {"model": 0.4, "evaluate": 0.03, "tool": 0.05, "report": 0.03, "ingest": 0.03}


@dataclass(frozen=True)
class Program:
    """A module of `benchmarks.workers` with its options; `quick` says what is smaller if asked.

    It runs in the room's environment, or without one in that of the benchmark itself.
    """

    worker: str
    options: Mapping[str, Any]
    quick: Mapping[str, Any] = field(default_factory=dict)
    room: Room | None = None


@dataclass(frozen=True)
class Experiment:
    """Programs that run in turn, round after round, each time in a fresh interpreter."""

    programs: tuple[Program, ...]
    rounds: int = 5


def _timed(worker: str, runs: int, room: Room | None = None, **options: Any) -> Program:
    return Program(worker, {"runs": runs, **options}, {"runs": max(3, runs // 10)}, room)


def _facade(colour: str, calls: int, adapter: str, runs: int, **options: Any) -> Program:
    also: Sequence[str] = options.pop("also", ())
    talk = {"colour": colour, "calls": calls, "adapter": adapter, "also": also}
    return _timed("facade", runs, ADAPTERS[adapter], **talk, **options)


def _at_once(colour: str, calls: int) -> Experiment:
    runs = 3_000 // calls
    return Experiment(
        tuple(_facade(colour, calls, adapter, runs, waits=NO_WAITS) for adapter in ADAPTERS)
    )


def _at_work(colour: str) -> Experiment:
    ours = _facade(colour, 10, "bighub_langgraph", runs=4, waits=WAITS, also=["floor"])
    return Experiment((ours, _facade(colour, 10, "bighub_openai", runs=4, waits=WAITS)))


def _agent(colour: str, calls: int) -> Experiment:
    # Each in an interpreter of its own: what a guard does in the background hits nobody else.
    return Experiment(
        tuple(
            _timed("graph", 300 // (1 + calls // 2), colour=colour, calls=calls, agent=agent)
            for agent in AGENTS
        )
    )


_CROWD = _facade("async", 10, "bighub_langgraph", runs=4, waits=WAITS, also=["crowd"])
_HISTORIES = {"10 thousand": 10_000, "1 million": 1_000_000}
_SHORT = {"10 thousand": 1_000, "1 million": 10_000}

EXPERIMENTS = {
    **{f"facade-{colour}-{calls}": _at_once(colour, calls) for colour, calls in BOTH_WAYS},
    **{f"parallel-{colour}": _at_work(colour) for colour in COLOURS},
    "crowd": Experiment((_CROWD,)),
    **{f"agent-{colour}-{calls}": _agent(colour, calls) for colour, calls in BOTH_WAYS},
    **{
        f"journal-{on}": Experiment((_timed("journal", runs, on=on),))
        for on, runs in {"memory": 5_000, "sqlite": 500, "postgres": 500}.items()
    },
    "engine": Experiment(
        (Program("engine", {"cases": _HISTORIES, "turns": 60}, {"cases": _SHORT, "turns": 10}),),
        rounds=1,
    ),
    "lesson": Experiment((_timed("lesson", 2_000),)),
    "server": Experiment(
        (Program("server", {"connections": 32, "seconds": 8}, {"seconds": 2}),), rounds=3
    ),
    "import": Experiment((_timed("imports", 5),)),
    "pending": Experiment((Program("pending", {"calls": 10_000}, {"calls": 1_000}),), rounds=1),
    **{
        f"growth-{of}": Experiment(
            (Program("growth", {"of": of, "calls": 100_000}, {"calls": 1_000}),), rounds=1
        )
        for of in ("facade", "journal", "engine")
    },
}
