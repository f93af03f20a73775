"""Shadow mode asks before it tells, runs nothing, and counts what would have happened."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bighub_langgraph.cli.replay.obvious import target_of, value_of
from bighub_langgraph.cli.replay.recording import Known, Proposed, RecordedCall, Status
from bighub_langgraph.cli.replay.shadow import Judged, Opinion, shadow
from bighub_langgraph.cli.replay.tally import POLICIES, Tally, by_effect, by_tool, tally
from bighub_langgraph.core.decision import parse_decision
from bighub_langgraph.core.models import Verdict

DECISION = parse_decision({"recommendation": "proceed", "request_id": "r"})


def opinion(verdict: Verdict) -> Opinion:
    return Opinion(DECISION, verdict)


def judged(
    verdict: Verdict, status: Status | None, tool: str = "pay", *, changes: bool | None = None
) -> Judged:
    call = RecordedCall("t", 0, tool, {}, changes)
    return Judged(call, opinion(verdict), Known(call, status) if status else None)


def test_every_outcome_is_told_after_its_call_was_asked_about_and_in_the_files_order() -> None:
    heard: list[str] = []
    calls = [RecordedCall("t", index, "pay", {}) for index in range(2)]

    def ask(call: RecordedCall) -> Opinion:
        heard.append(f"ask {call.index}")
        return opinion(Verdict.EXECUTE)

    def tell(_: Opinion, known: Known) -> None:
        heard.append(f"tell {known.call.index} {known.status}")

    steps: list[Proposed | Known] = [*map(Proposed, calls)]
    steps += [Known(calls[1], "FAILURE"), Known(calls[0], "SUCCESS")]
    found = list(shadow(steps, ask=ask, tell=tell))
    assert heard == ["ask 0", "ask 1", "tell 1 FAILURE", "tell 0 SUCCESS"]
    assert [one.bad for one in found] == [False, True]


def test_the_same_call_made_twice_is_two_calls() -> None:
    twice = [RecordedCall("t", 0, "pay", {}) for _ in range(2)]
    steps: list[Proposed | Known] = [*map(Proposed, twice)]
    steps += [Known(twice[1], "FAILURE")]
    found = shadow(steps, ask=lambda _: opinion(Verdict.BLOCK), tell=lambda *_: None)
    assert [one.bad for one in list(found)] == [None, True]


def test_caught_and_held_up_count_what_would_not_have_run_unasked() -> None:
    calls = [
        judged(Verdict.EXECUTE, "SUCCESS"),
        judged(Verdict.EXECUTE, "ROLLBACK"),
        judged(Verdict.REVIEW, "SUCCESS"),
        judged(Verdict.REVIEW, "FAILURE"),
        judged(Verdict.BLOCK, "FAILURE"),
        judged(Verdict.BLOCK, None),
    ]
    assert tally(calls) == Tally(
        calls=6, execute=2, review=2, block=2, bad=3, caught=2, good=2, held_up=1, good_blocked=0
    )
    assert tally(calls).let_through == 1


verdicts = st.builds(
    judged, st.sampled_from(Verdict), st.sampled_from([None, "SUCCESS", "FAILURE", "ROLLBACK"])
)


@given(st.lists(verdicts))
def test_executing_everything_catches_nothing_and_reviewing_everything_lets_nothing_through(
    calls: list[Judged],
) -> None:
    execute, review = (
        tally(calls, POLICIES[name]) for name in ("execute everything", "review everything")
    )
    ours = tally(calls)
    assert (execute.caught, execute.held_up, execute.review) == (0, 0, 0)
    assert (review.let_through, review.held_up, review.review) == (0, review.good, len(calls))
    assert review.caught >= ours.caught >= execute.caught
    assert ours.execute + ours.review + ours.block == ours.calls


def test_tools_are_listed_by_use_and_reads_apart_from_changes() -> None:
    calls = [
        judged(Verdict.EXECUTE, None, "look", changes=False),
        judged(Verdict.EXECUTE, None, "pay", changes=True),
        judged(Verdict.EXECUTE, None, "pay", changes=True),
    ]
    assert list(by_tool(calls)) == ["pay", "look"]
    assert {title: len(group) for title, group in by_effect(calls).items()} == {
        "change state": 2,
        "only read": 1,
    }


@pytest.mark.parametrize(
    ("arguments", "target", "value"),
    [
        ({}, None, None),
        ({"user_id": "u", "order_id": "o"}, "o", None),
        ({"invoice_id": 7}, "7", None),
        ({"order_id": ["a"], "ticket_id": "t"}, "t", None),
        ({"amount": 12.5}, None, 12.5),
        ({"amount": "12.5"}, None, 12.5),
        ({"amount": -3}, None, 3.0),
        ({"amount": True, "total": 4}, None, 4.0),
        ({"amount": "a lot"}, None, None),
        ({"amount": float("inf")}, None, None),
        ({"amount": 10**400}, None, None),
        ({"payments": [{"amount": 250}, {"amount": 5}, {"id": 1}]}, None, 255.0),
    ],
)
def test_what_a_call_is_about_is_read_from_common_names(
    arguments: Mapping[str, Any], target: str | None, value: float | None
) -> None:
    assert (target_of(arguments), value_of(arguments)) == (target, value)
