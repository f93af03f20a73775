"""The page with the figures: a table, and an analysis of every missed target."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.measuring import Figure
from benchmarks.parts import PACKAGE
from benchmarks.targets import Basis, Limit, Target

TIME = "ms"
MIN_SHARE = 0.02  # packages with a smaller share are omitted

OPENING = """\
Written by `{command}` on {date}; do not edit. Every figure stands beside that of a named
alternative from the same run: both sides alternate, round after round, in new interpreters, and
a program that did not run every call fails. A figure is the median over the rounds, and a ratio
comes with its quartiles. `benchmarks/experiments.py` lists the programs, `benchmarks/workers`
contains them.
"""
QUICK = (
    "**A quick run with smaller sizes and fewer rounds. It shows that the benchmarks work; its"
    " figures are not representative.**\n"
)
HEADER = "| | what | ours | alternative | ratio (quartiles) | target | met |"
RULE = "|---|---|---|---|---|---|---|"

# Prefix of a target's name -> why the target is missed. The first match counts. The figures are in
# the tables of the same run.
REASONS: tuple[tuple[str, str], ...] = (
    (
        "facade-async",
        """\
The fakes respond at once, and then a coroutine of `bighub-openai` does little but call them: it
keeps no record of a call, and only logs a report that fails. Here every call is recorded before
its tool runs, the response is parsed strictly, secrets are redacted, and an outcome is stored
until BIGHUB has received it. The first table shows the share of each. No single row explains the
difference, and with real waiting times the difference disappears, see `parallel-async`.""",
    ),
    (
        "crowd",
        """\
All runs wait for the same responses and continue at the same time, so after every wait the work of
a hundred runs queues on one core. The time above that of one run is this work.""",
    ),
    (
        "agent",
        """\
The engine evaluates every call and learns from every outcome. `engine-memory` is the time of that
alone, without a graph; it is spent once per call, beside the alternative's complete turn.""",
    ),
    (
        "middleware-embedded",
        """\
As for `agent`: the stock middleware evaluates nothing, and here an engine evaluates every call and
learns from every outcome. `engine-memory` is the time of that alone. `middleware` is the same
middleware with a client that responds at once.""",
    ),
    (
        "middleware-sync",
        """\
Empty hooks cost no more than the stock middleware, see `hooks`. The rest is the record of each
call and the delivery of its outcome to BIGHUB. A blocking client delivers in a background thread
during the next model call, and a model that responds at once leaves no time for that. The run then
waits for that thread, and the threads of its tools for the interpreter's lock.""",
    ),
    (
        "middleware",
        """\
Empty hooks cost no more than the stock middleware, see `hooks`. The rest is the record of each
call and the delivery of its outcome to BIGHUB.""",
    ),
    (
        "engine",
        """\
A bare commit of a row of that size takes a large part of the time. The rest is a decision in
Python: features, counts, two regressions and precedents, in many small steps of similar cost.""",
    ),
)


@dataclass(frozen=True)
class Result:
    """The result for a target: its figure, or the reason why there is none.

    Attributes:
        profile: A profile of our side if the target is missed.
        failure: Why the target was not measured; empty if it was.
    """

    target: Target
    figure: Figure | None
    profile: Mapping[str, Any] | None = None
    failure: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None without a limit. An unmeasured target is missed."""
        if self.figure is not None:
            return self.figure.is_met
        return None if self.target.limit is None else False


def render_page(
    results: Sequence[Result],
    *,
    command: str,
    date: str,
    facts: Sequence[tuple[str, str]],
    pictures: Mapping[str, str],
    quick: bool = False,
) -> str:
    """The complete page as Markdown; `pictures` maps paths to descriptions."""
    parts = ["# Benchmarks", OPENING.format(command=command, date=date), QUICK if quick else ""]
    parts += ["\n".join(f"- {name}: {value}" for name, value in facts)]
    parts += [f"![{description}]({path})" for path, description in pictures.items()]
    parts += ["\n".join([HEADER, RULE, *map(render_row, results)])]
    missed = [result for result in results if result.is_met is False]
    if missed:
        parts += ["## Missed targets", *map(render_missed_target, missed)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def render_row(result: Result) -> str:
    """One line of the table."""
    target, figure = result.target, result.figure
    cells = [f"`{target.name}`", target.description]
    if figure is None:
        cells += ["not measured", target.alternative, ""]
    else:
        theirs = f"{target.alternative}: {_format_number(figure.theirs)} {target.unit}"
        cells += [f"{_format_number(figure.ours)} {target.unit}", theirs, _format_ratio(figure)]
    cells += [format_limit(target), {True: "yes", False: "**no**", None: ""}[result.is_met]]
    return f"| {' | '.join(cells)} |"


def render_missed_target(result: Result) -> str:
    """Why a target is missed, with a profile of our side."""
    target, figure = result.target, result.figure
    title = f"### `{target.name}`"
    if figure is None:
        return f"{title}\n\nNot measured: {result.failure}."
    summary = (
        f"{target.description}: {format_limit(target)}, measured {format_measured(target, figure)}."
        f"{_format_alternative_beyond_limit(target, figure)}"
    )
    profile = "\n".join(_render_profile(result)) or "No profile is available."
    return "\n\n".join(filter(None, (title, summary, reason_for(target.name), profile)))


def reason_for(target_name: str) -> str:
    """Why a target of this name is missed; empty if no reason is written down."""
    return next((reason for prefix, reason in REASONS if target_name.startswith(prefix)), "")


def format_limit(target: Target) -> str:
    """The limit of a target in words."""
    match target.limit:
        case None:
            return "no limit"
        case Limit(bound, Basis.RATIO):
            return f"ratio at most {bound:g}"
        case Limit(bound, Basis.EXCESS):
            return f"at most {bound:g} {target.unit} above"
        case Limit(bound, _, at_least):
            return f"at {'least' if at_least else 'most'} {bound:,g} {target.unit}"


def format_measured(target: Target, figure: Figure) -> str:
    """The value that is compared with the limit of a target, in words."""
    match target.limit:
        case Limit(_, Basis.OURS):
            return f"{_format_number(figure.ours)} {target.unit}"
        case Limit(_, Basis.EXCESS):
            return f"{_format_number(figure.excess)} {target.unit} above"
        case _:
            return _format_ratio(figure)


def _format_alternative_beyond_limit(target: Target, figure: Figure) -> str:
    """A sentence if the alternative by itself is beyond the limit, else an empty string."""
    if target.limit is None or target.limit.basis is not Basis.OURS:
        return ""
    if target.limit.usage_of(figure.theirs) <= 1:
        return ""
    return f" {target.alternative} alone: {_format_number(figure.theirs)} {target.unit}."


def _render_profile(result: Result) -> Iterator[str]:
    figure, profile = result.figure, result.profile
    if figure is None or profile is None:
        return
    unit, total, waited = profile["unit"], profile["total"], profile["waited"]
    shares = {package: amount / total for package, amount in profile["packages"]}
    packages = ", ".join(
        f"{package} {share:.0%}" for package, share in shares.items() if share > MIN_SHARE
    )
    waiting = (
        f", plus {_format_number(waited)} {unit} of waiting" if waited > MIN_SHARE * total else ""
    )
    yield (
        f"A profile of our side, {_format_number(total)} {unit} under the profiler{waiting}:"
        f" {packages}."
    )
    yield ""
    yield from _render_parts(result, figure, profile, with_estimates=unit == TIME and not waiting)
    yield f"| {unit} | share | where |"
    yield "|---|---|---|"
    for place, amount in profile["places"]:
        yield f"| {_format_number(amount)} | {amount / total:.0%} | `{place}` |"


def _render_parts(
    result: Result, figure: Figure, profile: Mapping[str, Any], *, with_estimates: bool
) -> Iterator[str]:
    """The share of each part of the package, and an estimate of the figure without the part.

    There are no estimates where the run mostly waits, because a profile of work does not divide
    waiting time.
    """
    shares = [(part, amount / profile["total"]) for part, amount in profile["parts"]]
    if not shares:
        return
    yield f"| part of {PACKAGE} | share |" + (" without it | ratio |" if with_estimates else "")
    yield "|---|---|" + ("---|---|" if with_estimates else "")
    for part, share in [*shares, ("all parts", sum(share for _, share in shares))]:
        ours, ratio = (_format_number(side * (1 - share)) for side in (figure.ours, figure.ratio))
        estimates = f" {ours} {result.target.unit} | {ratio} |" if with_estimates else ""
        yield f"| {part} | {share:.0%} |{estimates}"
    yield ""


def _format_ratio(figure: Figure) -> str:
    if figure.quartiles is None:
        return _format_number(figure.ratio)
    low, high = figure.quartiles
    return f"{_format_number(figure.ratio)} ({_format_number(low)} to {_format_number(high)})"


def _format_number(value: float) -> str:
    """A number with three significant digits."""
    if abs(value) >= 100:  # noqa: PLR2004 - three digits before the point
        return f"{value:,.0f}"
    return f"{value:.3g}"
