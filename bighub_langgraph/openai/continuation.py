"""After a resume, each response of the model is requested once, wherever the state is resumed."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Self

from bighub_langgraph.core.claims import new_owner_id
from bighub_langgraph.core.errors import BighubGuardError, InvalidTransition
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
from bighub_langgraph.core.recovery import wait_for_owner
from bighub_langgraph.core.reporting import ReportingConfig
from bighub_langgraph.openai.errors import InvalidRunState

log = logging.getLogger("bighub_langgraph")
Json = dict[str, Any]
_NAME = "(continue)"


@dataclass(frozen=True, slots=True)
class Continuation:
    """The right of one process to send the next request of a run.

    It is a record of the journal, like that of a tool call. Leaving the context with an error
    releases it, so that another process may send the request.
    """

    key: str
    owner: str
    ports: Ports

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            self.ports.transition_now(self.key, ClaimReleased(self.owner))

    async def finish(self, ending: Json) -> None:
        """Store the ending for later resumes of the same state; never raises."""
        finished = ExecutionFinished(self.owner, ToolSucceeded(ending))
        try:
            await self.ports.transition_or_load(self.key, finished)
        except Exception:
            # The response has arrived, and must reach the user all the same.
            log.exception("the journal could not store a response of run %s", self.key[:12])


async def claim_continuation(run_id: str, turn_id: str, ports: Ports) -> Continuation | Json:
    """Claim the request after a turn, or return the ending that an earlier resume stored.

    Raises:
        InvalidRunState: Another process sends this request right now.
    """
    ports = replace(ports, reporting=ReportingConfig(outcomes=False, memory=False))
    call = ToolCall(run_id, turn_id, _NAME, _NAME, {})
    record = CallRecord.of(call, EvaluationRequest(_NAME, ""), ports.clock())
    [record] = await ports.insert([record._replace(state=State.ALLOWED)])
    owner = new_owner_id(ports)
    while not isinstance(record.result, ToolSucceeded):
        try:
            await ports.transition(record.key, ExecutionStarted(owner, ports.clock()))
        except InvalidTransition:
            record = await _wait_for_other(record.key, ports)
        except BaseException:
            # Cancelled during the claim: no request is sent, and another process may send it.
            with suppress(BighubGuardError):  # the claim was not made, or the journal is down
                ports.transition_now(record.key, ClaimReleased(owner))
            raise
        else:
            return Continuation(record.key, owner, ports)
    if not isinstance(record.result.output, Mapping):
        raise InvalidRunState(f"the journal's record of how run {run_id} continued cannot be read")
    return dict(record.result.output)


async def _wait_for_other(key: str, ports: Ports) -> CallRecord:
    """Return the record after another process is done; that of a dead one can be claimed."""
    record = await wait_for_owner((await ports.find([key]))[key], ports)
    if record.state is State.RUNNING:
        raise InvalidRunState("another process resumes this run right now; resume it again later")
    if record.state is State.UNKNOWN:
        # It was waiting for the model, and no tool runs before the response is stored.
        reason = "the process that resumed the run is gone"
        return await ports.transition_or_load(key, RerunAllowed(reason))
    return record
