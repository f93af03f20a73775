"""A recording's steps in time order: a call is proposed, a call's outcome becomes known."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["SUCCESS", "FAILURE", "ROLLBACK"]


@dataclass(frozen=True, slots=True, eq=False)
class RecordedCall:
    """A tool call that an agent proposed. Two calls are never equal, even with the same fields."""

    trajectory: str
    index: int
    tool: str
    arguments: Mapping[str, Any]
    state_changing: bool | None = None


@dataclass(frozen=True, slots=True)
class OutcomeKnown:
    """The outcome of an earlier call becomes known."""

    call: RecordedCall
    status: Status

    @property
    def is_bad(self) -> bool:
        """Whether it would have been better not to execute the call."""
        return self.status != "SUCCESS"


@dataclass(frozen=True, slots=True)
class InvalidEntry:
    """A part of the file that cannot be read, the line it begins on, and the reason."""

    line: int
    reason: str


# What a recording shows next: a call that is proposed, or what became of an earlier one.
Step = RecordedCall | OutcomeKnown
Steps = Iterator[Step | InvalidEntry]


class Trajectory:
    """Creates the steps of one conversation.

    Attributes:
        final_outcomes: The outcomes that are known only when the conversation is over.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._next_index = 0
        self.final_outcomes: list[OutcomeKnown] = []

    def propose(
        self, tool: str, arguments: Mapping[str, Any], *, state_changing: bool | None = None
    ) -> RecordedCall:
        """Create the next call."""
        call = RecordedCall(self._name, self._next_index, tool, arguments, state_changing)
        self._next_index += 1
        return call

    def complete(
        self, call: RecordedCall, *, error: bool | None, as_intended: bool | None
    ) -> Iterator[OutcomeKnown]:
        """Yield the outcome of a call if it is known at once.

        An error is. Whether a call was as intended is a final outcome: the calls in between are
        evaluated without it.
        """
        if error:
            yield OutcomeKnown(call, "FAILURE")
        elif as_intended is not None:
            status: Status = "SUCCESS" if as_intended else "ROLLBACK"
            self.final_outcomes.append(OutcomeKnown(call, status))
        elif error is not None:
            yield OutcomeKnown(call, "SUCCESS")
