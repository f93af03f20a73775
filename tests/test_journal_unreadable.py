"""Rows of the journal that somebody changed: each is named, and hides no other."""

from contextlib import closing

import pytest

from bighub_langgraph import Journal
from bighub_langgraph.approvals.accounts import Accounts
from bighub_langgraph.approvals.inbox import ApprovalInbox
from bighub_langgraph.core.errors import JournalError
from bighub_langgraph.core.lifecycle import AnswerGiven, CallExpired
from bighub_langgraph.core.models import Answer, Approval, CallRecord, State, Verdict
from bighub_langgraph.core.ports import ApprovalQuestion
from bighub_langgraph.core.reporting import ReportingConfig
from bighub_langgraph.sqldb import execute
from tests.calls import decided_record

REPORTING = ReportingConfig()


def question(record: CallRecord, thread: str = "t") -> ApprovalQuestion:
    """What people are shown of a call."""
    return ApprovalQuestion(
        key=record.key,
        agent="desk",
        thread=thread,
        namespace="approve:1",
        schema={},
        tool_description="",
        description="refund(amount=1)",
        evidence={},
        arguments={},
        locked_pointers=(),
        allowed_decisions=("approve", "reject"),
        allow_tool_change=False,
    )


@pytest.mark.parametrize(
    "change",
    [
        "body = 'oops'",
        "body = '{}'",
        "details = '[]'",
        "state = 'other'",
        "result = 'x', codec = 'json'",
    ],
)
def test_a_call_that_cannot_be_read_is_named_and_hides_no_other(
    database: str, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    waiting = decided_record(Verdict.REVIEW)._replace(created_at=1.0, expires_at=5.0)
    bad, good = (waiting._replace(key=name * 32) for name in "bg")
    with closing(Journal(database)) as journal:
        journal.insert([bad, good], REPORTING)
        with journal._db.transaction() as db:
            execute(db, f"UPDATE bighub_calls SET {change} WHERE key = :key", key=bad.key)
        listings = (
            [view.record for view in journal.admin.calls()],
            [view.call.record for view in journal.admin.approvals()],
            journal.find_by_request_id(good.request_id or ""),
            journal.find_waiting(good.thread),
            journal.find_overdue(10.0**12, 10),
        )
        assert all([record.key for record in records] == [good.key] for records in listings)
        assert f"the row of call {bad.key} cannot be read" in caplog.text
        assert sum(journal.admin.counts().values()) == 2
        with pytest.raises(JournalError, match=f"call {bad.key} cannot be read"):
            journal.find([good.key, bad.key])
    problem = pytest.raises(JournalError, match=f"call {bad.key} cannot be read")
    with closing(Journal(database)) as journal, problem:  # without the memory of the first
        journal.transition(bad.key, CallExpired(6.0), REPORTING)


@pytest.mark.parametrize("text", ["oops", "[1]", "7", ""])
@pytest.mark.parametrize("table", ["bighub_history", "bighub_audit", "bighub_approvals"])
def test_a_row_of_any_table_that_cannot_be_read_is_named_and_hides_no_other(
    database: str, caplog: pytest.LogCaptureFixture, table: str, text: str
) -> None:
    waiting = decided_record(Verdict.REVIEW)._replace(created_at=1.0)
    bad, good = (waiting._replace(key=name * 32) for name in "bg")
    column, keys = {
        "bighub_history": ("details", "key = :key AND event = 'DecisionMade'"),
        "bighub_audit": ("details", "subject = :key"),
        "bighub_approvals": ("body", "key = :key"),
    }[table]
    with closing(Journal(database)) as journal:
        inbox, accounts = ApprovalInbox(journal), Accounts(journal)
        journal.insert([bad, good], REPORTING)
        for record in (bad, good):
            journal.store_questions([question(record)])
            vote = Approval(Answer.APPROVE, 2.0, approver="ada", verified=True)
            journal.transition(record.key, AnswerGiven(vote), REPORTING)
        with journal._db.transaction() as db:
            change = f"UPDATE {table} SET {column} = :text WHERE {keys}"
            assert execute(db, change, text=text, key=bad.key) == 1
        events = [entry.event for entry in journal.admin.history(bad.key)]
        subjects = [entry.subject for entry in accounts.audit()]
        cards = [card.key for card in inbox.list(states=list(State))]
        if table == "bighub_approvals":
            with pytest.raises(JournalError, match=f"about call {bad.key} cannot be read"):
                inbox.get(bad.key)
        assert len(journal.admin.history(good.key)) == 3
    assert len(events) == (2 if table == "bighub_history" else 3)
    assert subjects == ([good.key] if table == "bighub_audit" else [bad.key, good.key])
    assert set(cards) == ({good.key} if table == "bighub_approvals" else {bad.key, good.key})
    assert "cannot be read: " in caplog.text
    assert f"restore it in {table}" in caplog.text


@pytest.mark.parametrize("text", ["oops", "[1]", "7", ""])
def test_a_claim_that_cannot_be_read_is_named_and_given_to_nobody(database: str, text: str) -> None:
    with closing(Journal(database)) as journal:
        journal.claim_work("work", f"{journal.owner}/1")
        journal.end_work_claim("work", f"{journal.owner}/1", {"done": True})
        with journal._db.transaction() as db:
            execute(db, "UPDATE bighub_claims SET result = :text", text=text)
        with pytest.raises(JournalError, match=r"claim work cannot be read.*in bighub_claims"):
            journal.claim_work("work", f"{journal.owner}/2")


def test_a_thread_with_an_unknown_state_holds_up_no_other(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = decided_record(Verdict.REVIEW)._replace(created_at=1.0)
    bad, good = (waiting._replace(key=name * 32) for name in "bg")
    with closing(Journal(database)) as journal:
        journal.insert([bad, good], REPORTING)
        for record in (bad, good):
            journal.store_questions([question(record, thread=record.key)])
            vote = Approval(Answer.APPROVE, 2.0, approver="ada", verified=True)
            journal.transition(record.key, AnswerGiven(vote), REPORTING)
        with journal._db.transaction() as db:
            execute(db, "UPDATE bighub_calls SET state = 'other' WHERE key = :key", key=bad.key)
        [thread] = journal.resumes.find_decided("desk", 10.0**12)
    assert thread.thread == good.key
    assert f"a call of thread {bad.key} cannot be read" in caplog.text
