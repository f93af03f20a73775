"""Counts what shadow mode would have done, by tool and against two plain policies."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bighub_langgraph.cli.replay.shadow import Judged
from bighub_langgraph.core.models import Verdict


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts over some calls under one policy.

    A bad call is *caught* when it would not have run unasked; a good one is *held up* then.
    """

    calls: int = 0
    execute: int = 0
    review: int = 0
    block: int = 0
    bad: int = 0
    caught: int = 0
    good: int = 0
    held_up: int = 0
    good_blocked: int = 0

    @property
    def let_through(self) -> int:
        """Bad calls that would have run unasked."""
        return self.bad - self.caught


Policy = Callable[[Judged], Verdict]


def by_opinion(judged: Judged) -> Verdict:
    """What the engine's decision leads to."""
    return judged.opinion.verdict


POLICIES: dict[str, Policy] = {
    "this engine": by_opinion,
    "execute everything": lambda _: Verdict.EXECUTE,
    "review everything": lambda _: Verdict.REVIEW,
}


def tally(calls: Iterable[Judged], policy: Policy = by_opinion) -> Tally:
    """Count calls as a policy would have treated them."""
    rows = [(policy(call), call.bad) for call in calls]
    verdicts = [verdict for verdict, _ in rows]
    held = [bad for verdict, bad in rows if verdict is not Verdict.EXECUTE]
    return Tally(
        calls=len(rows),
        execute=verdicts.count(Verdict.EXECUTE),
        review=verdicts.count(Verdict.REVIEW),
        block=verdicts.count(Verdict.BLOCK),
        bad=[bad for _, bad in rows].count(True),
        caught=held.count(True),
        good=[bad for _, bad in rows].count(False),
        held_up=held.count(False),
        good_blocked=rows.count((Verdict.BLOCK, False)),
    )


def by_tool(calls: Iterable[Judged]) -> dict[str, list[Judged]]:
    """Group calls by tool, the most used first."""
    groups: dict[str, list[Judged]] = {}
    for call in calls:
        groups.setdefault(call.call.tool, []).append(call)
    return dict(sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])))


def by_effect(calls: Iterable[Judged]) -> dict[str, list[Judged]]:
    """Part calls that change state from reads, as far as the recording tells them apart."""
    titles = {True: "change state", False: "only read", None: "were made"}
    groups: dict[str, list[Judged]] = {title: [] for title in titles.values()}
    for call in calls:
        groups[titles[call.call.state_changing]].append(call)
    return {title: group for title, group in groups.items() if group}
