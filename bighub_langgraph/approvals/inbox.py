"""`ApprovalInbox`: the calls of a journal that wait for people, and the one way to answer them."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Self

from bighub_langgraph.approvals.cards import (
    ApprovalCard,
    Approver,
    build_card,
    describe_ending,
    find_risk_score,
)
from bighub_langgraph.approvals.edit_checks import check_edit
from bighub_langgraph.core.approval_answers import InvalidApprovalResponse
from bighub_langgraph.core.approval_rules import find_objection, missing_approvals
from bighub_langgraph.core.argument_patch import ArgumentPatch
from bighub_langgraph.core.call_endings import is_cancellable
from bighub_langgraph.core.errors import BighubGuardError, InvalidTransition, JournalError
from bighub_langgraph.core.lifecycle import (
    AnswerGiven,
    CallCancelled,
    OwnerLost,
    is_expired,
)
from bighub_langgraph.core.models import (
    ASKABLE_STATES,
    Answer,
    Approval,
    CallRecord,
    State,
)
from bighub_langgraph.core.recovery import event_for_answer
from bighub_langgraph.core.redaction import redact_text
from bighub_langgraph.core.reporting import ReportingConfig
from bighub_langgraph.journal.admin import ApprovalView, CallView, HistoryEntry
from bighub_langgraph.journal.sql import Journal
from bighub_langgraph.telemetry import Telemetry

# How many calls are read to filter and sort them.
MAX_CARDS = 10_000


class ApprovalError(BighubGuardError):
    """An answer was not recorded; the message is for the person who gave it."""


class ApprovalNotFound(ApprovalError):
    """No call, or more than one, has this key."""


class AlreadyAnswered(ApprovalError):
    """Somebody else answered first, or nobody waits for an answer any more."""


class StaleVersion(ApprovalError):
    """The call has changed since it was shown."""


class NotAllowedToAnswer(ApprovalError):
    """This person may not give this answer."""


class ApprovalExpired(ApprovalError):
    """The time to answer is over."""


@dataclass(frozen=True, slots=True)
class AnswerReceipt:
    """What became of an answer.

    Attributes:
        card: The call after it.
        is_final: Whether the question is answered; otherwise more approvals are needed.
        missing_approvals: How many more people have to approve.
    """

    card: ApprovalCard
    is_final: bool
    missing_approvals: int


class ApprovalInbox:
    """The calls of a journal that wait for people.

    Every answer, whatever channel it comes from, is one compare-and-set on the call's record: the
    first one wins, and the others are told who answered.

    Args:
        journal: A journal on SQL, its path or its URL.
        clock: Returns seconds since the epoch.
        telemetry: What OpenTelemetry is shown of the answers.
    """

    def __init__(
        self,
        journal: Journal | str | PathLike[str],
        *,
        clock: Callable[[], float] = time.time,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._owns_journal = not isinstance(journal, Journal)
        self.journal = journal if isinstance(journal, Journal) else Journal(journal)
        self._clock = clock
        self._telemetry = telemetry or Telemetry()

    def list(
        self,
        *,
        agent: str | None = None,
        tool: str | None = None,
        actor: str | None = None,
        domain: str | None = None,
        thread: str | None = None,
        min_risk: float | None = None,
        longer_than: float | None = None,
        states: Sequence[State] = ASKABLE_STATES,
        limit: int = 200,
        newest_first: bool = False,
    ) -> Sequence[ApprovalCard]:
        """Return calls: the riskiest first, and of equal ones those that expire soonest.

        Args:
            agent: The name of the guard that asks.
            tool: The tool's name.
            actor: The actor that BIGHUB sees.
            domain: The domain of the action.
            thread: The thread id of the root graph.
            min_risk: The least risk score.
            longer_than: In their state for so many seconds.
            states: Calls in these states; by default those that a person can answer.
            limit: At most so many.
            newest_first: In the order in which they were made instead.
        """
        views = self.journal.admin.approvals(
            agent=agent,
            tool=tool,
            root=thread,
            state=list(states),
            longer_than=longer_than,
            limit=MAX_CARDS if actor or domain or min_risk or not newest_first else limit,
        )

        def is_match(record: CallRecord) -> bool:
            risk = find_risk_score(record)
            return (
                (actor is None or record.request.actor == actor)
                and (domain is None or record.request.domain == domain)
                and (min_risk is None or (risk is not None and risk >= min_risk))
            )

        matches = [view for view in views if is_match(view.call.record)]
        if not newest_first:
            matches.sort(key=_urgency)
        return [build_card(view) for view in matches[:limit]]

    def get(self, key: str) -> ApprovalCard:
        """Return the call with a key, or with a key that begins so.

        Raises:
            ApprovalNotFound: There is none, or more than one.
            JournalError: It is stored, and cannot be read.
        """
        key = find_call(self.journal, key).record.key
        views = self.journal.admin.approvals(key=key)
        if not views:  # it was logged by its name
            raise JournalError(f"the question about call {key} cannot be read; the log says why")
        return build_card(views[0])

    def answer(
        self,
        key: str,
        answer: Answer | str,
        *,
        approver: Approver,
        text: str = "",
        comment: str = "",
        edit: Mapping[str, Any] | None = None,
        remove: Sequence[str] = (),
        version: int | None = None,
    ) -> AnswerReceipt:
        """Record a person's answer about a call.

        Args:
            key: The call's key.
            answer: One of the card's `allowed_answers`.
            approver: Who answers.
            text: The reason of a rejection, or the response in the place of the tool's output.
            comment: For the history and for BIGHUB.
            edit: New values by JSON pointer, such as `{"/amount": 20}`; the rest stays as it is.
            remove: Pointers of fields to leave out.
            version: The version of the card that was shown; needed for an edit, and to run a call
                of unknown outcome again.

        Raises:
            AlreadyAnswered: By whom and when, or why no answer is expected.
            StaleVersion: The call has changed since that version.
            NotAllowedToAnswer: The person may not answer, or may not approve this call.
            InvalidApprovalResponse: The answer is not allowed, or the edit does not fit.
            ApprovalExpired: The time to answer is over.
            ApprovalNotFound: There is no such call.
        """
        card = self.get(key)
        _check_answerable(card, self._clock())
        _check_version(version, card)
        answer = _check_answer(answer, card, text, version)
        patch = None
        if answer is Answer.EDIT:
            patch = check_edit(card, edit or {}, tuple(remove))
        elif edit or remove:
            raise InvalidApprovalResponse(f"an answer with other arguments is an edit: {answer}")
        approval = self._build_approval(card, answer, approver, patch, text=text, comment=comment)
        self._record(card, approval, version)
        after = self.get(card.key)
        _check_not_expired(after)
        is_final = after.state not in ASKABLE_STATES
        return AnswerReceipt(after, is_final, 0 if is_final else missing_approvals(after.record))

    def cancel(
        self, key: str, reason: str, *, approver: Approver, version: int | None = None
    ) -> ApprovalCard:
        """End a call that waits for an answer or for its start; it does not run.

        It is no answer: BIGHUB learns nothing from it, and the agent reads that nobody refused.

        Args:
            key: The call's key.
            reason: Why, for the agent and the history.
            approver: Who cancels it.
            version: The version of the card that was shown.

        Raises:
            NotAllowedToAnswer: The person may not answer about it.
            AlreadyAnswered: The call does not wait any more.
            StaleVersion: The call has changed since that version.
            InvalidApprovalResponse: There is no reason.
            ApprovalNotFound: There is no such call.
        """
        card = self.get(key)
        if not is_cancellable(card.record):
            raise AlreadyAnswered(describe_ending(card))
        _check_version(version, card)
        if not reason.strip():
            raise InvalidApprovalResponse(f"to cancel {card.tool}, write why; the agent reads it")
        refusal = self._build_approval(card, Answer.REJECT, approver, None, text="", comment="")
        _check_counts(card.record, refusal)
        event = CallCancelled(redact_text(reason), approver.name, approver.verified)
        try:
            cancelled_record = self.journal.transition(card.key, event, ReportingConfig())
        except InvalidTransition as error:
            raise AlreadyAnswered(describe_ending(self.get(card.key))) from error
        if self._telemetry.is_on:
            self._telemetry.add_ending(card.record, cancelled_record)
        return self.get(card.key)

    def history(self, key: str) -> Sequence[HistoryEntry]:
        """Return everything that became of a call, oldest first."""
        return self.journal.admin.history(self.get(key).key)

    def newest_change(self) -> int:
        """Return a number that grows with every change of a call that people are asked about."""
        return self.journal.admin.newest_change()

    def close(self) -> None:
        """Close the journal, if this inbox opened it."""
        if self._owns_journal:
            self.journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _build_approval(
        self,
        card: ApprovalCard,
        answer: Answer,
        approver: Approver,
        edit: ArgumentPatch | None,
        *,
        text: str,
        comment: str,
    ) -> Approval:
        if "viewer" in approver.roles and approver.roles.isdisjoint({"approver", "admin"}):
            raise NotAllowedToAnswer(f"{approver.name} may look, and not answer")
        record, at = card.record, self._clock()
        lifetime = None if record.expires_at is None else record.expires_at - record.created_at
        return Approval(
            answer=answer,
            at=at,
            text=text,
            comment=redact_text(comment),
            approver=approver.name,
            verified=approver.verified,
            expires_at=None if lifetime is None else at + lifetime,
            roles=tuple(sorted(approver.roles)),
            edit=edit,
        )

    def _record(self, card: ApprovalCard, approval: Approval, version: int | None) -> None:
        """Record an answer, unless another one was first."""
        try:
            if card.outcome_unknown:
                resolve_unknown_outcome(self.journal, card.record, approval)
                return
            _check_counts(card.record, approval)
            event = AnswerGiven(approval, version)
            record = self.journal.transition(card.key, event, ReportingConfig())
        except InvalidTransition as error:
            _check_answerable(self.get(card.key), self._clock())
            raise StaleVersion(_STALE) from error
        if not self._telemetry.is_on:
            return
        if record.approval == approval:
            self._telemetry.add_answer(record)
        else:
            self._telemetry.add_ending(card.record, record)  # the answer came too late


def find_call(journal: Journal, key: str) -> CallView:
    """Return the call with a key, or with a key that begins so.

    Raises:
        ApprovalNotFound: There is none, or more than one.
    """
    matches = journal.admin.find_by_prefix(key) if key else []
    if len(matches) != 1:
        number = "more than one call has" if matches else "no call has"
        raise ApprovalNotFound(f"{number} a key that begins with {key!r:.80}")
    return matches[0]


def resolve_unknown_outcome(journal: Journal, record: CallRecord, approval: Approval) -> None:
    """Record what a person found out about a call, and first that its process is gone.

    Raises:
        InvalidTransition: Somebody else has resolved it.
        NotAllowedToAnswer: The person's answer does not count.
    """
    if record.state is State.RUNNING:
        event = OwnerLost(record.owner or "", "the process that ran it is gone")
        record = journal.transition(record.key, event, ReportingConfig())
    _check_counts(record, approval)
    journal.transition(record.key, event_for_answer(approval), ReportingConfig())


_STALE = "the call has changed since it was shown; look at it again"


def _check_answerable(card: ApprovalCard, at: float) -> None:
    """Raise unless a person's answer is expected."""
    _check_not_expired(card, at)
    if card.state is not State.AWAITING and not card.outcome_unknown:
        raise AlreadyAnswered(describe_ending(card))


def _check_not_expired(card: ApprovalCard, at: float = -math.inf) -> None:
    is_overdue = card.state is State.AWAITING and is_expired(card.record, at)
    if card.state is State.EXPIRED or is_overdue:
        raise ApprovalExpired(f"the time to answer is over, so {card.tool} does not run")


def _check_version(version: int | None, card: ApprovalCard) -> None:
    if version not in {None, card.version}:
        raise StaleVersion(_STALE)


def _check_answer(
    answer: Answer | str, card: ApprovalCard, text: str, version: int | None
) -> Answer:
    if answer not in card.allowed_answers:
        answers = ", ".join(card.allowed_answers)
        raise InvalidApprovalResponse(
            f"{answer!s:.80} is not allowed for {card.tool}; allowed: {answers}"
        )
    if answer == Answer.RESPOND and not text:
        raise InvalidApprovalResponse(f"a response to {card.tool} needs a message")
    if version is None and answer == Answer.EDIT:
        raise InvalidApprovalResponse("an edit names the version of the call it changes")
    if version is None and answer == Answer.APPROVE and card.outcome_unknown:
        raise InvalidApprovalResponse("to run a call again, name the version that was shown")
    return Answer(answer)


def _check_counts(record: CallRecord, approval: Approval) -> None:
    if objection := find_objection(record, approval):
        raise NotAllowedToAnswer(objection)


def _urgency(view: ApprovalView) -> tuple[float, float, float]:
    record = view.call.record
    expires_at = math.inf if record.expires_at is None else record.expires_at
    return (-(find_risk_score(record) or 0.0), expires_at, record.created_at)
