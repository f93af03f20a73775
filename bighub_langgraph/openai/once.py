"""After an approval each answer of the model is asked for once, wherever a state is resumed."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Self

from bighub_langgraph.core.errors import BighubGuardError, IllegalMove
from bighub_langgraph.core.execution import await_other, new_attempt, settled
from bighub_langgraph.core.lifecycle import Finished, Released, Rerun, Started
from bighub_langgraph.core.models import Executed, Proposal, Record, State, ToolCall
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.reporting import Telling
from bighub_langgraph.openai.errors import StateRefused

__all__ = ["Continuation", "claim"]

log = logging.getLogger("bighub_langgraph")
Json = dict[str, Any]
_NAME = "(continue)"


@dataclass(frozen=True, slots=True)
class Continuation:
    """The right to ask the model on, held by one process; a record of the journal like a call's."""

    key: str
    owner: str
    ports: Ports

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Let somebody else ask the model where this attempt was stopped, or failed."""
        if error is not None:
            self.ports.move_now(self.key, Released(self.owner))

    async def finish(self, answer: Json) -> None:
        """Keep what the model answered, for whoever resumes the same state; never raises."""
        try:
            await settled(self.key, Finished(self.owner, Executed(answer)), self.ports)
        except Exception:
            # The answer is here, and must reach the user all the same.
            log.exception("the journal could not keep an answer of run %s", self.key[:12])


async def claim(run_id: str, turn: str, ports: Ports) -> Continuation | Json:
    """Claim the question behind a turn, or give the answer where somebody asked it earlier."""
    quiet = replace(ports, telling=Telling(outcomes=False, memory=False))
    call = ToolCall(run_id, turn, _NAME, _NAME, {})
    record = replace(Record.of(call, Proposal(_NAME, ""), ports.clock()), state=State.ALLOWED)
    [record] = await quiet.open([record])
    owner = new_attempt(ports)
    while not isinstance(record.result, Executed):
        try:
            await quiet.move(record.key, Started(owner, ports.clock()))
        except IllegalMove:
            record = await _theirs(record.key, quiet)
        except BaseException:
            # Cancelled while it was being claimed: nobody asks, and somebody else may.
            with suppress(BighubGuardError):  # the claim was not made, or the journal is away
                quiet.move_now(record.key, Released(owner))
            raise
        else:
            return Continuation(record.key, owner, quiet)
    if not isinstance(record.result.output, Mapping):
        raise StateRefused(f"the journal's note of how run {run_id} went on cannot be read")
    return dict(record.result.output)


async def _theirs(key: str, ports: Ports) -> Record:
    """What became of another's continuation; that of a lost process is open to be claimed."""
    record = await await_other((await ports.find([key]))[key], ports)
    if record.state is State.RUNNING:
        raise StateRefused("somebody else is going on with this run right now; resume again later")
    if record.state is State.UNKNOWN:
        # It was asking the model, and no tool runs before the answer is kept.
        return await settled(key, Rerun("the process that went on is gone"), ports)
    return record
