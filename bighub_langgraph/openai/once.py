"""Going on after an approval happens once, however often and wherever the same state is resumed."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from bighub_langgraph.core.call import ToolCall
from bighub_langgraph.core.doubt import await_other
from bighub_langgraph.core.errors import IllegalMove
from bighub_langgraph.core.flows import settled
from bighub_langgraph.core.outcome import Telling
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.record import Executed, Proposal, Record
from bighub_langgraph.core.transitions import Finished, Released, Rerun, Started
from bighub_langgraph.core.words import State
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

    async def finish(self, ending: Json) -> None:
        """Keep how it ended, for whoever resumes the same state again; never raises."""
        try:
            await settled(self.key, Finished(self.owner, Executed(ending)), self.ports)
        except Exception:
            # The run has come to its end, and its answer must reach the user all the same.
            log.exception("the journal could not keep how run %s ended", self.key[:12])

    def release(self) -> None:
        """Let somebody else try; for a run that was stopped or failed."""
        self.ports.move_now(self.key, Released(self.owner))


async def claim(run_id: str, turn: str, ports: Ports) -> Continuation | Json:
    """Claim the continuation of a turn, or give how it ended where somebody was earlier."""
    quiet = replace(ports, telling=Telling(outcomes=False, memory=False))
    call = ToolCall(run_id, turn, _NAME, _NAME, {})
    record = replace(Record.of(call, Proposal(_NAME, ""), ports.clock()), state=State.ALLOWED)
    [record] = await quiet.open([record])
    owner = f"{ports.journal.owner}/{uuid4().hex[:8]}"
    while not isinstance(record.result, Executed):
        try:
            await quiet.move(record.key, Started(owner, ports.clock()))
        except IllegalMove:
            record = await _theirs(record.key, quiet)
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
        # Every tool call behind it has a record of its own, so that going on again repeats none.
        return await settled(key, Rerun("the process that went on is gone"), ports)
    return record
