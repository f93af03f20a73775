"""Credit sets as streams of decisions: cost, log loss, the risk limit, delays, censoring."""

import csv
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scores import auc, calibration_error, cost, log_loss

from bighub_langgraph.local import DomainSettings, LocalBighub, Settings

VALUES = {"uci": "LIMIT_BAL", "hmda": "pirat", "credit_data": "Amount", "german": "credit_amount"}
DELAY = 300
MAX_BAD_RATES = (0.05, 0.10)
RUNS = ("proceed", "proceed_with_caution")
REFERENCE = {"uci": 0.148, "hmda": 0.083, "credit_data": 0.144, "german": 0.170}


@dataclass
class Clock:
    """A clock that is set by hand."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@dataclass
class Row:
    """A credit: its facts, its size, and whether it went bad."""

    facts: dict[str, Any]
    value: float
    bad: bool


@dataclass
class DecisionStream:
    """The risks, what was executed, and what went bad, in order."""

    risks: list[float]
    ran: list[bool]
    bad: list[bool]

    def figures(self) -> dict[str, float]:
        """Return the figures of the whole stream."""
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
            figures[name] = _set(name, read_rows(path, VALUES[name])[:rows], out)
            print(name, figures[name], flush=True)
    return figures


def read_rows(path: Path, value: str) -> list[Row]:
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
    # The engine learns the delay from the corrections.
    figures["corrected_late"] = stream(rows, late=True, max_bad_rate=None).figures()
    for max_bad_rate in MAX_BAD_RATES:
        case = f"max_bad_rate_{max_bad_rate}"
        figures[case] = stream(rows, max_bad_rate=max_bad_rate).figures()
        late = stream(rows, late=True, label_delay=float(DELAY), max_bad_rate=max_bad_rate)
        figures[f"{case}_corrected_late"] = late.figures()
    figures["censored"] = stream(rows, censored=True, max_bad_rate=None).figures()
    if out:
        _plot(name, free, out)
    return figures


def stream(
    rows: list[Row], *, late: bool = False, censored: bool = False, **settings: Any
) -> DecisionStream:
    """Evaluate row after row; outcomes come at once, late, or only for executed rows."""
    clock = Clock()
    chosen = Settings(default=DomainSettings(half_life=1e9, **settings))
    decisions = DecisionStream([], [], [])
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
            decisions.risks.append(reply["risk_score"])
            decisions.ran.append(ran)
            decisions.bad.append(row.bad)
            request_id = reply["request_id"]
            if censored and not ran:
                if reply["recommendation"] == "review_recommended":
                    _review(bighub, request_id, bad=row.bad)
            elif late:
                _report(bighub, request_id, bad=False)
                if row.bad:
                    due[number + DELAY] = request_id
            else:
                _report(bighub, request_id, bad=row.bad)
    return decisions


def _report(bighub: LocalBighub, request_id: str, *, bad: bool) -> None:
    bighub.outcomes.report(request_id=request_id, status="FAILURE" if bad else "SUCCESS")


def _review(bighub: LocalBighub, request_id: str, *, bad: bool) -> None:
    bighub.approvals.resolve(request_id, resolution="denied" if bad else "approved")
    bighub.outcomes.report(request_id=request_id, status="BLOCKED" if bad else "SUCCESS")


def _baselines(rows: list[Row]) -> dict[str, float]:
    bad = [row.bad for row in rows]
    values = sorted(row.value for row in rows)
    median = values[len(values) // 2]
    return {
        "execute_everything": round(cost([True] * len(rows), bad), 4),
        "review_everything": round(cost([False] * len(rows), bad), 4),
        "review_above_the_median_value": round(cost([row.value <= median for row in rows], bad), 4),
    }


def _plot(name: str, decisions: DecisionStream, out: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    out.mkdir(parents=True, exist_ok=True)
    costs, paid = [], 0.0
    for number, (ran, bad) in enumerate(zip(decisions.ran, decisions.bad, strict=True), 1):
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
