"""After an approval each answer of the model is asked for once, wherever a state is resumed."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Self

from bighub_langgraph.core.errors import BighubGuardError, InvalidTransition
from bighub_langgraph.core.execution import new_owner_id, transition_or_load, wait_for_owner
from bighub_langgraph.core.lifecycle import (
    ClaimReleased,
    ExecutionFinished,
    ExecutionStarted,
    RerunAllowed,
)
from bighub_langgraph.core.models import (
    CallRecord,
    EvaluationRequest,
    State,
    ToolCall,
    ToolSucceeded,
)
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.reporting import ReportingConfig
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
            self.ports.transition_now(self.key, ClaimReleased(self.owner))

    async def finish(self, answer: Json) -> None:
        """Keep what the model answered, for whoever resumes the same state; never raises."""
        try:
            await transition_or_load(
                self.key, ExecutionFinished(self.owner, ToolSucceeded(answer)), self.ports
            )
        except Exception:
            # The answer is here, and must reach the user all the same.
            log.exception("the journal could not keep an answer of run %s", self.key[:12])


async def claim(run_id: str, turn: str, ports: Ports) -> Continuation | Json:
    """Claim the question behind a turn, or give the answer where somebody asked it earlier."""
    quiet = replace(ports, reporting=ReportingConfig(outcomes=False, memory=False))
    call = ToolCall(run_id, turn, _NAME, _NAME, {})
    record = replace(
        CallRecord.of(call, EvaluationRequest(_NAME, ""), ports.clock()), state=State.ALLOWED
    )
    [record] = await quiet.insert([record])
    owner = new_owner_id(ports)
    while not isinstance(record.result, ToolSucceeded):
        try:
            await quiet.transition(record.key, ExecutionStarted(owner, ports.clock()))
        except InvalidTransition:
            record = await _theirs(record.key, quiet)
        except BaseException:
            # Cancelled while it was being claimed: nobody asks, and somebody else may.
            with suppress(BighubGuardError):  # the claim was not made, or the journal is away
                quiet.transition_now(record.key, ClaimReleased(owner))
            raise
        else:
            return Continuation(record.key, owner, quiet)
    if not isinstance(record.result.output, Mapping):
        raise StateRefused(f"the journal's note of how run {run_id} went on cannot be read")
    return dict(record.result.output)


async def _theirs(key: str, ports: Ports) -> CallRecord:
    """What became of another's continuation; that of a lost process is open to be claimed."""
    record = await wait_for_owner((await ports.find([key]))[key], ports)
    if record.state is State.RUNNING:
        raise StateRefused("somebody else is going on with this run right now; resume again later")
    if record.state is State.UNKNOWN:
        # It was asking the model, and no tool runs before the answer is kept.
        return await transition_or_load(
            key, RerunAllowed("the process that went on is gone"), ports
        )
    return record
