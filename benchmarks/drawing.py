"""Charts of the figures as SVG, with a background that is readable on light and dark pages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import Measurement
from benchmarks.page import Result, format_limit, format_measured
from benchmarks.targets import Basis

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Chart

BACKGROUND, INK, GREY, MET, MISSED = "#fbfaf7", "#24292f", "#8c959f", "#1a7f64", "#bc4c00"
MIN_USAGE = 0.01  # the left end of the axis
STYLE: Any = {  # matplotlib types its keys as literals
    "svg.hashsalt": "benchmarks",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.facecolor": BACKGROUND,
    "figure.facecolor": BACKGROUND,
    "xtick.color": INK,
    "ytick.color": INK,
}
GROWTH_LABELS = {
    "growth-facade": "facade, journal in memory",
    "growth-journal": "journal on a file",
    "growth-engine": "embedded engine on a file",
}


def draw_charts(
    results: Sequence[Result], measurements: Mapping[str, Measurement], out: Path
) -> dict[str, str]:
    """Draw the charts that have data into `out/pictures`; their paths below `out`, described."""
    import matplotlib as mpl

    mpl.use("agg")
    charts: dict[str, str] = {}
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for name, description, chart in (
            ("overview", "How much of each target's limit is used up", _draw_limit_usage(results)),
            ("memory", "Memory over a long run of calls", _draw_memory(measurements)),
        ):
            if chart is not None:
                path = f"pictures/{name}.svg"
                chart.savefig(out / path, metadata={"Date": None})
                charts[path] = description
    return charts


def _draw_limit_usage(results: Sequence[Result]) -> "Chart | None":
    from matplotlib.figure import Figure as Chart
    from matplotlib.ticker import LogLocator, NullLocator

    shown = [
        result
        for result in reversed(results)
        if result.figure and result.figure.limit_usage is not None
    ]
    if not shown:
        return None
    chart = Chart(figsize=(9, 1 + 0.24 * len(shown)), layout="constrained")
    axes = chart.subplots()
    axes.set_xscale("log")
    for position, result in enumerate(shown):
        _draw_result(axes, position, result)
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_yticks(range(len(shown)), [result.target.name for result in shown])
    axes.set_ylim(-0.8, len(shown) - 0.2)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda usage, _: f"{usage:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("used share of the limit: the target is met up to 1")
    axes.spines[["top", "right"]].set_visible(False)
    return chart


def _draw_result(axes: Any, position: int, result: Result) -> None:
    """Draw the used share of a limit, the quartiles of the ratio, and both in words."""
    target, figure = result.target, result.figure
    if target.limit is None or figure is None or figure.limit_usage is None:
        return
    colour, usage = MET if figure.is_met else MISSED, max(figure.limit_usage, MIN_USAGE)
    axes.hlines(position, min(1, usage), max(1, usage), color=colour, linewidth=1.5)
    if target.limit.basis is Basis.RATIO and figure.quartiles:
        low, high = map(target.limit.usage_of, figure.quartiles)
        axes.hlines(position, low, high, color=colour, linewidth=6, alpha=0.35)
    axes.plot(usage, position, "o", color=colour)
    label = f"{format_measured(target, figure)}; {format_limit(target)}"
    beside = axes.get_yaxis_transform()
    axes.text(1.02, position, label, transform=beside, va="center", color=colour)


def _draw_memory(measurements: Mapping[str, Measurement]) -> "Chart | None":
    from matplotlib.figure import Figure as Chart

    held = {
        name: measurements[name].rounds[0]["held"] for name in GROWTH_LABELS if name in measurements
    }
    if not held:
        return None
    chart = Chart(figsize=(6, 3), layout="constrained")
    axes = chart.subplots()
    for (name, megabytes), colour in zip(held.items(), (MET, INK, MISSED), strict=False):
        finished = [100 * number / len(megabytes) for number in range(1, len(megabytes) + 1)]
        growth = [size - megabytes[0] for size in megabytes]
        axes.plot(finished, growth, color=colour, label=GROWTH_LABELS[name])
    axes.set(xlabel="finished calls, %", ylabel="MB above the size after 1 % of the calls")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return chart
