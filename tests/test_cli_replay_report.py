"""The counts of a replay: what would have been executed, reviewed and blocked."""

from hypothesis import given
from hypothesis import strategies as st

from bighub_langgraph.cli.replay.recording import OutcomeKnown, RecordedCall, Status
from bighub_langgraph.cli.replay.report import (
    POLICIES,
    Tally,
    count_calls,
    group_by_effect,
    group_by_tool,
)
from bighub_langgraph.cli.replay.shadow import ShadowCall
from bighub_langgraph.core.decision import parse_decision
from bighub_langgraph.core.models import Verdict

DECISION = parse_decision({"recommendation": "proceed", "request_id": "r"})


def shadow_call(
    verdict: Verdict, status: Status | None, tool: str = "pay", *, changes: bool | None = None
) -> ShadowCall:
    call = RecordedCall("t", 0, tool, {}, changes)
    return ShadowCall(call, DECISION, verdict, OutcomeKnown(call, status) if status else None)


def test_caught_and_held_up_count_calls_not_executed_without_approval() -> None:
    calls = [
        shadow_call(Verdict.EXECUTE, "SUCCESS"),
        shadow_call(Verdict.EXECUTE, "ROLLBACK"),
        shadow_call(Verdict.REVIEW, "SUCCESS"),
        shadow_call(Verdict.REVIEW, "FAILURE"),
        shadow_call(Verdict.BLOCK, "FAILURE"),
        shadow_call(Verdict.BLOCK, None),
    ]
    assert count_calls(calls) == Tally(
        calls=6,
        execute=2,
        review=2,
        block=2,
        bad=3,
        caught=2,
        good=2,
        held_up=1,
        good_blocked=0,
    )


shadow_calls = st.builds(
    shadow_call, st.sampled_from(Verdict), st.sampled_from([None, "SUCCESS", "FAILURE", "ROLLBACK"])
)


@given(st.lists(shadow_calls))
def test_executing_everything_catches_nothing_and_reviewing_everything_catches_all(
    calls: list[ShadowCall],
) -> None:
    execute, review = (
        count_calls(calls, POLICIES[name]) for name in ("execute everything", "review everything")
    )
    engine = count_calls(calls)
    assert (execute.caught, execute.held_up, execute.review) == (0, 0, 0)
    assert (review.caught, review.held_up, review.review) == (
        review.bad,
        review.good,
        len(calls),
    )
    assert review.caught >= engine.caught >= execute.caught
    assert engine.execute + engine.review + engine.block == engine.calls


def test_tools_are_listed_by_use_and_reads_apart_from_changes() -> None:
    calls = [
        shadow_call(Verdict.EXECUTE, None, "look", changes=False),
        shadow_call(Verdict.EXECUTE, None, "pay", changes=True),
        shadow_call(Verdict.EXECUTE, None, "pay", changes=True),
    ]
    assert list(group_by_tool(calls)) == ["pay", "look"]
    assert {title: len(group) for title, group in group_by_effect(calls).items()} == {
        "change state": 2,
        "only read": 1,
    }
