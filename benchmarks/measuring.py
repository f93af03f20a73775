"""Runs experiments, and makes a figure with its spread of the samples of all rounds."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.experiments import Experiment, Program
from benchmarks.targets import Of, Target

CHECKOUT = Path(__file__).parents[1]
QUICK_ROUNDS = 2
CUTS = 5
Samples = dict[str, list[float]]
Json = dict[str, Any]


class NotMeasured(Exception):
    """A program failed; what it said is on stderr."""


@dataclass
class Measured:
    """What came of an experiment: the samples of each round, and which program gives a series."""

    rounds: list[Samples] = field(default_factory=list)
    origins: dict[str, Program] = field(default_factory=dict)
    profiles: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """Where rooms are, whether sizes are small, and who hears of progress."""

    rooms: Path
    quick: bool
    say: Callable[[str], None]

    def measure(self, name: str, experiment: Experiment) -> Measured:
        """Run all rounds of an experiment; programs take turns at going first."""
        rounds = min(experiment.rounds, QUICK_ROUNDS) if self.quick else experiment.rounds
        found = Measured()
        for number in range(rounds):
            self.say(f"{name}, round {number + 1} of {rounds}")
            samples: Samples = {}
            turn = experiment.programs if number % 2 else experiment.programs[::-1]
            for program in turn:
                said = self._run(program)
                for series, times in said["samples"].items():
                    samples.setdefault(series, []).extend(times)
                    found.origins[series] = program
                found.profiles |= said.get("profiles", {})
            found.rounds.append(samples)
        return found

    def profile(self, target: Target, measured: Measured) -> Json | None:
        """Where the time, or the memory, of our side goes; None if the profile failed."""
        if target.ours not in measured.profiles:
            self.say(f"{target.name}, a profile")
            try:
                said = self._run(measured.origins[target.ours], profile=target.ours)
            except NotMeasured as failure:
                self.say(str(failure))
                return None
            measured.profiles |= said["profiles"]
        found: Json = measured.profiles[target.ours]
        return found

    def _run(self, program: Program, **more: Any) -> Json:
        python = program.room.python(self.rooms) if program.room else sys.executable
        options = {**program.options, **(program.quick if self.quick else {}), **more}
        command = [python, "-m", f"benchmarks.workers.{program.worker}", json.dumps(options)]
        ran = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=False)
        if ran.returncode:
            raise NotMeasured(f"`{program.worker}` ended with {ran.returncode}")
        said: Json = json.loads(ran.stdout.splitlines()[-1])
        return said


@dataclass(frozen=True)
class Figure:
    """The medians of both sides, their ratio with its quartiles, and whether it is enough."""

    ours: float
    theirs: float
    excess: float
    ratio: float
    quartiles: tuple[float, float] | None
    used: float | None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is nothing to meet."""
        return None if self.used is None else self.used <= 1


def figure(target: Target, measured: Measured) -> Figure:
    """Take a target's figure of the samples: everything is the median over paired rounds."""
    pairs = _pairs(target, measured.rounds)
    ratios = [ours / theirs for ours, theirs in pairs]
    ours, theirs = (median(side) for side in zip(*pairs, strict=True))
    excess, ratio = median(ours - theirs for ours, theirs in pairs), median(ratios)
    judged = {Of.RATIO: ratio, Of.ITSELF: ours, Of.EXCESS: excess}
    used = target.limit.used(judged[target.limit.of]) if target.limit else None
    return Figure(ours, theirs, excess, ratio, _quartiles(ratios), used)


def _pairs(
    target: Target, rounds: Sequence[Mapping[str, list[float]]]
) -> list[tuple[float, float]]:
    series = [(samples[target.ours], samples[target.theirs]) for samples in rounds]
    if len(series) == 1:
        series = list(zip(*map(_cut, series[0]), strict=True))
    return [(target.at(ours), target.at(theirs)) for ours, theirs in series]


def _cut(samples: list[float]) -> list[list[float]]:
    """Samples of a single round in parts that stand for rounds, where there are enough."""
    size = len(samples) // CUTS
    return [samples[n * size :][:size] for n in range(CUTS)] if size else [samples]


def _quartiles(ratios: list[float]) -> tuple[float, float] | None:
    if len(ratios) == 1:
        return None
    low, _, high = quantiles(ratios, n=4, method="inclusive")
    return low, high
