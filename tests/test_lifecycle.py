"""The life of a call: the promises hold for every order of events."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bighub_langgraph import Journal
from bighub_langgraph.core.errors import InvalidTransition
from bighub_langgraph.core.lifecycle import (
    EXPIRED_REASON,
    STEPS,
    TRANSITIONS,
    AnswerGiven,
    CallCancelled,
    CallExpired,
    ClaimReleased,
    DecisionMade,
    Event,
    ExecutionFinished,
    ExecutionPaused,
    ExecutionStarted,
    NobodyToAsk,
    OutcomeResolved,
    OwnerLost,
    RerunAllowed,
    apply_event,
    next_step,
)
from bighub_langgraph.core.models import (
    FINAL_STATES,
    Answer,
    ApprovalRequirement,
    CallRecord,
    State,
    Step,
    ToolSucceeded,
    Verdict,
)
from bighub_langgraph.core.reporting import ReportingConfig, ReportKind, build_reports
from tests.calls import EVENTS, approval, decided_record, decision, proposed_record

SUCCEEDED = ToolSucceeded("done")


def transitions_of(events: list[Event]) -> list[tuple[CallRecord, Event, CallRecord]]:
    """The transitions of a record under these events; events that it does not allow are skipped."""
    record = proposed_record()
    transitions = []
    for event in events:
        try:
            after = apply_event(record, event)
        except InvalidTransition:
            continue
        transitions.append((record, event, after))
        record = after
    return transitions


@given(st.lists(EVENTS, max_size=30))
def test_a_call_is_started_once_unless_a_person_reports_that_it_did_not_run(
    events: list[Event],
) -> None:
    running = 0
    for before, event, after in transitions_of(events):
        if isinstance(event, ExecutionStarted) and before.state is State.ALLOWED:
            running += after.state is State.RUNNING
        if isinstance(event, ClaimReleased | RerunAllowed):
            running -= 1
        assert running in {0, 1}


@given(st.lists(EVENTS, max_size=30))
def test_nothing_starts_without_an_execute_verdict_or_a_valid_approval(
    events: list[Event],
) -> None:
    permitted = False
    for _, event, after in transitions_of(events):
        match event:
            case DecisionMade(verdict=verdict, approval=edit):
                permitted = verdict is Verdict.EXECUTE or (
                    verdict is Verdict.REVIEW and edit is not None and is_approved_by_enough(after)
                )
            case AnswerGiven(approval=answer):
                permitted = answer.answer is Answer.APPROVE and is_approved_by_enough(after)
            case CallCancelled() | CallExpired() | NobodyToAsk():
                permitted = False
            case ExecutionStarted(at=at) if after.state is State.RUNNING:
                assert permitted
                is_valid = after.expires_at is None or at < after.expires_at
                assert is_valid or after.starts == 0 or has_pause(events)
            case _:
                pass


def is_approved_by_enough(record: CallRecord) -> bool:
    """Whether as many people as needed have approved: of several, or of some, verified ones."""
    needed, votes = record.requirement, record.votes
    if needed.approvals == 1 and not needed.approvers:
        return len(votes) == 1
    names = {vote.approver for vote in votes if vote.verified}
    return (
        len(names) == len(votes) == needed.approvals
        and needed.requested_by not in names
        and names <= ({*needed.approvers} or names)
    )


def has_pause(events: list[Event]) -> bool:
    """Whether the tool paused: it is entered again without a second check of the expiry."""
    return any(isinstance(event, ExecutionPaused) for event in events)


def test_an_output_that_contains_itself_is_reported() -> None:
    root: dict[str, Any] = {"name": "root"}
    root["children"] = [{"name": name, "parent": root} for name in "abcd"]
    running = apply_event(decided_record(), ExecutionStarted("me", 0.0))
    ended = apply_event(running, ExecutionFinished("me", ToolSucceeded(root)))
    [memory] = [
        report
        for report in build_reports(running, ended, ReportingConfig())
        if report.kind is ReportKind.MEMORY
    ]
    assert memory.body["event"]["output"]["children"][3] == {"name": "d", "parent": "{...}"}


@given(st.lists(EVENTS, max_size=30))
def test_no_call_ends_without_an_outcome_to_report(events: list[Event]) -> None:
    kinds = [
        report.kind
        for before, _, after in transitions_of(events)
        for report in build_reports(before, after, ReportingConfig())
    ]
    ended = [after.state for _, _, after in transitions_of(events) if after.is_final]
    expected = [state for state in ended[:1] if state is not State.EDITED]
    assert kinds.count(ReportKind.OUTCOME) == len(expected)
    assert kinds.count(ReportKind.MEMORY) == len(expected)


@given(st.lists(EVENTS, max_size=30))
def test_a_final_record_does_not_change(events: list[Event]) -> None:
    assert not any(before.is_final for before, _, _ in transitions_of(events))


@given(st.lists(EVENTS, max_size=30))
def test_every_transition_increments_the_version(events: list[Event]) -> None:
    assert [after.version for _, _, after in transitions_of(events)] == list(
        range(1, len(transitions_of(events)) + 1)
    )


def test_every_state_has_a_next_step_and_every_state_that_is_not_final_has_a_transition() -> None:
    assert set(STEPS) == set(State)
    assert {state for state, _ in TRANSITIONS} == {*State} - (FINAL_STATES - {State.EDITED})


@pytest.mark.parametrize(
    ("verdict", "step"),
    [
        (Verdict.EXECUTE, Step.EXECUTE),
        (Verdict.REVIEW, Step.ASK),
        (Verdict.BLOCK, Step.REPORT),
    ],
)
def test_the_verdict_determines_the_next_step(verdict: Verdict, step: Step) -> None:
    assert next_step(proposed_record()) is Step.EVALUATE
    assert next_step(decided_record(verdict)) is step


def test_the_first_answer_wins() -> None:
    denied = apply_event(
        decided_record(Verdict.REVIEW), AnswerGiven(approval(Answer.REJECT, text="too much"))
    )
    assert (denied.state, denied.reason) == (State.BLOCKED, "too much")
    with pytest.raises(InvalidTransition, match="blocked, which does not allow AnswerGiven"):
        apply_event(denied, AnswerGiven(approval(Answer.APPROVE)))


def test_a_later_evaluation_cannot_overrule_a_rejection() -> None:
    denied = apply_event(decided_record(Verdict.REVIEW), AnswerGiven(approval(Answer.REJECT)))
    with pytest.raises(InvalidTransition):
        apply_event(denied, DecisionMade(decision("proceed"), Verdict.EXECUTE))


@pytest.mark.parametrize(
    ("event", "state", "reason"),
    [
        (AnswerGiven(approval(at=10.0)), State.EXPIRED, EXPIRED_REASON),
        (AnswerGiven(approval(Answer.REJECT, at=10.0)), State.EXPIRED, EXPIRED_REASON),
        (CallExpired(10.0), State.EXPIRED, EXPIRED_REASON),
        (CallCancelled("a new message"), State.CANCELLED, "a new message"),
        (NobodyToAsk("no checkpointer"), State.BLOCKED, "no checkpointer"),
    ],
)
def test_a_call_that_nobody_answers_ends_without_an_answer(
    event: Event, state: State, reason: str
) -> None:
    waiting = decided_record(Verdict.REVIEW, expires_at=10.0)
    ended = apply_event(waiting, event)
    assert (ended.state, ended.reason, ended.approval) == (state, reason, None)
    kinds = [report.kind for report in build_reports(waiting, ended, ReportingConfig())]
    assert kinds == [ReportKind.OUTCOME, ReportKind.MEMORY]


def test_a_call_does_not_expire_before_its_time() -> None:
    for record in (decided_record(Verdict.REVIEW), decided_record(expires_at=10.0)):
        with pytest.raises(InvalidTransition, match="its time is not over"):
            apply_event(record, CallExpired(9.9))


def test_an_approval_that_is_used_after_its_expiry_starts_nothing() -> None:
    approved = apply_event(
        decided_record(Verdict.REVIEW), AnswerGiven(approval(at=0.0, expires_at=5.0))
    )
    late = apply_event(approved, ExecutionStarted("a", at=6.0))
    assert (late.state, late.starts) == (State.EXPIRED, 0)


def test_an_edit_approves_a_review_of_the_new_arguments_but_not_a_block() -> None:
    edit = approval(Answer.EDIT)
    assert decided_record(Verdict.REVIEW, approval=edit).state is State.ALLOWED
    assert decided_record(Verdict.BLOCK, approval=edit).state is State.BLOCKED


def test_an_edited_call_is_final_and_has_no_next_step() -> None:
    edited = apply_event(decided_record(Verdict.REVIEW), AnswerGiven(approval(Answer.EDIT)))
    assert edited.state is State.EDITED
    assert next_step(edited) is Step.NOTHING


def test_a_response_replaces_the_output_of_the_tool() -> None:
    responded = apply_event(
        decided_record(Verdict.REVIEW), AnswerGiven(approval(Answer.RESPOND, text="no need"))
    )
    assert responded.state is State.ANSWERED


def test_an_owner_that_returns_completes_a_call_with_an_unknown_outcome() -> None:
    running = apply_event(decided_record(), ExecutionStarted("a", 0.0))
    lost = apply_event(running, OwnerLost("a", "no sign of life"))
    assert next_step(lost) is Step.ASK
    assert apply_event(lost, ExecutionFinished("a", SUCCEEDED)).state is State.EXECUTED


def test_only_the_owner_can_finish_a_call() -> None:
    running = apply_event(decided_record(), ExecutionStarted("a", 0.0))
    with pytest.raises(InvalidTransition, match="belongs to a, not to b"):
        apply_event(running, ExecutionFinished("b", SUCCEEDED))


def test_an_unknown_outcome_is_resolved_or_the_call_may_run_again() -> None:
    lost = apply_event(
        apply_event(decided_record(), ExecutionStarted("a", 0.0)), OwnerLost("a", "killed")
    )
    assert apply_event(lost, OutcomeResolved(SUCCEEDED)).state is State.EXECUTED
    assert apply_event(lost, RerunAllowed("it did not run")).state is State.ALLOWED


def test_a_tool_that_paused_is_entered_again_under_its_claim() -> None:
    paused = apply_event(
        apply_event(decided_record(), ExecutionStarted("a", 0.0)), ExecutionPaused("a")
    )
    again = apply_event(paused, ExecutionStarted("b", 1.0))
    assert (again.state, again.owner, again.starts) == (State.RUNNING, "b", 1)


@pytest.mark.parametrize(
    "event",
    [
        AnswerGiven(approval()),
        AnswerGiven(approval(Answer.RESPOND, text="paid")),
        RerunAllowed("run again", approval()),
        OutcomeResolved(SUCCEEDED, approval(Answer.RESPOND)),
    ],
)
def test_an_answer_that_does_not_count_is_kept_once(event: Any) -> None:
    record = decided_record(Verdict.REVIEW, requirement=ApprovalRequirement(2))
    if not isinstance(event, AnswerGiven):
        record = record._replace(state=State.UNKNOWN)
    first = apply_event(record, event)
    assert (first.version, len(first.refused_answers)) == (record.version + 1, 1)
    later = replace(event.approval, at=9.0, expires_at=99.0)
    assert apply_event(first, event._replace(approval=later)) is first
    other = replace(event.approval, approver="eve")
    assert apply_event(first, event._replace(approval=other)).version == first.version + 1
    assert first.votes == ()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_what_changes_nothing_is_not_stored(tmp_path: Path, kind: str) -> None:
    journal = Journal(tmp_path / "calls.db") if kind == "sqlite" else Journal.in_memory()
    record = decided_record(Verdict.REVIEW, requirement=ApprovalRequirement(2))
    journal.insert([record], ReportingConfig())
    event = AnswerGiven(approval())
    records = [journal.transition(record.key, event, ReportingConfig()) for _ in range(3)]
    assert [item.version for item in records] == [record.version + 1] * 3
    assert journal.find([record.key])[record.key] == records[0]
    journal.close()
