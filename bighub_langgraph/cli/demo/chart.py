"""A picture of a run as SVG: approvals by week, and costs over the month."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from bighub_langgraph.cli.demo.summary import Summary

_WIDTH, _HEIGHT, _TOP, _BOTTOM = 800, 300, 50, 260
_BARS, _LINES = (40, 330), (410, 640)  # from left to right
_COLORS = {"with the guard": "#2e7d32", "asking always": "#ef6c00", "asking never": "#c62828"}
_LABEL_GAP = 14
_STYLE = 'font-family="sans-serif" font-size="12" role="img"'


def write_chart(file: Path, summary: Summary) -> None:
    """Write the picture of a run.

    Raises:
        OSError: The file cannot be written.
    """
    costs = dict(zip(_COLORS, summary.cost_series.values(), strict=True))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_STYLE}>',
        "<title>A support desk's month: approvals asked by week, and costs</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        *_draw_bars([week.approvals_per_hundred for week in summary.weeks]),
        *_draw_lines(costs),
        "</svg>",
    ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _draw_bars(rates: Sequence[float]) -> Iterator[str]:
    start, end = _BARS
    yield _draw_text(start, _TOP - 25, "Approvals asked per hundred calls", weight="bold")
    yield _draw_axis(start, end)
    step = (end - start) / max(1, len(rates))
    for number, rate in enumerate(rates):
        x, height = start + number * step, rate / 100 * (_BOTTOM - _TOP)
        yield (
            f'<rect x="{x + step * 0.15:.1f}" y="{_BOTTOM - height:.1f}" width="{step * 0.7:.1f}"'
            f' height="{height:.1f}" fill="#1565c0"/>'
        )
        middle = x + step / 2
        yield _draw_text(middle, _BOTTOM - height - 5, f"{rate:.0f}", anchor="middle")
        yield _draw_text(middle, _BOTTOM + 16, f"week {number + 1}", anchor="middle")


def _draw_lines(costs: dict[str, Sequence[float]]) -> Iterator[str]:
    start, end = _LINES
    yield _draw_text(
        start, _TOP - 25, "Cost of people's time and bad calls, added up", weight="bold"
    )
    yield _draw_axis(start, end)
    highest = max([1.0, *(totals[-1] for totals in costs.values() if totals)])
    ends: list[tuple[float, str, float]] = []
    for name, totals in costs.items():
        width = (end - start) / max(1, len(totals))
        heights = [_BOTTOM - total / highest * (_BOTTOM - _TOP) for total in (0.0, *totals)]
        points = " ".join(f"{start + n * width:.1f},{y:.1f}" for n, y in enumerate(heights))
        yield f'<polyline points="{points}" fill="none" stroke="{_COLORS[name]}" stroke-width="2"/>'
        ends.append((heights[-1], name, totals[-1] if totals else 0.0))
    ends.sort()
    positions = [y for y, _, _ in ends]
    for n, _ in enumerate(pairwise(positions), start=1):
        positions[n] = max(positions[n], positions[n - 1] + _LABEL_GAP)
    for y, (_, name, total) in zip(positions, ends, strict=True):
        yield _draw_text(end + 6, y + 4, f"{name} {total:.0f}", color=_COLORS[name])
    yield _draw_text(start, _BOTTOM + 16, "first call")
    yield _draw_text(end, _BOTTOM + 16, "last call", anchor="end")


def _draw_axis(start: float, end: float) -> str:
    return f'<path d="M{start} {_TOP}V{_BOTTOM}H{end}" fill="none" stroke="#888888"/>'


def _draw_text(
    x: float,
    y: float,
    content: str,
    *,
    anchor: str = "start",
    weight: str = "normal",
    color: str = "#222222",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}"'
        f' fill="{color}">{content}</text>'
    )
