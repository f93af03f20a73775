"""Draw what the embedded engine learns from recorded agent runs.

    python docs/pictures/learning.py RUNS.jsonl docs/pictures/learning.svg

RUNS.jsonl is in the compact format that `bighub-langgraph replay --help` describes, in time order,
with `state_changing`, `error` and `as_intended` for each call. A new engine evaluates every call
that changes state; its outcome is reported only when the conversation is over. Needs matplotlib.
"""
# ruff: noqa: INP001, T201 - a script, which prints

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

from bighub_langgraph import BighubGuard, LocalBighub, ToolPolicy

Json = dict[str, Any]
WINDOW = 30
GOOD, BAD, PLAIN = "#2a7f62", "#c0392b", "#8a8a8a"


@dataclass(frozen=True, slots=True)
class EvaluatedCall:
    """One recorded call: its risk before the call, and whether it was bad."""

    tool: str
    value: float
    risk: float
    bad: bool


def evaluate_runs(runs: Path) -> Iterator[EvaluatedCall]:
    """Evaluate every state-changing call of some runs with a new engine, in time order."""
    conversations = [json.loads(line) for line in runs.read_text(encoding="utf-8").splitlines()]
    policies = {call["tool"]: create_policy() for run in conversations for call in run["calls"]}
    # The recordings have no times; with a clock that advances at every read, runs are repeatable.
    engine = LocalBighub(clock=itertools.count(1_700_000_000.0).__next__)
    with engine, BighubGuard(bighub=engine, domain="airline", tools=policies) as guard:
        for run in conversations:
            ended: list[tuple[str | None, bool]] = []
            for call in run["calls"]:
                if not call.get("state_changing"):
                    continue
                decision = guard.evaluate(
                    call["tool"], call["arguments"], session=run["trajectory_id"]
                )
                bad = bool(call.get("error")) or not call.get("as_intended")
                ended.append((decision.request_id, bad))
                value = value_of(call["arguments"]) or 0.0
                yield EvaluatedCall(call["tool"], value, decision.risk_score or 0.0, bad)
            for request_id, bad in ended:
                status = "ROLLBACK" if bad else "SUCCESS"
                guard.client.outcomes.report(request_id=request_id, status=status)


def create_policy() -> ToolPolicy:
    """The policy of every tool: value and target from the arguments."""
    return ToolPolicy(
        value_from_args=value_of,
        target_from_args=lambda args: args.get("reservation_id") or args.get("user_id"),
    )


def value_of(arguments: Json) -> float | None:
    """The amount at stake, where the arguments name one."""
    if "amount" in arguments:
        return float(arguments["amount"])
    amounts = [method.get("amount") for method in arguments.get("payment_methods", [])]
    return float(sum(amounts)) if amounts else None


def caught_and_held_up(
    calls: Sequence[EvaluatedCall], scores: Sequence[float]
) -> tuple[list[float], list[float]]:
    """The shares of good calls held up and of bad calls caught, for every limit on a score."""
    bad = [score for call, score in zip(calls, scores, strict=True) if call.bad]
    good = [score for call, score in zip(calls, scores, strict=True) if not call.bad]
    limits = [*sorted(set(scores), reverse=True), float("-inf")]
    held_up = [sum(score >= limit for score in good) / len(good) for limit in limits]
    caught = [sum(score >= limit for score in bad) / len(bad) for limit in limits]
    return [0.0, *held_up], [0.0, *caught]


def running_mean(calls: Sequence[EvaluatedCall], *, bad: bool) -> tuple[list[int], list[float]]:
    """The mean risk of the bad or of the good calls among the last few, over time."""
    at, means = [], []
    for end in range(WINDOW, len(calls) + 1):
        risks = [call.risk for call in calls[end - WINDOW : end] if call.bad is bad]
        if risks:
            at.append(end)
            means.append(sum(risks) / len(risks))
    return at, means


def draw(calls: Sequence[EvaluatedCall], path: Path) -> None:
    """Draw both panels."""
    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "learning", "font.size": 9, "axes.grid": True})
    mpl.rcParams.update({"grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False})
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    left.plot(*running_mean(calls, bad=True), color=BAD, label="calls that went wrong")
    left.plot(*running_mean(calls, bad=False), color=GOOD, label="calls as intended")
    left.set(xlabel="state-changing calls so far", ylabel=f"mean risk, last {WINDOW} calls")
    left.set(ylim=(0, 1), title="Risk before each call, as outcomes come in")
    left.legend(frameon=False)
    risks, values = [call.risk for call in calls], [call.value for call in calls]
    right.plot(*caught_and_held_up(calls, risks), color=BAD, label="the engine's risk")
    right.plot(*caught_and_held_up(calls, values), color=PLAIN, label="limit on the value")
    right.plot([0, 1], [0, 1], color=PLAIN, linestyle=":", label="chance")
    right.set(xlabel="good calls held up", ylabel="bad calls caught", xlim=(0, 1), ylim=(0, 1.02))
    right.set(title="What a limit on the risk would catch")
    right.legend(frameon=False, loc="lower right")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Evaluate the calls, draw the picture, and print its figures."""
    runs, path = map(Path, sys.argv[1:3])
    calls = list(evaluate_runs(runs))
    draw(calls, path)
    held_up, caught = caught_and_held_up(calls, [call.risk for call in calls])
    area = sum(
        (right - left) * (low + high) / 2
        for left, right, low, high in zip(held_up, held_up[1:], caught, caught[1:], strict=False)
    )
    bad = sum(call.bad for call in calls)
    print(f"{len(calls)} calls, {bad} of them bad, area under the curve {area:.2f}")
    for bound in (0.25, 0.5):
        most = max(c for h, c in zip(held_up, caught, strict=True) if h <= bound)
        print(f"holding up at most {bound:.0%} of the good ones catches {most:.0%} of the bad ones")


if __name__ == "__main__":
    main()
