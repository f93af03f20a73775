"""Count what shadow mode would have done, as a table of 80 columns or as JSON."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from bighub_langgraph.cli.console import create_table, to_visible
from bighub_langgraph.cli.replay.recording import InvalidEntry
from bighub_langgraph.cli.replay.shadow import ShadowCall
from bighub_langgraph.core.models import Verdict

COLUMNS = {
    "calls": "",
    "execute": "green",
    "review": "dark_orange",
    "block": "red",
    "bad\ncaught": "",
    "good\nheld up": "",
    "good\nblocked": "",
}
EFFECTS = {"change state": True, "only read": False, "were made": None}
LEGEND = (
    "Bad: the recording says that the call failed or was not as intended. Caught: it would not have"
    " been executed without approval. Held up: it would have waited for a person or been blocked."
)


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of calls under one policy.

    Attributes:
        caught: Bad calls that would not have been executed without approval.
        held_up: Good calls that would not have been executed without approval.
    """

    calls: int
    execute: int
    review: int
    block: int
    bad: int
    caught: int
    good: int
    held_up: int
    good_blocked: int


Policy = Callable[[ShadowCall], Verdict]
POLICIES: dict[str, Policy] = {
    "this engine": lambda call: call.verdict,
    "execute everything": lambda _: Verdict.EXECUTE,
    "review everything": lambda _: Verdict.REVIEW,
}


def count_calls(calls: Iterable[ShadowCall], policy: Policy = POLICIES["this engine"]) -> Tally:
    """Count calls as a policy would have treated them."""
    rows = [(policy(call), call.is_bad) for call in calls]
    verdicts = [verdict for verdict, _ in rows]
    labels = [is_bad for _, is_bad in rows]
    delayed_labels = [is_bad for verdict, is_bad in rows if verdict is not Verdict.EXECUTE]
    return Tally(
        calls=len(rows),
        execute=verdicts.count(Verdict.EXECUTE),
        review=verdicts.count(Verdict.REVIEW),
        block=verdicts.count(Verdict.BLOCK),
        bad=labels.count(True),
        caught=delayed_labels.count(True),
        good=labels.count(False),
        held_up=delayed_labels.count(False),
        good_blocked=rows.count((Verdict.BLOCK, False)),
    )


def group_by_tool(calls: Sequence[ShadowCall]) -> dict[str, list[ShadowCall]]:
    """Group calls by tool, the most used first."""
    counts = Counter(call.call.tool for call in calls)
    tools = sorted(counts, key=lambda tool: (-counts[tool], tool))
    return {tool: [call for call in calls if call.call.tool == tool] for tool in tools}


def group_by_effect(calls: Sequence[ShadowCall]) -> dict[str, list[ShadowCall]]:
    """Separate calls that change state from reads, as far as the recording says which they are."""
    groups = {
        title: [call for call in calls if call.call.state_changing is state_changing]
        for title, state_changing in EFFECTS.items()
    }
    return {title: group for title, group in groups.items() if group}


def create_document(
    calls: Sequence[ShadowCall], invalid_entries: Sequence[InvalidEntry]
) -> dict[str, Any]:
    """Get the whole replay for JSON: by tool, by policy, by call, and what was skipped."""
    return {
        "trajectories": len({call.call.trajectory for call in calls}),
        "calls": len(calls),
        "tools": [
            {"tool": tool, "state_changing": group[0].call.state_changing}
            | asdict(count_calls(group))
            for tool, group in group_by_tool(calls).items()
        ],
        "policies": {
            title.replace(" ", "_"): {
                name.replace(" ", "_"): asdict(count_calls(group, policy))
                for name, policy in POLICIES.items()
            }
            for title, group in (group_by_effect(calls) | {"all": list(calls)}).items()
        },
        "decisions": [
            {
                "trajectory": call.call.trajectory,
                "index": call.call.index,
                "tool": call.call.tool,
                "recommendation": call.decision.raw_recommendation,
                "confidence": call.decision.confidence,
                "risk_score": call.decision.risk_score,
                "verdict": call.verdict.value,
                "outcome": call.outcome.status if call.outcome else None,
            }
            for call in calls
        ],
        "skipped": [asdict(entry) for entry in invalid_entries],
    }


def format_report(calls: Sequence[ShadowCall]) -> RenderableType:
    """Get a table of the counts by tool, and of each policy for all tools."""
    trajectories = len({call.call.trajectory for call in calls})
    table = create_table(f"{len(calls)} calls of {trajectories} trajectories; none was executed")
    table.add_column("", overflow="fold", ratio=1)
    for title, style in COLUMNS.items():
        table.add_column(title, justify="right", style=style, min_width=6)
    for title, group in group_by_effect(calls).items():
        for tool, tool_calls in group_by_tool(group).items():
            table.add_row(Text(to_visible(tool)), *_format_tally(count_calls(tool_calls)))
        table.add_section()
        table.add_row(f"all that {title}", *_format_tally(count_calls(group)), style="bold")
        for name in ("execute everything", "review everything"):
            table.add_row(f"  {name}", *_format_tally(count_calls(group, POLICIES[name])))
        table.add_section()
    unknown = sum(call.is_bad is None for call in calls)
    note = f" {unknown} calls have no recorded outcome and count as neither." if unknown else ""
    return Group(table, "", Text(f"{LEGEND}{note}", style="dim"))


def _format_tally(tally: Tally) -> Iterator[str]:
    for count in (tally.calls, tally.execute, tally.review, tally.block):
        yield str(count or ".")
    yield _format_share(tally.caught, tally.bad)
    yield _format_share(tally.held_up, tally.good)
    yield _format_share(tally.good_blocked, tally.good)


def _format_share(part: int, total: int) -> str:
    return f"{part} of {total}" if total else "."
