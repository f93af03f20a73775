"""One record per call: everything that is known of it, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bighub_langgraph.core.call import ToolCall
from bighub_langgraph.core.changing import made
from bighub_langgraph.core.decision import Decision
from bighub_langgraph.core.words import TERMINAL, State


@dataclass(frozen=True)
class Proposal:
    """What BIGHUB is told of a call. The arguments in `context` are redacted.

    Attributes:
        action: The tool's `action_name`, or its name.
        value: What is at stake, in the user's own unit; None when there is none.
        target: Whom or what the action touches, if known.
        context: Session and trajectory ids, objective, the tool's metadata, redacted arguments.
        whole: Whether to send it as one payload (`decision_mode="submit_payload"`).
    """

    action: str
    actor: str
    domain: str | None = None
    value: float | None = None
    target: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = False


class Answer(StrEnum):
    """What a person may say to a call that waits for one."""

    APPROVE = "approve"
    EDIT = "edit"
    REJECT = "reject"
    RESPOND = "respond"


@dataclass(frozen=True, slots=True)
class Approval:
    """What a person answered, and who.

    Attributes:
        text: The reason of a rejection, or the response that stands in for the tool's output.
        edited_to: Key of the record with the edited arguments, after an edit.
        approver: Who says so; only a claim unless `verified`.
        at: When, in seconds since the epoch.
        expires_at: Until when a yes may be used; None for no limit.
    """

    answer: Answer
    at: float
    text: str = ""
    comment: str = ""
    approver: str = ""
    verified: bool = False
    expires_at: float | None = None
    edited_to: str = ""


@dataclass(frozen=True, slots=True)
class Executed:
    """The tool ran and returned."""

    output: object


@dataclass(frozen=True, slots=True)
class Failed:
    """The tool ran and raised, or said that it failed.

    Attributes:
        error: One line for the model, secrets redacted.
        output: What the framework made of the failure, when it made something.
    """

    error: str
    output: object = None


Result = Executed | Failed


@dataclass(frozen=True)
class Record:
    """Everything known of one call.

    Attributes:
        key: The call's digest; the record's name in the journal.
        proposal: What BIGHUB was told.
        decision: What it answered; None for a call nobody has evaluated yet.
        approval: What a person answered.
        edited_from: Key of the record whose arguments a person edited into these.
        result: What became of the tool.
        reason: Why a call was blocked, superseded or is in doubt, in a sentence.
        owner: Which process runs it, while it runs.
        starts: How often the tool was started.
        expires_at: Until when an open request or an unused yes is good, in seconds since the epoch.
        version: Grows with every move; the journal compares it before it writes.
    """

    key: str
    thread: str
    turn: str
    call_id: str
    tool: str
    proposal: Proposal
    state: State = State.PROPOSED
    decision: Decision | None = None
    approval: Approval | None = None
    edited_from: str | None = None
    result: Result | None = None
    reason: str = ""
    owner: str | None = None
    starts: int = 0
    created_at: float = 0.0
    expires_at: float | None = None
    version: int = 0

    @classmethod
    def of(cls, call: ToolCall, proposal: Proposal, at: float) -> "Record":
        """A new record of a call that nobody has evaluated yet."""
        return made(
            cls,
            key=call.key,
            thread=call.thread,
            turn=call.turn,
            call_id=call.call_id,
            tool=call.tool,
            proposal=proposal,
            created_at=at,
        )

    @property
    def terminal(self) -> bool:
        """Whether the call's life is over and its outcome can be told."""
        return self.state in TERMINAL

    @property
    def request_id(self) -> str | None:
        """BIGHUB's id of the evaluation."""
        return self.decision.request_id if self.decision else None
