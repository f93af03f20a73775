"""The answer of a run: a dict as the published adapter gives it, with a few attributes more."""

from collections.abc import Callable
from typing import Any

from bighub_langgraph.core.jsonable import copy_jsonable
from bighub_langgraph.openai.conversation import Ending
from bighub_langgraph.openai.events import given_away
from bighub_langgraph.openai.replies import Reply, serialized
from bighub_langgraph.openai.state import RunState

__all__ = ["RunResult", "result_of"]

Json = dict[str, Any]


class RunResult(dict[str, Any]):
    """What came of a run.

    As a dict it has `llm_response`, `execution` (`events`, `last`), `response_id`, `output_text`,
    `output`, and after `run_with_approval` also `approval_loop`. `json.dumps` of it always works.

    Attributes:
        status: completed, interrupted, incomplete, failed, refused or max_rounds.
        interruptions: What waits for a person, each the event of its call.
        usage: Tokens of all answers together.
        error: What the service says of a failed or incomplete answer.
        replayed: Whether the same state was resumed before, and this is what came of it then.
    """

    def __init__(self, ending: Ending, state: Callable[[], RunState]) -> None:
        answer = serialized(ending.reply)
        events = [given_away(event) for event in ending.talk.events]
        execution = {"events": events, "last": events[-1] if events else None}
        super().__init__(**answer, llm_response=answer, execution=execution)
        self.status = ending.status
        self.interruptions = [copy_jsonable(call.waiting) for call in ending.talk.pending]
        self.usage = dict(ending.talk.usage)
        self.error = _error(ending.reply)
        self.replayed = ending.replayed
        self._state = state

    def to_state(self) -> RunState:
        """The run as it stands, to be answered, stored as JSON, and resumed anywhere."""
        return self._state()


def result_of(ending: Ending, state: Callable[[Ending], RunState]) -> RunResult:
    """Make the answer of a run."""
    return RunResult(ending, lambda: state(ending))


def _error(reply: Reply) -> Json | None:
    if reply.error:
        return dict(reply.error)
    return {"reason": reply.reason} if reply.reason else None
