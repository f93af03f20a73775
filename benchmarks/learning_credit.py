"""Credit sets as streams of decisions: cost, log loss, the promise, delays, censoring."""

import csv
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scores import auc, calibration_error, cost, log_loss

from bighub_langgraph.local import DomainSettings, LocalBighub, Settings

VALUES = {"uci": "LIMIT_BAL", "hmda": "pirat", "credit_data": "Amount", "german": "credit_amount"}
DELAY = 300
PROMISES = (0.05, 0.10)
RUNS = ("proceed", "proceed_with_caution")
REFERENCE = {"uci": 0.148, "hmda": 0.083, "credit_data": 0.144, "german": 0.170}


@dataclass
class Clock:
    """A clock that moves when it is told to."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@dataclass
class Row:
    """One credit: what is known of it, its size, and whether it went bad."""

    facts: dict[str, Any]
    value: float
    bad: bool


@dataclass
class Track:
    """What was expected, what ran, and what went bad, in order."""

    risks: list[float]
    ran: list[bool]
    bad: list[bool]

    def figures(self) -> dict[str, float]:
        """Tell the figures of the whole stream."""
        executed = [wrong for went, wrong in zip(self.ran, self.bad, strict=True) if went]
        half = len(self.ran) // 2
        return {
            "cost": round(cost(self.ran, self.bad), 4),
            "log_loss": round(log_loss(self.risks, self.bad), 4),
            "ece": round(calibration_error(self.risks, self.bad), 4),
            "auc": round(auc(self.risks, self.bad), 4),
            "executed": round(sum(self.ran) / len(self.ran), 4),
            "executed_in_second_half": round(sum(self.ran[half:]) / (len(self.ran) - half), 4),
            "bad_rate_of_executed": round(sum(executed) / len(executed), 4) if executed else 0.0,
        }


def measure(sets: Path, rows: int | None, out: Path | None) -> dict[str, Any]:
    figures = {}
    for name in VALUES:
        path = sets / f"{name}.csv"
        if path.exists():
            figures[name] = _set(name, read(path, VALUES[name])[:rows], out)
            print(name, figures[name], flush=True)
    return figures


def read(path: Path, value: str) -> list[Row]:
    """The rows of a set in a shuffled order that is always the same; the label is `bad`."""
    with path.open(newline="") as file:
        rows = [_row(line, value) for line in csv.DictReader(file)]
    random.Random(0).shuffle(rows)  # noqa: S311 - an order, not a secret
    return rows


def _row(line: dict[str, str], value: str) -> Row:
    bad = line.pop("bad") == "1"
    facts = {name: _number(text) for name, text in line.items()}
    amount = facts[value]
    return Row(facts, amount if isinstance(amount, float) else 0.0, bad)


def _number(text: str) -> float | str | None:
    if text == "":
        return None
    try:
        return float(text)
    except ValueError:
        return text


def _set(name: str, rows: list[Row], out: Path | None) -> dict[str, Any]:
    free = stream(rows, max_bad_rate=None)
    figures: dict[str, Any] = {
        "rows": len(rows),
        "stack": free.figures(),
        "reference_cost": REFERENCE[name],
        "baselines": _baselines(rows),
    }
    for promise in PROMISES:
        case = f"promise_{promise}"
        figures[case] = stream(rows, max_bad_rate=promise).figures()
        late = stream(rows, late=True, correction_delay=float(DELAY), max_bad_rate=promise)
        figures[f"{case}_corrected_late"] = late.figures()
    figures["censored"] = stream(rows, censored=True, max_bad_rate=None).figures()
    if out:
        _plot(name, free, out)
    return figures


def stream(
    rows: list[Row], *, late: bool = False, censored: bool = False, **settings: Any
) -> Track:
    """Decide about row after row; outcomes come at once, late, or as far as one sees them."""
    clock = Clock()
    chosen = Settings(default=DomainSettings(half_life=1e9, **settings))
    track = Track([], [], [])
    due: dict[int, str] = {}
    with LocalBighub(settings=chosen, clock=clock) as bighub:
        for number, row in enumerate(rows):
            clock.now += 1.0
            if number in due:
                bighub.outcomes.report(request_id=due[number], status="FRAUD")
            reply = bighub.actions.evaluate(
                action="lend",
                value=abs(row.value),
                domain="credit",
                context={"arguments": row.facts},
            )
            ran = reply["recommendation"] in RUNS
            track.risks.append(reply["risk_score"])
            track.ran.append(ran)
            track.bad.append(row.bad)
            with _reporting(bighub, reply["request_id"]) as say:
                if censored and not ran:
                    if reply["recommendation"] == "review_recommended":
                        say.review(bad=row.bad)
                elif late:
                    say.outcome(bad=False)
                    if row.bad:
                        due[number + DELAY] = reply["request_id"]
                else:
                    say.outcome(bad=row.bad)
    return track


@dataclass
class _Say:
    bighub: LocalBighub
    request_id: str

    def outcome(self, *, bad: bool) -> None:
        self.bighub.outcomes.report(
            request_id=self.request_id, status="FAILURE" if bad else "SUCCESS"
        )

    def review(self, *, bad: bool) -> None:
        resolution = "denied" if bad else "approved"
        self.bighub.approvals.resolve(self.request_id, resolution=resolution)
        self.bighub.outcomes.report(
            request_id=self.request_id, status="BLOCKED" if bad else "SUCCESS"
        )


@contextmanager
def _reporting(bighub: LocalBighub, request_id: str) -> Iterator[_Say]:
    yield _Say(bighub, request_id)


def _baselines(rows: list[Row]) -> dict[str, float]:
    bad = [row.bad for row in rows]
    values = sorted(row.value for row in rows)
    median = values[len(values) // 2]
    return {
        "execute_everything": round(cost([True] * len(rows), bad), 4),
        "review_everything": round(cost([False] * len(rows), bad), 4),
        "review_above_the_median_value": round(cost([row.value <= median for row in rows], bad), 4),
    }


def _plot(name: str, track: Track, out: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    out.mkdir(parents=True, exist_ok=True)
    costs, paid = [], 0.0
    for number, (ran, bad) in enumerate(zip(track.ran, track.bad, strict=True), 1):
        paid += float(bad) if ran else 0.2
        costs.append(paid / number)
    figure, axes = plt.subplots(figsize=(6, 3.5))
    axes.plot(costs[20:])
    axes.axhline(0.2, linestyle=":", label="review everything")
    axes.set(title=f"{name}: mean cost so far", xlabel="decisions", ylabel="cost")
    axes.legend()
    figure.tight_layout()
    figure.savefig(out / f"{name}.png")
    plt.close(figure)
