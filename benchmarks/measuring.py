"""Runs experiments, and computes a figure with its spread from the samples of all rounds."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.experiments import Experiment, Program
from benchmarks.targets import Basis, Target

CHECKOUT = Path(__file__).parents[1]
QUICK_ROUNDS = 2
SLICES = 5
Samples = dict[str, list[float]]
Json = dict[str, Any]


class ProgramFailed(Exception):
    """A program of an experiment failed; its error output is on stderr."""


@dataclass
class Measurement:
    """The samples of an experiment.

    Attributes:
        rounds: The samples of each round, by series.
        programs: The program that produces each series.
        profiles: The profiles that programs returned, by series.
    """

    rounds: list[Samples] = field(default_factory=list)
    programs: dict[str, Program] = field(default_factory=dict)
    profiles: Json = field(default_factory=dict)


@dataclass(frozen=True)
class ExperimentRunner:
    """Runs experiments and profiles.

    Attributes:
        environments: The directory of the environments.
        quick: Whether to use smaller sizes and fewer rounds.
        report_progress: Called with a line of text.
    """

    environments: Path
    quick: bool
    report_progress: Callable[[str], None]

    def run(self, name: str, experiment: Experiment) -> Measurement:
        """Run all rounds of an experiment; the order of the programs alternates.

        Raises:
            ProgramFailed: A program ended with an error.
            EnvironmentNotInstalled: The environment of a program could not be created.
        """
        rounds = min(experiment.rounds, QUICK_ROUNDS) if self.quick else experiment.rounds
        measurement = Measurement()
        for number in range(rounds):
            self.report_progress(f"{name}, round {number + 1} of {rounds}")
            samples: Samples = {}
            programs = experiment.programs if number % 2 else experiment.programs[::-1]
            for program in programs:
                output = self._run_program(program)
                for series, times in output["samples"].items():
                    samples.setdefault(series, []).extend(times)
                    measurement.programs[series] = program
                measurement.profiles |= output.get("profiles", {})
            measurement.rounds.append(samples)
        return measurement

    def profile(self, target: Target, measurement: Measurement) -> Json | None:
        """A profile of our side, of time or memory; None if profiling failed."""
        if target.ours not in measurement.profiles:
            self.report_progress(f"{target.name}, a profile")
            program = measurement.programs[target.ours]
            try:
                output = self._run_program(program, profile=target.ours)
            except ProgramFailed as error:
                self.report_progress(str(error))
                return None
            measurement.profiles |= output["profiles"]
        profile: Json = measurement.profiles[target.ours]
        return profile

    def _run_program(self, program: Program, **extra_options: Any) -> Json:
        python: str | Path = sys.executable
        if program.environment is not None:
            python = program.environment.python(self.environments)
        options = {**program.options, **(program.quick if self.quick else {}), **extra_options}
        command = [python, "-m", f"benchmarks.workers.{program.worker}", json.dumps(options)]
        process = subprocess.run(
            command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=False
        )
        if process.returncode:
            raise ProgramFailed(f"`{program.worker}` ended with exit code {process.returncode}")
        output: Json = json.loads(process.stdout.splitlines()[-1])
        return output


@dataclass(frozen=True)
class Figure:
    """The medians of both sides and their ratio.

    Attributes:
        excess: How much ours is above theirs.
        quartiles: The lower and the upper quartile of the ratio; None for a single sample.
        limit_usage: How much of the limit is used up, see `Limit.usage_of`; None without a limit.
    """

    ours: float
    theirs: float
    excess: float
    ratio: float
    quartiles: tuple[float, float] | None
    limit_usage: float | None

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None without a limit."""
        return None if self.limit_usage is None else self.limit_usage <= 1


def compute_figure(target: Target, measurement: Measurement) -> Figure:
    """The figure of a target: each value is the median over paired rounds."""
    pairs = _pair_rounds(target, measurement.rounds)
    ratios = [ours / theirs for ours, theirs in pairs]
    ours, theirs = (median(side) for side in zip(*pairs, strict=True))
    excess, ratio = median(ours - theirs for ours, theirs in pairs), median(ratios)
    values = {Basis.RATIO: ratio, Basis.OURS: ours, Basis.EXCESS: excess}
    usage = target.limit.usage_of(values[target.limit.basis]) if target.limit else None
    return Figure(ours, theirs, excess, ratio, _quartiles(ratios), usage)


def _pair_rounds(
    target: Target, rounds: Sequence[Mapping[str, list[float]]]
) -> list[tuple[float, float]]:
    series = [(samples[target.ours], samples[target.theirs]) for samples in rounds]
    if len(series) == 1:
        series = list(zip(*map(_split, series[0]), strict=True))
    return [(target.statistic(ours), target.statistic(theirs)) for ours, theirs in series]


def _split(samples: list[float]) -> list[list[float]]:
    """The samples of a single round in slices that stand for rounds, if there are enough."""
    size = len(samples) // SLICES
    return [samples[n * size :][:size] for n in range(SLICES)] if size else [samples]


def _quartiles(ratios: list[float]) -> tuple[float, float] | None:
    if len(ratios) == 1:
        return None
    low, _, high = quantiles(ratios, n=4, method="inclusive")
    return low, high
