"""The life of a call: no order of events breaks a promise."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bighub_langgraph.core.errors import IllegalMove
from bighub_langgraph.core.lifecycle import (
    EXPIRED,
    MOVES,
    STEPS,
    Answered,
    Closed,
    Decided,
    Event,
    Finished,
    Interrupted,
    Lost,
    Released,
    Rerun,
    Resolved,
    Started,
    advance,
    next_step,
)
from bighub_langgraph.core.models import TERMINAL, Answer, Executed, Record, State, Step, Verdict
from bighub_langgraph.core.reporting import Kind, Telling, entries
from tests.calls import EVENTS, approval, decided, decision, proposed

RAN = Executed("done")


def life(events: list[Event]) -> list[tuple[Record, Event, Record]]:
    """The moves that a record really makes when these events befall it."""
    record = proposed()
    moves = []
    for event in events:
        try:
            after = advance(record, event)
        except IllegalMove:
            continue
        moves.append((record, event, after))
        record = after
    return moves


@given(st.lists(EVENTS, max_size=30))
def test_a_call_is_started_once_unless_somebody_says_that_it_did_not_run(
    events: list[Event],
) -> None:
    running = 0
    for before, event, after in life(events):
        if isinstance(event, Started) and before.state is State.ALLOWED:
            running += after.state is State.RUNNING
        if isinstance(event, Released | Rerun):
            running -= 1
        assert running in {0, 1}


@given(st.lists(EVENTS, max_size=30))
def test_nothing_starts_without_an_allowing_verdict_or_a_yes_that_is_still_good(
    events: list[Event],
) -> None:
    permitted = False
    for _, event, after in life(events):
        match event:
            case Decided(verdict=verdict, approval=edit):
                permitted = verdict is Verdict.EXECUTE or (
                    verdict is Verdict.REVIEW and edit is not None
                )
            case Answered(approval=given_):
                permitted = given_.answer is Answer.APPROVE and after.state is State.ALLOWED
            case Closed():
                permitted = False
            case Started(at=at) if after.state is State.RUNNING:
                assert permitted
                fresh = after.expires_at is None or at < after.expires_at
                assert fresh or after.starts == 0 or before_pause(events)
            case _:
                pass


def before_pause(events: list[Event]) -> bool:
    """Whether a tool paused by itself: it is entered again without a second look at the clock."""
    return any(isinstance(one, Interrupted) for one in events)


def test_an_output_that_holds_itself_is_told_all_the_same() -> None:
    root: dict[str, Any] = {"name": "root"}
    root["children"] = [{"name": name, "parent": root} for name in "abcd"]
    running = advance(decided(), Started("me", 0.0))
    ended = advance(running, Finished("me", Executed(root)))
    [memory] = [one for one in entries(running, ended, Telling()) if one.kind is Kind.MEMORY]
    assert memory.body["event"]["output"]["children"][3] == {"name": "d", "parent": "{...}"}


@given(st.lists(EVENTS, max_size=30))
def test_no_call_ends_without_an_outcome_to_report(events: list[Event]) -> None:
    told = [
        entry.kind
        for before, _, after in life(events)
        for entry in entries(before, after, Telling())
    ]
    ended = [after.state for _, _, after in life(events) if after.terminal]
    expected = [state for state in ended[:1] if state is not State.SUPERSEDED]
    assert told.count(Kind.OUTCOME) == len(expected)
    assert told.count(Kind.MEMORY) == len(expected)


@given(st.lists(EVENTS, max_size=30))
def test_what_has_ended_stays_as_it_is(events: list[Event]) -> None:
    for before, _, _ in life(events):
        assert not before.terminal


@given(st.lists(EVENTS, max_size=30))
def test_every_move_counts_one_version_up(events: list[Event]) -> None:
    assert [after.version for _, _, after in life(events)] == list(range(1, len(life(events)) + 1))


def test_every_state_has_a_next_step_and_only_what_ended_has_no_move() -> None:
    assert set(STEPS) == set(State)
    assert {state for state, _ in MOVES} == set(State) - TERMINAL


@pytest.mark.parametrize(
    ("verdict", "step"),
    [
        (Verdict.EXECUTE, Step.EXECUTE),
        (Verdict.REVIEW, Step.ASK),
        (Verdict.BLOCK, Step.REPORT),
    ],
)
def test_a_verdict_says_what_comes_next(verdict: Verdict, step: Step) -> None:
    assert next_step(proposed()) is Step.EVALUATE
    assert next_step(decided(verdict)) is step


def test_the_first_answer_wins() -> None:
    denied = advance(decided(Verdict.REVIEW), Answered(approval(Answer.REJECT, text="too much")))
    assert (denied.state, denied.reason) == (State.BLOCKED, "too much")
    with pytest.raises(IllegalMove, match="blocked, which allows no Answered"):
        advance(denied, Answered(approval(Answer.APPROVE)))


def test_a_later_evaluation_cannot_overrule_a_no() -> None:
    denied = advance(decided(Verdict.REVIEW), Answered(approval(Answer.REJECT)))
    with pytest.raises(IllegalMove):
        advance(denied, Decided(decision("proceed"), Verdict.EXECUTE))


def test_a_yes_that_comes_too_late_is_a_no() -> None:
    waiting = decided(Verdict.REVIEW, expires_at=10.0)
    late = advance(waiting, Answered(approval(at=10.0)))
    assert (late.state, late.reason) == (State.BLOCKED, EXPIRED)


def test_a_yes_that_is_used_too_late_starts_nothing() -> None:
    approved = advance(decided(Verdict.REVIEW), Answered(approval(at=0.0, expires_at=5.0)))
    late = advance(approved, Started("a", at=6.0))
    assert (late.state, late.starts) == (State.BLOCKED, 0)


def test_an_edit_is_a_yes_to_a_review_of_the_new_arguments_but_not_to_a_block() -> None:
    edit = approval(Answer.EDIT)
    assert decided(Verdict.REVIEW, approval=edit).state is State.ALLOWED
    assert decided(Verdict.BLOCK, approval=edit).state is State.BLOCKED


def test_an_edited_call_is_superseded_and_has_nothing_more_to_do() -> None:
    edited = advance(decided(Verdict.REVIEW), Answered(approval(Answer.EDIT)))
    assert edited.state is State.SUPERSEDED
    assert next_step(edited) is Step.NOTHING


def test_a_response_stands_in_for_the_tool() -> None:
    responded = advance(decided(Verdict.REVIEW), Answered(approval(Answer.RESPOND, text="no need")))
    assert responded.state is State.ANSWERED


def test_the_owner_who_comes_back_settles_a_call_in_doubt() -> None:
    running = advance(decided(), Started("a", 0.0))
    lost = advance(running, Lost("a", "no sign of life"))
    assert next_step(lost) is Step.ASK
    assert advance(lost, Finished("a", RAN)).state is State.EXECUTED


def test_nobody_else_can_finish_a_call() -> None:
    running = advance(decided(), Started("a", 0.0))
    with pytest.raises(IllegalMove, match="belongs to a, not to b"):
        advance(running, Finished("b", RAN))


def test_a_call_in_doubt_is_settled_by_what_was_found_out() -> None:
    lost = advance(advance(decided(), Started("a", 0.0)), Lost("a", "killed"))
    assert advance(lost, Resolved(RAN)).state is State.EXECUTED
    assert advance(lost, Rerun("it did not run")).state is State.ALLOWED


def test_a_tool_that_pauses_is_entered_again_by_its_claim() -> None:
    paused = advance(advance(decided(), Started("a", 0.0)), Interrupted("a"))
    again = advance(paused, Started("b", 1.0))
    assert (again.state, again.owner, again.starts) == (State.RUNNING, "b", 1)
