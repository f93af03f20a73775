"""Measure the package side by side with its alternatives, and write the page with the figures."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.drawing import draw_charts
from benchmarks.environments import EnvironmentNotInstalled, default_directory, describe_machine
from benchmarks.experiments import EXPERIMENTS
from benchmarks.measuring import (
    CHECKOUT,
    ExperimentRunner,
    Measurement,
    ProgramFailed,
    compute_figure,
)
from benchmarks.page import HEADER, Result, render_page, render_row
from benchmarks.targets import Target, select_targets, target_names

PAGE = "RESULTS.md"
DEFAULT_OUT = CHECKOUT / "benchmarks"
MEASURED, MISSED, UNMEASURED = 0, 1, 3

EXAMPLES = f"""\
examples:
  python -m benchmarks                            everything, in about 30 minutes; writes {PAGE}
  python -m benchmarks --list                     names, descriptions and alternatives
  python -m benchmarks --only facade,journal      some targets, printed to the terminal
  python -m benchmarks --quick --out DIR          small sizes, to check that it works; writes to DIR

exit codes:
  {MEASURED} measured          {MISSED} a target is missed, with --check
  2 wrong usage       {UNMEASURED} not everything could be measured
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parse_options(arguments)
    targets = select_targets(options.only)
    if options.list:
        for target in targets:
            print(f"{target.name:<26} {target.description}; against {target.alternative}")
        return MEASURED
    runner = ExperimentRunner(options.environments, options.quick, _progress_printer())
    environments = dict.fromkeys(
        program.environment
        for target in targets
        for program in EXPERIMENTS[target.experiment].programs
        if program.environment is not None
    )
    facts = describe_machine(options.environments, environments)
    measurements, failures = _measure(runner, targets)
    results = [_build_result(runner, target, measurements, failures) for target in targets]
    if options.out is None:
        print(HEADER, *map(render_row, results), sep="\n")
    else:
        page = render_page(
            results,
            command=options.command,
            date=f"{datetime.now(UTC):%d %B %Y}",
            facts=facts,
            pictures=draw_charts(results, measurements, options.out),
            quick=options.quick,
        )
        (options.out / PAGE).write_text(page, encoding="utf-8")
        runner.report_progress(f"wrote {PAGE}")
    return exit_code(results, check=options.check)


def exit_code(results: Sequence[Result], *, check: bool) -> int:
    """The exit code for these results; a missed target matters only with `check`."""
    if any(result.figure is None for result in results):
        return UNMEASURED
    return MISSED if check and any(result.is_met is False for result in results) else MEASURED


def _measure(
    runner: ExperimentRunner, targets: Sequence[Target]
) -> tuple[dict[str, Measurement], dict[str, str]]:
    """The measurements of the experiments that the targets need, and the reasons of failures."""
    measurements, failures = {}, {}
    for name in dict.fromkeys(target.experiment for target in targets):
        try:
            measurements[name] = runner.run(name, EXPERIMENTS[name])
        except (ProgramFailed, EnvironmentNotInstalled) as error:
            failures[name] = str(error)
            runner.report_progress(f"{name} failed: {error}")
    return measurements, failures


def _build_result(
    runner: ExperimentRunner,
    target: Target,
    measurements: dict[str, Measurement],
    failures: dict[str, str],
) -> Result:
    if target.experiment in failures:
        return Result(target, None, failure=failures[target.experiment])
    measurement = measurements[target.experiment]
    figure = compute_figure(target, measurement)
    return Result(
        target, figure, runner.profile(target, measurement) if figure.is_met is False else None
    )


def _parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("--only", default="", metavar="NAME,...", help="groups or names from --list")
    option("--list", action="store_true", help="list the targets and measure nothing")
    option("--quick", action="store_true", help="smaller sizes and fewer rounds")
    option("--check", action="store_true", help=f"exit with {MISSED} if a target is missed")
    option("--out", type=Path, metavar="DIR", help=f"write {PAGE} to DIR; a full run: benchmarks/")
    option(
        "--environments",
        type=Path,
        metavar="DIR",
        default=default_directory(),
        help="install the environments of competitors in DIR",
    )
    options = parser.parse_args(arguments)
    options.only = [name.strip() for name in options.only.split(",") if name.strip()]
    if unknown := set(options.only) - set(target_names()):
        parser.error(
            f"no target or group is named {', '.join(sorted(unknown))};"
            f" choose from {', '.join(target_names())}"
        )
    size = ["--quick"] if options.quick else []
    selection = ["--only", ",".join(options.only)] if options.only else []
    options.command = " ".join(["python -m benchmarks", *size, *selection])
    # A quick or partial run does not overwrite the page of a full run.
    options.out = options.out or (None if size or selection else DEFAULT_OUT)
    return options


def _progress_printer() -> Callable[[str], None]:
    """A function that prints text to stderr with the seconds since this call."""
    start = time.monotonic()

    def report_progress(text: str) -> None:
        print(f"[{time.monotonic() - start:7.1f} s] {text}", file=sys.stderr, flush=True)

    return report_progress


if __name__ == "__main__":
    sys.exit(main())
