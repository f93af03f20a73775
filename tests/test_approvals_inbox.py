"""The inbox: what waits, who may answer, and one answer for each question."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bighub_langgraph import Journal
from bighub_langgraph.approvals.cards import Approver
from bighub_langgraph.approvals.inbox import (
    AlreadyAnswered,
    AnswerReceipt,
    ApprovalError,
    ApprovalExpired,
    ApprovalInbox,
    ApprovalNotFound,
    NotAllowedToAnswer,
    StaleVersion,
)
from bighub_langgraph.core.approval_answers import InvalidApprovalResponse
from bighub_langgraph.core.errors import BighubGuardError
from bighub_langgraph.core.lifecycle import DecisionMade, ExecutionStarted, OwnerLost, apply_event
from bighub_langgraph.core.models import ApprovalRequirement, CallRecord, State, Verdict
from bighub_langgraph.core.ports import ApprovalQuestion
from bighub_langgraph.core.reporting import ReportingConfig
from tests import postgres
from tests.approval_page import put_call
from tests.calls import REFUND, decision, proposed_record

ADA = Approver("ada", verified=True, roles=frozenset({"approver"}))
BOB = Approver("bob", verified=True, roles=frozenset({"approver"}))
EVE = Approver("eve", verified=True, roles=frozenset({"viewer"}))
SCHEMA = {
    "type": "object",
    "properties": {"amount": {"type": "number", "maximum": 100}, "token": {"type": "integer"}},
    "required": ["order_id"],
}


class Office:
    """A journal with calls that wait, and the inbox on it."""

    def __init__(self, location: str) -> None:
        self.now = 1000.0
        self.journal = Journal(location, clock=lambda: self.now)
        self.inbox = ApprovalInbox(self.journal, clock=lambda: self.now)

    def wait(self, seconds: float) -> float:
        """Let time pass; return the new time."""
        self.now += seconds
        return self.now

    def ask(self, call_id: str = "call-1", *, risk: float = 0.2, **fields: Any) -> CallRecord:
        """A call that waits for a person."""
        arguments = {"order_id": call_id, "amount": 40, "token": "[redacted]", "items": [{"a": 1}]}
        arguments |= fields.pop("more", {})
        record = proposed_record(replace(REFUND, call_id=call_id, arguments=arguments))
        event = DecisionMade(decision(risk_score=risk), Verdict.REVIEW, **fields)
        record = apply_event(record._replace(created_at=self.now), event)
        self.journal.insert([record], ReportingConfig())
        question = ApprovalQuestion(
            *(record.key, "desk", "root", "tools:1", SCHEMA, "Pays.", "Refund 40?", {}),
            arguments=arguments,
            locked_pointers=("/token",),
            allowed_decisions=("approve", "edit", "reject", "respond"),
            allow_tool_change=False,
        )
        self.journal.store_questions([question])
        return record


@pytest.fixture(params=["sqlite", "postgresql"])
def office(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    if request.param == "sqlite":
        office = Office(str(tmp_path / "calls.db"))
        yield office
        office.journal.close()
        return
    with postgres.database(request.getfixturevalue("postgres_server")) as database:
        office = Office(database)
        yield office
        office.journal.close()


def test_the_riskiest_calls_come_first_and_of_equal_ones_those_that_expire_soonest(
    office: Office,
) -> None:
    office.ask("late", risk=0.5, expires_at=2000.0)
    office.ask("soon", risk=0.5, expires_at=1500.0)
    office.ask("risky", risk=0.9)
    office.ask("never", risk=0.5)
    order = [card.call_id for card in office.inbox.list()]
    assert order == ["risky", "soon", "late", "never"]
    assert [card.call_id for card in office.inbox.list(min_risk=0.6)] == ["risky"]
    assert len(office.inbox.list(limit=2)) == 2


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"agent": "desk"}, 1),
        ({"agent": "other"}, 0),
        ({"tool": "refund"}, 1),
        ({"tool": "pay"}, 0),
        ({"thread": "root"}, 1),
        ({"thread": "thread-1"}, 0),
        ({"actor": "AI_AGENT"}, 1),
        ({"actor": "x"}, 0),
        ({"domain": "x"}, 0),
        ({"longer_than": 0.0}, 1),
        ({"longer_than": 60.0}, 0),
        ({"states": [State.EXECUTED]}, 0),
        ({"states": [State.AWAITING]}, 1),
    ],
)
def test_calls_are_filtered(tmp_path: Path, filters: dict[str, Any], count: int) -> None:
    office = Office(str(tmp_path / "calls.db"))
    office.ask()
    office.wait(1)
    assert len(office.inbox.list(**filters)) == count


def test_every_change_of_a_call_makes_its_number_grow(office: Office) -> None:
    numbers = [office.inbox.newest_change()]
    record = office.ask(requirement=ApprovalRequirement(2))
    numbers.append(office.inbox.newest_change())
    for approver in (ADA, BOB):
        receipt = office.inbox.answer(record.key, "approve", approver=approver)
        numbers.append(office.inbox.newest_change())
        assert receipt.card.change == numbers[-1]
    assert sorted({*numbers}) == numbers


# Each gives one answer that is refused, for the reason that its class names.
REFUSED: dict[str, tuple[type[BighubGuardError], str, Callable[[Office, str], Any]]] = {
    "another was first": (
        AlreadyAnswered,
        "bob has answered already, at 1970-01-01 00:16:40 UTC: approve",
        lambda office, key: (
            office.inbox.answer(key, "approve", approver=BOB),
            office.inbox.answer(key, "reject", approver=ADA),
        ),
    ),
    "cancelled": (
        AlreadyAnswered,
        "refund is cancelled: cancelled by bob: withdrawn",
        lambda office, key: (
            office.inbox.cancel(key, "withdrawn", approver=BOB),
            office.inbox.answer(key, "approve", approver=ADA),
        ),
    ),
    "cancelled twice": (
        AlreadyAnswered,
        "refund is cancelled",
        lambda office, key: (
            office.inbox.cancel(key, "withdrawn", approver=BOB),
            office.inbox.cancel(key, "withdrawn", approver=ADA),
        ),
    ),
    "stale": (
        StaleVersion,
        "look at it again",
        lambda office, key: office.inbox.answer(key, "approve", approver=ADA, version=7),
    ),
    "a viewer": (
        NotAllowedToAnswer,
        "eve may look, and not answer",
        lambda office, key: office.inbox.answer(key, "reject", approver=EVE),
    ),
    "a viewer cancels": (
        NotAllowedToAnswer,
        "eve may look, and not answer",
        lambda office, key: office.inbox.cancel(key, "no", approver=EVE),
    ),
    "the actor": (
        NotAllowedToAnswer,
        "nobody approves their own calls",
        lambda office, key: office.inbox.answer(key, "approve", approver=Approver("AI_AGENT")),
    ),
    "no such answer": (
        InvalidApprovalResponse,
        "is not allowed for refund",
        lambda office, key: office.inbox.answer(key, "maybe", approver=ADA),
    ),
    "no message": (
        InvalidApprovalResponse,
        "needs a message",
        lambda office, key: office.inbox.answer(key, "respond", approver=ADA),
    ),
    "expired": (
        ApprovalExpired,
        "the time to answer is over",
        lambda office, key: (
            office.wait(8000.0),
            office.inbox.answer(key, "approve", approver=ADA),
        ),
    ),
    "no such call": (
        ApprovalNotFound,
        "no call has a key that begins with 'zz'",
        lambda office, key: office.inbox.answer("zz", "approve", approver=ADA),
    ),
    "an approval with other arguments": (
        InvalidApprovalResponse,
        "is an edit",
        lambda office, key: office.inbox.answer(
            key, "approve", approver=ADA, edit={"/amount": 1}, version=1
        ),
    ),
    "an edit of no version": (
        InvalidApprovalResponse,
        "names the version",
        lambda office, key: office.inbox.answer(key, "edit", approver=ADA, edit={"/amount": 1}),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_answer_that_does_not_count_changes_nothing_and_says_why(
    tmp_path: Path, case: str
) -> None:
    kind, words, give = REFUSED[case]
    office = Office(str(tmp_path / "calls.db"))
    record = office.ask(expires_at=5000.0)
    with pytest.raises(kind) as error_info:
        give(office, record.key)
    assert words in str(error_info.value)
    after = office.inbox.get(record.key)
    assert after.state is not State.ALLOWED or case == "another was first"


@pytest.mark.parametrize(
    ("edit", "removals", "words"),
    [
        ({}, (), "changes nothing"),
        ({"/amount": 40, "/token": "[redacted]"}, (), "changes nothing"),
        ({"/amount": 500}, (), "does not fit refund: amount"),
        ({"/token": "text"}, (), "does not fit refund: token"),
        ({}, ("/order_id",), "'order_id' is a required property"),
        ({}, ("/missing",), "no field"),
        ({"/items/3/a": 1}, (), "no field"),
        ({"/amount/x": 1}, (), "no field"),
        ({"amount": 1}, (), "is no JSON pointer"),
        ({"": {}}, (), "is no JSON pointer"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused(
    tmp_path: Path, edit: dict[str, Any], removals: tuple[str, ...], words: str
) -> None:
    office = Office(str(tmp_path / "calls.db"))
    record = office.ask()
    with pytest.raises(InvalidApprovalResponse, match=words):
        office.inbox.answer(
            record.key, "edit", approver=ADA, edit=edit, remove=removals, version=record.version
        )
    assert office.inbox.get(record.key).state is State.AWAITING


@pytest.mark.parametrize(("old", "new"), [(0, False), (1, True), (1, 1.0), (True, 1)])
def test_what_python_takes_for_equal_is_a_change(tmp_path: Path, old: Any, new: Any) -> None:
    office = Office(str(tmp_path / "calls.db"))
    record = office.ask(more={"flag": old})
    edit, version = {"/flag": new}, record.version
    office.inbox.answer(record.key, "edit", approver=ADA, edit=edit, version=version)
    approval = office.inbox.get(record.key).record.approval
    assert approval is not None
    assert approval.edit is not None
    assert repr(dict(approval.edit.values)) == repr(edit)


def test_a_name_in_capitals_is_no_second_person(office: Office) -> None:
    record = office.ask(requirement=ApprovalRequirement(2))
    office.inbox.answer(record.key, "approve", approver=ADA)
    with pytest.raises(NotAllowedToAnswer, match="has approved it already"):
        office.inbox.answer(record.key, "approve", approver=replace(ADA, name="ADA"))


def test_the_history_shows_an_edit_without_its_secrets(office: Office) -> None:
    record = office.ask()
    edit = {"/token": 5, "/note": "password=hunter22", "/items/-": {"a": 2}}
    office.inbox.answer(record.key, "edit", approver=ADA, edit=edit, version=record.version)
    entry = office.inbox.history(record.key)[-1]
    assert "hunter22" not in str(entry)
    assert entry.details["approval"]["approver"] == "ada"
    approval = office.inbox.get(record.key).record.approval
    assert approval is not None
    assert approval.edit is not None
    assert dict(approval.edit.values) == edit


def test_a_new_value_of_a_redacted_field_is_not_shown(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "calls.db")) as journal:
        inbox = ApprovalInbox(journal)
        # The guard's own rule redacts it; nothing in the name says that it is secret.
        arguments = {"order_id": "[redacted]"}
        record = put_call(journal, arguments=arguments, locked_pointers=("/order_id",))
        edit, version = {"/order_id": "Ms Smith", "/amount": 5.0}, record.version
        inbox.answer(record.key, "edit", approver=ADA, edit=edit, version=version)
        card = inbox.get(record.key)
        assert card.edit == {"/order_id": "[redacted]", "/amount": 5.0}
        assert "Smith" not in str([entry.details for entry in inbox.history(record.key)])
        assert card.record.approval is not None
        assert card.record.approval.edit is not None
        assert dict(card.record.approval.edit.values) == edit


def test_what_people_type_is_shown_without_secrets(office: Office) -> None:
    secret, shown = "password=hunter22", "password=[redacted]"
    rejected, cancelled = office.ask("1"), office.ask("2")
    receipt = office.inbox.answer(
        rejected.key, "reject", approver=ADA, text=f"no: {secret}", comment=secret
    )
    card = receipt.card
    assert card.record.reason == f"no: {secret}"  # for the agent
    assert card.reason == f"no: {shown}"
    card = office.inbox.cancel(cancelled.key, secret, approver=replace(ADA, name="a@b.example"))
    assert card.reason == f"cancelled by a@b.example: {shown}"
    for record in (rejected, cancelled):
        entry = office.inbox.history(record.key)[-1]
        assert "hunter22" not in str(entry)
        assert shown in str(entry)


def test_only_the_named_people_and_roles_may_answer(office: Office) -> None:
    record = office.ask(requirement=ApprovalRequirement(approvers=("finance", "bob")))
    for answer in ("approve", "reject"):
        with pytest.raises(NotAllowedToAnswer, match="only finance or bob may answer"):
            office.inbox.answer(record.key, answer, approver=ADA)
    with pytest.raises(NotAllowedToAnswer, match="signed in"):
        office.inbox.answer(record.key, "approve", approver=Approver("bob"))
    fay = Approver("fay", verified=True, roles=frozenset({"finance"}))
    assert office.inbox.answer(record.key, "approve", approver=fay).is_final


def test_of_many_answers_at_once_one_counts(office: Office) -> None:
    record = office.ask()

    def answer(number: int) -> AnswerReceipt | ApprovalError:
        choice = "approve" if number % 2 else "reject"
        try:
            return office.inbox.answer(record.key, choice, approver=Approver(f"p{number}"))
        except ApprovalError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(answer, range(8)))
    assert sum(isinstance(result, AnswerReceipt) for result in results) == 1
    assert sum(isinstance(result, AlreadyAnswered) for result in results) == 7


def test_people_who_approve_at_once_are_all_counted(office: Office) -> None:
    record = office.ask(requirement=ApprovalRequirement(4))

    def approve(number: int) -> bool:
        approver = Approver(f"p{number}", verified=True)
        return office.inbox.answer(record.key, "approve", approver=approver).is_final

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(approve, range(4)))
    card = office.inbox.get(record.key)
    assert {vote.approver for vote in card.votes} == {"p0", "p1", "p2", "p3"}
    assert card.state is State.ALLOWED
    assert any(results)


@pytest.mark.parametrize(
    ("answer", "state"),
    [("approve", State.ALLOWED), ("respond", State.EXECUTED), ("reject", State.TOOL_ERROR)],
)
def test_an_unknown_outcome_is_resolved(tmp_path: Path, answer: str, state: State) -> None:
    office = Office(str(tmp_path / "calls.db"))
    record = office.ask()
    office.inbox.answer(record.key, "approve", approver=ADA)
    for event in (ExecutionStarted("a", 1000.0), OwnerLost("a", "killed")):
        office.journal.transition(record.key, event, ReportingConfig())
    [card] = office.inbox.list()
    assert card.outcome_unknown
    if answer == "approve":  # a late click on the first question
        with pytest.raises(InvalidApprovalResponse, match="name the version"):
            office.inbox.answer(record.key, answer, approver=ADA)
    office.inbox.answer(record.key, answer, approver=ADA, text="done", version=card.version)
    assert office.inbox.get(record.key).state is state


TWO_PEOPLE = ApprovalRequirement(2)
FINANCE = ApprovalRequirement(approvers=("finance",))
CAROL, DAVE = (Approver(name, verified=True) for name in ("carol", "dave"))
FAY = Approver("fay", verified=True, roles=frozenset({"finance"}))
MALLORY = Approver("mallory")


def lose(office: Office, record: CallRecord, *people: Approver) -> None:
    """Let a call be approved and started by a process that is killed in the tool."""
    for approver in people:
        office.inbox.answer(record.key, "approve", approver=approver)
    starts = office.inbox.get(record.key).record.starts
    for event in (ExecutionStarted(f"a{starts}", 1000.0), OwnerLost(f"a{starts}", "killed")):
        office.journal.transition(record.key, event, ReportingConfig())


@pytest.mark.parametrize(
    ("requirement", "before", "answers", "state"),
    [
        # The approvals before the start do not count again, and one person is not two.
        (TWO_PEOPLE, (ADA, BOB), ((CAROL, "approve"),), State.UNKNOWN),
        (TWO_PEOPLE, (ADA, BOB), ((CAROL, "approve"), (CAROL, "approve")), State.UNKNOWN),
        (TWO_PEOPLE, (ADA, BOB), ((MALLORY, "approve"), (CAROL, "approve")), State.UNKNOWN),
        (TWO_PEOPLE, (ADA, BOB), ((CAROL, "approve"), (DAVE, "approve")), State.ALLOWED),
        (TWO_PEOPLE, (ADA, BOB), ((BOB, "approve"), (ADA, "approve")), State.ALLOWED),
        (TWO_PEOPLE, (ADA, BOB), ((ADA, "respond"),), State.EXECUTED),
        (TWO_PEOPLE, (ADA, BOB), ((ADA, "approve"), (ADA, "respond")), State.EXECUTED),
        (TWO_PEOPLE, (ADA, BOB), ((MALLORY, "respond"),), State.UNKNOWN),
        (TWO_PEOPLE, (ADA, BOB), ((CAROL, "approve"), (ADA, "reject")), State.TOOL_ERROR),
        (TWO_PEOPLE, (ADA, BOB), ((MALLORY, "reject"),), State.TOOL_ERROR),
        (FINANCE, (FAY,), ((ADA, "approve"),), State.UNKNOWN),
        (FINANCE, (FAY,), ((ADA, "respond"),), State.UNKNOWN),
        (FINANCE, (FAY,), ((MALLORY, "approve"),), State.UNKNOWN),
        (FINANCE, (FAY,), ((FAY, "approve"),), State.ALLOWED),
    ],
)
def test_to_run_a_call_again_needs_the_people_that_the_call_needs(
    tmp_path: Path,
    requirement: ApprovalRequirement,
    before: tuple[Approver, ...],
    answers: tuple[tuple[Approver, str], ...],
    state: State,
) -> None:
    office = Office(str(tmp_path / "calls.db"))
    record = office.ask(requirement=requirement)
    lose(office, record, *before)
    for approver, answer in answers:
        version = office.inbox.get(record.key).version
        with suppress(NotAllowedToAnswer):
            receipt = office.inbox.answer(
                record.key, answer, approver=approver, text="seen", version=version
            )
            assert receipt.is_final == (receipt.card.state is not State.UNKNOWN)
            assert receipt.missing_approvals == (0 if receipt.is_final else 1)
    card = office.inbox.get(record.key)
    assert (card.state, card.outcome_unknown) == (state, state is State.UNKNOWN)


def test_each_start_needs_its_own_approvals(tmp_path: Path) -> None:
    office = Office(str(tmp_path / "calls.db"))
    record = office.ask(requirement=TWO_PEOPLE)
    lose(office, record, ADA, BOB)
    for _ in range(2):
        card = office.inbox.get(record.key)
        assert card.votes == ()
        office.inbox.answer(record.key, "approve", approver=ADA, version=card.version)
        with pytest.raises(NotAllowedToAnswer, match="another person has to"):
            office.inbox.answer(record.key, "approve", approver=ADA, version=card.version + 1)
        office.inbox.answer(record.key, "approve", approver=BOB, version=card.version + 1)
        lose(office, record)
    assert office.inbox.get(record.key).record.starts == 3
