"""What a recording says, in time order: a call was proposed, a call's outcome became known."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["SUCCESS", "FAILURE", "ROLLBACK"]


@dataclass(frozen=True, slots=True, eq=False)
class RecordedCall:
    """A tool call that an agent once made, unlike any other even if alike.

    It does not know how it ended.
    """

    trajectory: str
    index: int
    tool: str
    arguments: Mapping[str, Any]
    state_changing: bool | None = None


@dataclass(frozen=True, slots=True)
class Proposed:
    """The agent proposed a call."""

    call: RecordedCall


@dataclass(frozen=True, slots=True)
class Known:
    """From here on it is known how a call ended."""

    call: RecordedCall
    status: Status

    @property
    def bad(self) -> bool:
        """Whether the call had better not run."""
        return self.status != "SUCCESS"


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something in the recording that cannot be read, and why."""

    reason: str


Step = Proposed | Known | Flaw
Steps = Iterator[Step]
