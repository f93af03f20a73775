"""After a resume, each response of the model is requested once, wherever the state is resumed."""

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from bighub_langgraph.core.claims import new_owner_id
from bighub_langgraph.core.errors import BighubGuardError
from bighub_langgraph.core.models import ToolCall
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.recovery import LONGEST_POLL, OWNER_TIMEOUT
from bighub_langgraph.openai.errors import InvalidRunState

log = logging.getLogger("bighub_langgraph")
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Continuation:
    """The right of one process to send the next request of a run: a claim in the journal.

    Leaving the context with an error releases it, so that another process may send the request.
    """

    key: str
    owner: str
    ports: Ports

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            self.ports.journal.end_work_claim(self.key, self.owner)

    async def finish(self, ending: Json) -> None:
        """Store the ending for later resumes of the same state; never raises."""
        try:
            await self.ports.call(self.ports.journal.end_work_claim, self.key, self.owner, ending)
        except Exception:
            # The response has arrived, and must reach the user all the same.
            log.exception("the journal could not store a response of run %s", self.key[:12])


async def claim_continuation(run_id: str, turn_id: str, ports: Ports) -> Continuation | Json:
    """Claim the request after a turn, or return the ending that an earlier resume stored.

    Raises:
        InvalidRunState: Another process sends this request right now.
    """
    key, owner = ToolCall(run_id, turn_id, "", "", {}).key, new_owner_id(ports)
    # A process that sent it and is gone was waiting for the model: no tool runs before the
    # response is stored, so the request may be sent again.
    for _ in range(int(OWNER_TIMEOUT / LONGEST_POLL)):
        try:
            claim = await ports.call(ports.journal.claim_work, key, owner)
        except BaseException:
            # Cancelled during the claim: no request is sent, and another process may send it.
            with suppress(BighubGuardError):  # the claim was not made, or the journal is down
                ports.journal.end_work_claim(key, owner)
            raise
        if claim.result is not None:
            return dict(claim.result)
        if claim.owner == owner:
            return Continuation(key, owner, ports)
        await ports.sleep(LONGEST_POLL)
    raise InvalidRunState("another process resumes this run right now; resume it again later")
