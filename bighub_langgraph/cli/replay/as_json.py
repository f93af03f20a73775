"""A replay's counts and every call's verdict as one JSON document for machines."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bighub_langgraph.cli.replay.records import BadLine
from bighub_langgraph.cli.replay.shadow import Judged
from bighub_langgraph.cli.replay.tally import POLICIES, by_effect, by_tool, tally


def as_json(calls: Sequence[Judged], bad_lines: Sequence[BadLine]) -> dict[str, Any]:
    """The whole replay: by tool, against plain policies, call by call, and what was skipped."""
    return {
        "trajectories": len({judged.call.trajectory for judged in calls}),
        "calls": len(calls),
        "tools": [
            {"tool": tool, "state_changing": group[0].call.state_changing} | asdict(tally(group))
            for tool, group in by_tool(calls).items()
        ],
        "policies": {
            title.replace(" ", "_"): {
                name.replace(" ", "_"): asdict(tally(group, policy))
                for name, policy in POLICIES.items()
            }
            for title, group in (by_effect(calls) | {"all": list(calls)}).items()
        },
        "decisions": [_decision(judged) for judged in calls],
        "skipped": [asdict(bad) for bad in bad_lines],
    }


def _decision(judged: Judged) -> dict[str, Any]:
    decision = judged.opinion.decision
    return {
        "trajectory": judged.call.trajectory,
        "index": judged.call.index,
        "tool": judged.call.tool,
        "recommendation": decision.raw_recommendation,
        "confidence": decision.confidence,
        "risk_score": decision.risk_score,
        "verdict": judged.opinion.verdict.value,
        "outcome": judged.outcome.status if judged.outcome else None,
    }
