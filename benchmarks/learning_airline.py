"""A real airline agent: which unintended calls are caught, at the price of which intended."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from scores import auc

from bighub_langgraph.local import DomainSettings, LocalBighub, Settings

FOLDS = 10
Run = dict[str, Any]


@dataclass
class Judged:
    """A state-changing call: its risk before its outcome, and what it was."""

    risk: float
    value: float
    bad: bool


def measure(transcripts: Path, out: Path | None) -> dict[str, Any]:
    runs = [json.loads(line) for line in transcripts.read_text().splitlines() if line.strip()]
    stream = prequential(runs)
    figures = {
        "state_changing_calls": len(stream),
        "auc_as_outcomes_arrive": _auc(stream),
        "auc_leave_task_out": _auc(leave_task_out(runs)),
        "auc_leave_task_out_blind": _auc(leave_task_out(runs, blind=True)),
        "auc_new_runs_of_seen_tasks": _auc(seen_tasks(runs)),
        "auc_new_runs_of_seen_tasks_blind": _auc(seen_tasks(runs, blind=True)),
        "curve": curve(stream),
        "static_value_rule": value_rule(stream),
    }
    if out:
        _plot(figures, out)
    return figures


def prequential(runs: list[Run]) -> list[Judged]:
    """Every call in time order; its outcome is reported after it was evaluated."""
    with _engine() as bighub:
        return [judged for run in runs for judged in _live(bighub, run)]


def leave_task_out(runs: list[Run], *, blind: bool = False) -> list[Judged]:
    """Risks of a task's calls from an engine that has seen only other tasks.

    Of the task's own calls it learns only the airline system's immediate response, a refusal or a
    fact looked up, and never whether a change was intended; blind it learns nothing of them.
    """
    judged: list[Judged] = []
    for fold in range(FOLDS):
        held = [run for run in runs if run["task_id"] % FOLDS == fold]
        rest = [run for run in runs if run["task_id"] % FOLDS != fold]
        judged += _judge_after_training(rest, held, _no_status if blind else _system_status)
    return judged


def seen_tasks(runs: list[Run], *, blind: bool = False) -> list[Judged]:
    """Risks of the later trials' calls from an engine that has seen the first trial."""
    first = min(run["trial"] for run in runs)
    return _judge_after_training(
        [run for run in runs if run["trial"] == first],
        [run for run in runs if run["trial"] != first],
        _no_status if blind else _system_status,
    )


def curve(stream: list[Judged]) -> list[dict[str, float]]:
    """For each share of intended calls held up, the share of unintended ones caught."""
    good = sorted((each.risk for each in stream if not each.bad), reverse=True)
    points = []
    for tenth in range(1, 10):
        held = max(1, round(tenth / 10 * len(good)))
        limit = good[held - 1]
        caught = _share([each.risk >= limit for each in stream if each.bad])
        points.append({"intended_held_up": round(held / len(good), 3), "unintended_caught": caught})
    return points


def value_rule(stream: list[Judged]) -> dict[str, float]:
    """Reviewing every state-changing call above the median value."""
    middle = median(each.value for each in stream)
    return {
        "intended_held_up": _share([each.value > middle for each in stream if not each.bad]),
        "unintended_caught": _share([each.value > middle for each in stream if each.bad]),
    }


def _engine() -> LocalBighub:
    """An engine with a clock of its own: a call every five seconds, at every measurement."""
    ticks = count(1_700_000_000, 5)
    settings = Settings(default=DomainSettings(label_delay=0.0))
    return LocalBighub(settings=settings, clock=lambda: float(next(ticks)))


def _judge_after_training(seen: list[Run], new: list[Run], status_of: "StatusRule") -> list[Judged]:
    with _engine() as bighub:
        for run in seen:
            list(_live(bighub, run))
        return [judged for run in new for judged in _live(bighub, run, status_of)]


StatusRule = Callable[[Run], str | None]


def _intended_status(call: Run) -> str | None:
    if call["error"]:
        return "FAILURE"
    return "INCIDENT" if call["as_intended"] is False else "SUCCESS"


def _system_status(call: Run) -> str | None:
    if call["error"]:
        return "FAILURE"
    return None if call["state_changing"] else "SUCCESS"


def _no_status(_call: Run) -> str | None:
    return None


def _live(
    bighub: LocalBighub, run: Run, status_of: StatusRule = _intended_status
) -> Iterator[Judged]:
    for call in run["calls"]:
        reply = bighub.actions.evaluate(
            action=call["tool"],
            value=_value(call["arguments"]),
            actor="agent",
            domain="airline",
            context={"trajectory_id": run["trajectory_id"], "arguments": call["arguments"]},
        )
        bad = call["as_intended"] is False if call["state_changing"] else call["error"]
        if call["state_changing"]:
            yield Judged(reply["risk_score"], _value(call["arguments"]) or 0.0, bad)
        if (status := status_of(call)) is not None:
            bighub.outcomes.report(request_id=reply["request_id"], status=status)


def _value(arguments: Any) -> float | None:
    """The money a call moves, where it says so."""
    amounts = [float(each) for each in _amounts(arguments)]
    return sum(amounts) if amounts else None


def _amounts(tree: Any, name: str = "") -> Iterator[float]:
    if isinstance(tree, dict):
        for key, inner in tree.items():
            yield from _amounts(inner, key)
    elif isinstance(tree, list):
        for inner in tree:
            yield from _amounts(inner, name)
    elif name == "amount" and isinstance(tree, (int, float)) and tree >= 0:
        yield tree


def _auc(judged: list[Judged]) -> float:
    return round(auc([each.risk for each in judged], [each.bad for each in judged]), 4)


def _share(hits: list[bool]) -> float:
    return round(sum(hits) / len(hits), 3) if hits else 0.0


def _plot(figures: dict[str, Any], out: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    out.mkdir(parents=True, exist_ok=True)
    held = [point["intended_held_up"] for point in figures["curve"]]
    caught = [point["unintended_caught"] for point in figures["curve"]]
    rule = figures["static_value_rule"]
    figure, axes = plt.subplots(figsize=(5, 4))
    axes.plot([0, *held, 1], [0, *caught, 1], marker="o", label="embedded engine")
    axes.plot([0, 1], [0, 1], linestyle=":", label="chance")
    axes.plot(rule["intended_held_up"], rule["unintended_caught"], "x", label="above median value")
    axes.set(xlabel="intended calls held up", ylabel="unintended calls caught")
    axes.legend()
    figure.tight_layout()
    figure.savefig(out / "airline.png")
    plt.close(figure)
