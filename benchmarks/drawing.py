"""Pictures of the figures, as SVG on a card of their own, so that they read on light and dark."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import Measured
from benchmarks.page import Result, found, wanted
from benchmarks.targets import Of

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

CARD, INK, QUIET, MET, MISSED = "#fbfaf7", "#24292f", "#8c959f", "#1a7f64", "#bc4c00"
LEAST = 0.01  # the left end of the axis
STYLE: Any = {  # matplotlib types its keys as literals
    "svg.hashsalt": "benchmarks",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.facecolor": CARD,
    "figure.facecolor": CARD,
    "xtick.color": INK,
    "ytick.color": INK,
}
GROWTHS = {
    "growth-facade": "facade, journal in memory",
    "growth-journal": "journal on a file",
    "growth-engine": "embedded engine on a file",
}


def draw(results: Sequence[Result], measured: Mapping[str, Measured], out: Path) -> dict[str, str]:
    """Draw what there is to draw into `out/pictures`; the paths from there and what they show."""
    import matplotlib as mpl

    mpl.use("agg")
    drawn: dict[str, str] = {}
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for name, shows, drawing in (
            ("overview", "How much of each target's limit is used up", _overview(results)),
            ("memory", "Memory over a long run of calls", _memory(measured)),
        ):
            if drawing is not None:
                path = f"pictures/{name}.svg"
                drawing.savefig(out / path, metadata={"Date": None})
                drawn[path] = shows
    return drawn


def _overview(results: Sequence[Result]) -> "Drawing | None":
    from matplotlib.figure import Figure as Drawing
    from matplotlib.ticker import LogLocator, NullLocator

    shown = [each for each in reversed(results) if each.figure and each.figure.used is not None]
    if not shown:
        return None
    drawing = Drawing(figsize=(9, 1 + 0.24 * len(shown)), layout="constrained")
    axes = drawing.subplots()
    axes.set_xscale("log")
    for place, result in enumerate(shown):
        _mark(axes, place, result)
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_yticks(range(len(shown)), [result.target.name for result in shown])
    axes.set_ylim(-0.8, len(shown) - 0.2)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda used, _: f"{used:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("share of the limit that is used: up to 1 the target is met")
    axes.spines[["top", "right"]].set_visible(False)
    return drawing


def _mark(axes: Any, place: int, result: Result) -> None:
    """How far a figure is from its limit, the quartiles of its ratio, and both in words."""
    target, figure = result.target, result.figure
    if target.limit is None or figure is None or figure.used is None:
        return
    colour, used = MET if figure.met else MISSED, max(figure.used, LEAST)
    axes.hlines(place, min(1, used), max(1, used), color=colour, linewidth=1.5)
    if target.limit.of is Of.RATIO and figure.quartiles:
        low, high = map(target.limit.used, figure.quartiles)
        axes.hlines(place, low, high, color=colour, linewidth=6, alpha=0.35)
    axes.plot(used, place, "o", color=colour)
    said = f"{found(target, figure)}; {wanted(target)}"
    beside = axes.get_yaxis_transform()
    axes.text(1.02, place, said, transform=beside, va="center", color=colour)


def _memory(measured: Mapping[str, Measured]) -> "Drawing | None":
    from matplotlib.figure import Figure as Drawing

    held = {name: measured[name].rounds[0]["held"] for name in GROWTHS if name in measured}
    if not held:
        return None
    drawing = Drawing(figsize=(6, 3), layout="constrained")
    axes = drawing.subplots()
    for (name, megabytes), colour in zip(held.items(), (MET, INK, MISSED), strict=False):
        over = [100 * number / len(megabytes) for number in range(1, len(megabytes) + 1)]
        grown = [now - megabytes[0] for now in megabytes]
        axes.plot(over, grown, color=colour, label=GROWTHS[name])
    axes.set(xlabel="calls that are over, %", ylabel="MB more than after the first hundredth")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return drawing
