"""Shadow mode: ask about every recorded call, run none, and tell each outcome once it is known."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from bighub_langgraph.cli.replay.recording import Known, Proposed, RecordedCall
from bighub_langgraph.core.models import Decision, Verdict


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the engine says of a call, and what would be done about it."""

    decision: Decision
    verdict: Verdict


@dataclass(slots=True)
class Judged:
    """A recorded call, what would have been done about it, and how it really ended."""

    call: RecordedCall
    opinion: Opinion
    outcome: Known | None = None

    @property
    def bad(self) -> bool | None:
        """Whether the call had better not run; None where the recording does not tell."""
        return None if self.outcome is None else self.outcome.bad


def shadow(
    steps: Iterable[Proposed | Known],
    *,
    ask: Callable[[RecordedCall], Opinion],
    tell: Callable[[Opinion, Known], None],
) -> Iterator[Judged]:
    """Go through a recording in its own order; each call comes out as soon as it is judged.

    Its outcome is filled in later, when the recording tells it: no call is judged by anything that
    was not yet known when it was made.
    """
    waiting: dict[RecordedCall, Judged] = {}
    for step in steps:
        match step:
            case Proposed(call):
                waiting[call] = judged = Judged(call, ask(call))
                yield judged
            case Known(call):
                judged = waiting.pop(call)
                judged.outcome = step
                tell(judged.opinion, step)
