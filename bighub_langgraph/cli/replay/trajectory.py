"""One conversation while it is read: what shows only at its end is held back until then."""

from collections.abc import Iterator, Mapping
from typing import Any

from bighub_langgraph.cli.replay.recording import Known, RecordedCall, Status


class Trajectory:
    """Makes a conversation's calls and says when the outcome of each becomes known."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._proposed = 0
        self._judged_later: list[Known] = []

    def propose(
        self, tool: str, arguments: Mapping[str, Any], *, state_changing: bool | None = None
    ) -> RecordedCall:
        """Take the next call."""
        self._proposed += 1
        return RecordedCall(
            trajectory=self._name,
            index=self._proposed - 1,
            tool=tool,
            arguments=arguments,
            state_changing=state_changing,
        )

    def settle(
        self, call: RecordedCall, *, error: bool | None, as_intended: bool | None
    ) -> Iterator[Known]:
        """Say how a call ended, if that shows by now."""
        status = _status(error=error, as_intended=as_intended)
        if status is None:
            return
        # A refusal is seen at once. Whether a call was what the customer wanted shows when the
        # conversation is over, so the calls in between are judged without it.
        if error or as_intended is None:
            yield Known(call, status)
        else:
            self._judged_later.append(Known(call, status))

    def end(self) -> Iterator[Known]:
        """Say what shows only now that the conversation is over."""
        yield from self._judged_later


def _status(*, error: bool | None, as_intended: bool | None) -> Status | None:
    if error:
        return "FAILURE"
    if as_intended is False:
        return "ROLLBACK"
    return None if error is None and as_intended is None else "SUCCESS"
