"""The page with the figures: a table, and for every missed target what the limit is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.measuring import Figure
from benchmarks.parts import PACKAGE
from benchmarks.reasons import reason_of
from benchmarks.targets import Limit, Of, Target

TIME = "ms"
ENOUGH = 0.02  # a package with less than this share is not named

OPENING = """\
Written by `{command}` on {date}; do not edit. Every figure stands beside that of a named
alternative from the same run: both sides take turns, round after round, in fresh interpreters, and
a program that did not run every call fails. A figure is the median over the rounds, and a ratio
comes with its quartiles. `benchmarks/experiments.py` says what is run, `benchmarks/workers` how.
"""
QUICK = (
    "**A quick run with smaller sizes and fewer rounds: its figures only show that it works.**\n"
)
HEADER = "| | what | ours | alternative | ratio (quartiles) | target | met |"
RULE = "|---|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Result:
    """What came of a target: its figure, or the reason why there is none; a profile if missed."""

    target: Target
    figure: Figure | None
    profile: Mapping[str, Any] | None = None
    failure: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met: None where it is only stated; unmeasured is not met."""
        if self.figure is not None:
            return self.figure.met
        return None if self.target.limit is None else False


def render(
    results: Sequence[Result],
    *,
    command: str,
    date: str,
    facts: Sequence[tuple[str, str]],
    pictures: Mapping[str, str],
    quick: bool = False,
) -> str:
    """The whole page, as Markdown; `pictures` are paths and what they show."""
    parts = ["# Benchmarks", OPENING.format(command=command, date=date), QUICK if quick else ""]
    parts += ["\n".join(f"- {name}: {value}" for name, value in facts)]
    parts += [f"![{shows}]({path})" for path, shows in pictures.items()]
    parts += ["\n".join([HEADER, RULE, *map(row, results)])]
    missed = [result for result in results if result.met is False]
    if missed:
        parts += ["## What the limit is", *map(limit, missed)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def row(result: Result) -> str:
    """One line of the table."""
    target, figure = result.target, result.figure
    cells = [f"`{target.name}`", target.what]
    if figure is None:
        cells += ["not measured", target.against, ""]
    else:
        theirs = f"{target.against}: {_number(figure.theirs)} {target.unit}"
        cells += [f"{_number(figure.ours)} {target.unit}", theirs, _ratio(figure)]
    cells += [wanted(target), {True: "yes", False: "**no**", None: ""}[result.met]]
    return f"| {' | '.join(cells)} |"


def limit(result: Result) -> str:
    """What stands in the way of a missed target, with the profile that shows it."""
    title = f"### `{result.target.name}`"
    if result.figure is None:
        return f"{title}\n\nNot measured: {result.failure}."
    told = f"{wanted(result.target)}, found {found(result.target, result.figure)}."
    shown = "\n".join(_profiled(result)) or "No profile of it could be taken."
    told += _alone(result.target, result.figure)
    reason = reason_of(result.target.name)
    return "\n\n".join(filter(None, (title, f"{result.target.what}: {told}", reason, shown)))


def _alone(target: Target, figure: Figure) -> str:
    """Says when the alternative alone is beyond the limit."""
    if target.limit is None or target.limit.of is not Of.ITSELF:
        return ""
    if target.limit.used(figure.theirs) <= 1:
        return ""
    return f" That of {target.against} alone is {_number(figure.theirs)} {target.unit}."


def _profiled(result: Result) -> Iterator[str]:
    figure, profile = result.figure, result.profile
    if figure is None or profile is None:
        return
    unit, total, waited = profile["unit"], profile["total"], profile["waited"]
    shares = {name: own / total for name, own in profile["packages"]}
    named = ", ".join(f"{name} {share:.0%}" for name, share in shares.items() if share > ENOUGH)
    beside = f", beside {_number(waited)} {unit} of waiting" if waited > ENOUGH * total else ""
    yield f"A profile of our side, {_number(total)} {unit} with the profiler on{beside}: {named}."
    yield ""
    yield from _parts(result, figure, profile, guessed=unit == TIME and not beside)
    yield f"| {unit} | share | where |"
    yield "|---|---|---|"
    for where, own in profile["spots"]:
        yield f"| {_number(own)} | {own / total:.0%} | `{where}` |"


def _parts(
    result: Result, figure: Figure, profile: Mapping[str, Any], *, guessed: bool
) -> Iterator[str]:
    """What the package's own parts take, and what would remain if one of them cost nothing.

    That is not guessed where most of the time is waiting, which no profile of work divides.
    """
    shares = [(part, own / profile["total"]) for part, own in profile["parts"]]
    if not shares:
        return
    yield f"| {PACKAGE}: what for | share |" + (" without it | ratio |" if guessed else "")
    yield "|---|---|" + ("---|---|" if guessed else "")
    for part, share in [*shares, ("all of it", sum(share for _, share in shares))]:
        ours, ratio = (_number(side * (1 - share)) for side in (figure.ours, figure.ratio))
        rest = f" {ours} {result.target.unit} | {ratio} |" if guessed else ""
        yield f"| {part} | {share:.0%} |{rest}"
    yield ""


def wanted(target: Target) -> str:
    """What a target asks for, in words."""
    match target.limit:
        case None:
            return "stated"
        case Limit(bound, Of.RATIO):
            return f"ratio at most {bound:g}"
        case Limit(bound, Of.EXCESS):
            return f"at most {bound:g} {target.unit} above"
        case Limit(bound, _, at_least):
            return f"at {'least' if at_least else 'most'} {bound:,g} {target.unit}"


def found(target: Target, figure: Figure) -> str:
    """The figure that a target is judged by, in words."""
    match target.limit:
        case Limit(_, Of.ITSELF):
            return f"{_number(figure.ours)} {target.unit}"
        case Limit(_, Of.EXCESS):
            return f"{_number(figure.excess)} {target.unit} above"
        case _:
            return _ratio(figure)


def _ratio(figure: Figure) -> str:
    if figure.quartiles is None:
        return _number(figure.ratio)
    low, high = figure.quartiles
    return f"{_number(figure.ratio)} ({_number(low)} to {_number(high)})"


def _number(value: float) -> str:
    """Three digits that count."""
    if abs(value) >= 100:  # noqa: PLR2004 - three digits before the point
        return f"{value:,.0f}"
    return f"{value:.3g}"
