"""The journal in memory: final calls and their reports stay what they were."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import pytest

from bighub_langgraph.core.errors import InvalidTransition
from bighub_langgraph.core.lifecycle import (
    AnswerGiven,
    CallCancelled,
    DecisionMade,
    Event,
    ExecutionFinished,
    ExecutionStarted,
    apply_event,
)
from bighub_langgraph.core.models import Answer, CallRecord, ToolFailed, ToolSucceeded, Verdict
from bighub_langgraph.core.reporting import ReportingConfig, ReportKind
from bighub_langgraph.journal.memory_journal import MemoryJournal
from tests.calls import approval, decided_record, decision, proposed_record

REPORTING = ReportingConfig()
ENDS: dict[str, tuple[CallRecord, list[Event]]] = {
    "executed": (
        decided_record(),
        [ExecutionStarted("me", 1.0), ExecutionFinished("me", ToolSucceeded("done"))],
    ),
    "failed": (
        decided_record(),
        [ExecutionStarted("me", 1.0), ExecutionFinished("me", ToolFailed("no", output="why"))],
    ),
    "closed": (decided_record(), [CallCancelled("nobody can be asked")]),
    "rejected": (
        decided_record(Verdict.REVIEW),
        [AnswerGiven(approval(Answer.REJECT, text="no", approver="ann", verified=True))],
    ),
    "answered": (
        decided_record(Verdict.REVIEW),
        [AnswerGiven(approval(Answer.RESPOND, text="ask again"))],
    ),
    "newer reply": (
        apply_event(
            proposed_record(),
            DecisionMade(
                decision(decision_intelligence={"rationale": "so", "precedents": [{"a": 1}]}),
                Verdict.EXECUTE,
            ),
        ),
        [ExecutionStarted("me", 1.0), ExecutionFinished("me", ToolSucceeded(None))],
    ),
}


def insert_and_apply(journal: MemoryJournal, record: CallRecord, events: list[Event]) -> CallRecord:
    [record] = journal.insert([record], REPORTING)
    for event in events:
        record = journal.transition(record.key, event, REPORTING)
    return record


def deliver_all(journal: MemoryJournal) -> None:
    """Deliver everything."""
    journal.ack([report.id for report in journal.lease_batch(2e12, 100)])
    assert journal.pending_count() == 0


@pytest.mark.parametrize("end", ENDS)
def test_a_reported_call_keeps_its_record_unchanged(end: str) -> None:
    journal = MemoryJournal()
    record = insert_and_apply(journal, *ENDS[end])
    deliver_all(journal)
    assert journal.find([record.key]) == {record.key: record}
    assert journal.find_by_request_id("req-1") == [record]
    assert journal.insert([ENDS[end][0]], REPORTING) == [record]
    with pytest.raises(InvalidTransition):
        journal.transition(record.key, ExecutionStarted("other", 2.0), REPORTING)


def test_an_output_of_any_type_stays_the_same_object() -> None:
    journal, output = MemoryJournal(), object()
    record = insert_and_apply(
        journal,
        decided_record(),
        [ExecutionStarted("me", 1.0), ExecutionFinished("me", ToolSucceeded(output))],
    )
    deliver_all(journal)
    result = journal.find([record.key])[record.key].result
    assert isinstance(result, ToolSucceeded)
    assert result.output is output


def test_a_report_keeps_the_output_as_the_tool_returned_it() -> None:
    journal, output = MemoryJournal(), ["first"]
    insert_and_apply(
        journal,
        decided_record(),
        [ExecutionStarted("me", 1.0), ExecutionFinished("me", ToolSucceeded(output))],
    )
    output.append("second")
    [_, memory] = journal.lease_batch(2e12, 100)
    assert memory.kind is ReportKind.MEMORY
    assert memory.body["event"]["output"] == ["first"]


@pytest.mark.parametrize("redact", [lambda _: None, lambda _: 7, lambda text: [text]])
def test_a_redaction_that_returns_no_string_loses_no_report(
    redact: Callable[[Any], Any],
) -> None:
    journal, reporting = MemoryJournal(), ReportingConfig(redact=redact)
    [record] = journal.insert([decided_record()], reporting)
    journal.transition(record.key, ExecutionStarted("me", 1.0), reporting)
    journal.transition(record.key, ExecutionFinished("me", ToolFailed("no")), reporting)
    [outcome, remembered] = journal.lease_batch(2e12, 100)
    assert isinstance(outcome.body["description"], str)
    assert isinstance(remembered.body["event"]["error"], str)


class Declined(Exception):
    """What a tool gives along; nobody can make it again from its arguments."""

    def __init__(self, code: str, *, bank: str) -> None:
        super().__init__(code)
        self.bank = bank


def test_the_output_of_a_failed_tool_stays_the_same_object() -> None:
    journal, output = MemoryJournal(), Declined("51", bank="x")
    end = ExecutionFinished("me", ToolFailed("declined", output=output))
    record = insert_and_apply(journal, decided_record(), [ExecutionStarted("me", 1.0), end])
    deliver_all(journal)
    result = journal.find([record.key])[record.key].result
    assert isinstance(result, ToolFailed)
    assert result.output is output


class Masked(str):
    """A text of a user's own redaction."""

    __slots__ = ()

    def __new__(cls, kind: str, shown: str) -> Self:
        return super().__new__(cls, f"{kind}: {shown}")


def test_a_call_with_redacted_arguments_is_found_by_its_request_id() -> None:
    evaluated = decided_record()
    context = {**evaluated.request.context, "arguments": {"order": Masked("order", "***")}}
    journal = MemoryJournal()
    hidden = evaluated._replace(request=replace(evaluated.request, context=context))
    final = insert_and_apply(journal, hidden, [CallCancelled("nobody can be asked")])
    deliver_all(journal)
    assert journal.find_by_request_id("req-1") == [final]
