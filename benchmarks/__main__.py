"""Measure everything side by side in one go, and write the page with the figures."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.drawing import draw
from benchmarks.experiments import EXPERIMENTS
from benchmarks.machine import facts
from benchmarks.measuring import CHECKOUT, Bench, Measured, NotMeasured, figure
from benchmarks.page import HEADER, Result, render, row
from benchmarks.rooms import NotInstalled, default_home
from benchmarks.targets import Target, chosen, known

PAGE = "RESULTS.md"
HERE = CHECKOUT / "benchmarks"
MEASURED, MISSED, UNMEASURED = 0, 1, 3

EXAMPLES = f"""\
examples:
  python -m benchmarks                            all of it, for about half an hour; writes {PAGE}
  python -m benchmarks --list                     the names, and what stands against what
  python -m benchmarks --only facade,journal      some of it, shown on the terminal
  python -m benchmarks --quick --out DIR          small sizes, to see that it works; written to DIR

exit codes:
  {MEASURED} measured          {MISSED} a target is missed, with --check
  2 wrong usage       {UNMEASURED} not everything could be measured
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; the exit code."""
    asked = _parsed(arguments)
    targets = chosen(asked.only)
    if asked.list:
        print(
            *(f"{each.name:<26} {each.what}; against {each.against}" for each in targets), sep="\n"
        )
        return MEASURED
    bench = Bench(asked.rooms, asked.quick, _clock())
    before = facts(asked.rooms, [EXPERIMENTS[each.experiment] for each in targets])
    measured, failures = _measured(bench, targets)
    results = [_result(bench, each, measured, failures) for each in targets]
    if asked.out is None:
        print(HEADER, *map(row, results), sep="\n")
    else:
        page = render(
            results,
            command=asked.command,
            date=f"{datetime.now(UTC):%d %B %Y}",
            facts=before,
            pictures=draw(results, measured, asked.out),
            quick=asked.quick,
        )
        (asked.out / PAGE).write_text(page, encoding="utf-8")
        bench.say(f"{PAGE} is written")
    return ending(results, check=asked.check)


def ending(results: Sequence[Result], *, check: bool) -> int:
    """The exit code."""
    if any(each.figure is None for each in results):
        return UNMEASURED
    return MISSED if check and any(each.met is False for each in results) else MEASURED


def _measured(
    bench: Bench, targets: Sequence[Target]
) -> tuple[dict[str, Measured], dict[str, str]]:
    """The experiments that the targets need, and why some of them failed."""
    measured, failures = {}, {}
    for name in dict.fromkeys(target.experiment for target in targets):
        try:
            measured[name] = bench.measure(name, EXPERIMENTS[name])
        except (NotMeasured, NotInstalled) as failure:
            failures[name] = str(failure)
            bench.say(f"{name} failed: {failure}")
    return measured, failures


def _result(
    bench: Bench, target: Target, measured: dict[str, Measured], failures: dict[str, str]
) -> Result:
    if target.experiment in failures:
        return Result(target, None, failure=failures[target.experiment])
    found = measured[target.experiment]
    made = figure(target, found)
    return Result(target, made, bench.profile(target, found) if made.met is False else None)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("--only", default="", metavar="NAME,...", help="groups or names from --list")
    option("--list", action="store_true", help="show what there is to measure, and measure nothing")
    option("--quick", action="store_true", help="smaller sizes and fewer rounds")
    option("--check", action="store_true", help=f"end with {MISSED} if a target is missed")
    option("--out", type=Path, metavar="DIR", help=f"write {PAGE} there; a full run: benchmarks/")
    option(
        "--rooms", type=Path, metavar="DIR", default=default_home(), help="keep competitors there"
    )
    asked = parser.parse_args(arguments)
    asked.only = [name.strip() for name in asked.only.split(",") if name.strip()]
    if unknown := set(asked.only) - set(known()):
        parser.error(f"nothing is named {', '.join(sorted(unknown))}; known: {', '.join(known())}")
    size = ["--quick"] if asked.quick else []
    part = ["--only", ",".join(asked.only)] if asked.only else []
    asked.command = " ".join(["python -m benchmarks", *size, *part])
    # A quick look, or a part, does not take the place of the page.
    asked.out = asked.out or (None if size or part else HERE)
    return asked


def _clock() -> Callable[[str], None]:
    """Says things on stderr, with the seconds since now."""
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"[{time.monotonic() - began:7.1f} s] {what}", file=sys.stderr, flush=True)

    return say


if __name__ == "__main__":
    sys.exit(main())
