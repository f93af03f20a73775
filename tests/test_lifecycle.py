"""The life of a call: no order of events breaks a promise."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bighub_langgraph.core.errors import InvalidTransition
from bighub_langgraph.core.lifecycle import (
    EXPIRED,
    STEPS,
    TRANSITIONS,
    AnswerGiven,
    CallCancelled,
    ClaimReleased,
    DecisionMade,
    Event,
    ExecutionFinished,
    ExecutionPaused,
    ExecutionStarted,
    OutcomeResolved,
    OwnerLost,
    RerunAllowed,
    apply_event,
    next_step,
)
from bighub_langgraph.core.models import (
    FINAL_STATES,
    Answer,
    CallRecord,
    State,
    Step,
    ToolSucceeded,
    Verdict,
)
from bighub_langgraph.core.reporting import ReportingConfig, ReportKind, build_reports
from tests.calls import EVENTS, approval, decided, decision, proposed

RAN = ToolSucceeded("done")


def life(events: list[Event]) -> list[tuple[CallRecord, Event, CallRecord]]:
    """The moves that a record really makes when these events befall it."""
    record = proposed()
    moves = []
    for event in events:
        try:
            after = apply_event(record, event)
        except InvalidTransition:
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
        if isinstance(event, ExecutionStarted) and before.state is State.ALLOWED:
            running += after.state is State.RUNNING
        if isinstance(event, ClaimReleased | RerunAllowed):
            running -= 1
        assert running in {0, 1}


@given(st.lists(EVENTS, max_size=30))
def test_nothing_starts_without_an_allowing_verdict_or_a_yes_that_is_still_good(
    events: list[Event],
) -> None:
    permitted = False
    for _, event, after in life(events):
        match event:
            case DecisionMade(verdict=verdict, approval=edit):
                permitted = verdict is Verdict.EXECUTE or (
                    verdict is Verdict.REVIEW and edit is not None
                )
            case AnswerGiven(approval=given_):
                permitted = given_.answer is Answer.APPROVE and after.state is State.ALLOWED
            case CallCancelled():
                permitted = False
            case ExecutionStarted(at=at) if after.state is State.RUNNING:
                assert permitted
                fresh = after.expires_at is None or at < after.expires_at
                assert fresh or after.starts == 0 or before_pause(events)
            case _:
                pass


def before_pause(events: list[Event]) -> bool:
    """Whether a tool paused by itself: it is entered again without a second look at the clock."""
    return any(isinstance(one, ExecutionPaused) for one in events)


def test_an_output_that_holds_itself_is_told_all_the_same() -> None:
    root: dict[str, Any] = {"name": "root"}
    root["children"] = [{"name": name, "parent": root} for name in "abcd"]
    running = apply_event(decided(), ExecutionStarted("me", 0.0))
    ended = apply_event(running, ExecutionFinished("me", ToolSucceeded(root)))
    [memory] = [
        one
        for one in build_reports(running, ended, ReportingConfig())
        if one.kind is ReportKind.MEMORY
    ]
    assert memory.body["event"]["output"]["children"][3] == {"name": "d", "parent": "{...}"}


@given(st.lists(EVENTS, max_size=30))
def test_no_call_ends_without_an_outcome_to_report(events: list[Event]) -> None:
    told = [
        entry.kind
        for before, _, after in life(events)
        for entry in build_reports(before, after, ReportingConfig())
    ]
    ended = [after.state for _, _, after in life(events) if after.is_final]
    expected = [state for state in ended[:1] if state is not State.EDITED]
    assert told.count(ReportKind.OUTCOME) == len(expected)
    assert told.count(ReportKind.MEMORY) == len(expected)


@given(st.lists(EVENTS, max_size=30))
def test_what_has_ended_stays_as_it_is(events: list[Event]) -> None:
    for before, _, _ in life(events):
        assert not before.is_final


@given(st.lists(EVENTS, max_size=30))
def test_every_move_counts_one_version_up(events: list[Event]) -> None:
    assert [after.version for _, _, after in life(events)] == list(range(1, len(life(events)) + 1))


def test_every_state_has_a_next_step_and_only_what_ended_has_no_move() -> None:
    assert set(STEPS) == set(State)
    assert {state for state, _ in TRANSITIONS} == set(State) - FINAL_STATES


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
    denied = apply_event(
        decided(Verdict.REVIEW), AnswerGiven(approval(Answer.REJECT, text="too much"))
    )
    assert (denied.state, denied.reason) == (State.BLOCKED, "too much")
    with pytest.raises(InvalidTransition, match="blocked, which does not allow AnswerGiven"):
        apply_event(denied, AnswerGiven(approval(Answer.APPROVE)))


def test_a_later_evaluation_cannot_overrule_a_no() -> None:
    denied = apply_event(decided(Verdict.REVIEW), AnswerGiven(approval(Answer.REJECT)))
    with pytest.raises(InvalidTransition):
        apply_event(denied, DecisionMade(decision("proceed"), Verdict.EXECUTE))


def test_a_yes_that_comes_too_late_is_a_no() -> None:
    waiting = decided(Verdict.REVIEW, expires_at=10.0)
    late = apply_event(waiting, AnswerGiven(approval(at=10.0)))
    assert (late.state, late.reason) == (State.BLOCKED, EXPIRED)


def test_a_yes_that_is_used_too_late_starts_nothing() -> None:
    approved = apply_event(decided(Verdict.REVIEW), AnswerGiven(approval(at=0.0, expires_at=5.0)))
    late = apply_event(approved, ExecutionStarted("a", at=6.0))
    assert (late.state, late.starts) == (State.BLOCKED, 0)


def test_an_edit_is_a_yes_to_a_review_of_the_new_arguments_but_not_to_a_block() -> None:
    edit = approval(Answer.EDIT)
    assert decided(Verdict.REVIEW, approval=edit).state is State.ALLOWED
    assert decided(Verdict.BLOCK, approval=edit).state is State.BLOCKED


def test_an_edited_call_is_superseded_and_has_nothing_more_to_do() -> None:
    edited = apply_event(decided(Verdict.REVIEW), AnswerGiven(approval(Answer.EDIT)))
    assert edited.state is State.EDITED
    assert next_step(edited) is Step.NOTHING


def test_a_response_stands_in_for_the_tool() -> None:
    responded = apply_event(
        decided(Verdict.REVIEW), AnswerGiven(approval(Answer.RESPOND, text="no need"))
    )
    assert responded.state is State.ANSWERED


def test_the_owner_who_comes_back_settles_a_call_in_doubt() -> None:
    running = apply_event(decided(), ExecutionStarted("a", 0.0))
    lost = apply_event(running, OwnerLost("a", "no sign of life"))
    assert next_step(lost) is Step.ASK
    assert apply_event(lost, ExecutionFinished("a", RAN)).state is State.EXECUTED


def test_nobody_else_can_finish_a_call() -> None:
    running = apply_event(decided(), ExecutionStarted("a", 0.0))
    with pytest.raises(InvalidTransition, match="belongs to a, not to b"):
        apply_event(running, ExecutionFinished("b", RAN))


def test_a_call_in_doubt_is_settled_by_what_was_found_out() -> None:
    lost = apply_event(apply_event(decided(), ExecutionStarted("a", 0.0)), OwnerLost("a", "killed"))
    assert apply_event(lost, OutcomeResolved(RAN)).state is State.EXECUTED
    assert apply_event(lost, RerunAllowed("it did not run")).state is State.ALLOWED


def test_a_tool_that_pauses_is_entered_again_by_its_claim() -> None:
    paused = apply_event(apply_event(decided(), ExecutionStarted("a", 0.0)), ExecutionPaused("a"))
    again = apply_event(paused, ExecutionStarted("b", 1.0))
    assert (again.state, again.owner, again.starts) == (State.RUNNING, "b", 1)
