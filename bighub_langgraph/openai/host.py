"""What a conversation needs from outside, for either colour."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from bighub_langgraph.core.models import CallRecord
from bighub_langgraph.core.policy import GuardSettings
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.openai.provider import Provider
from bighub_langgraph.openai.running import Runner
from bighub_langgraph.openai.talk import Talk
from bighub_langgraph.openai.tools import ToolRegistry

__all__ = ["Host"]


@dataclass(frozen=True)
class Host:
    """The surroundings of a conversation.

    Attributes:
        rules: With the policies of the tools.
        session: Session id, the same for every run of a client.
        most_rounds: How many rounds of tools a run may have.
        notice: Tells whoever listens, if anybody does, of a fresh decision; never raises.
        deliver: Starts to tell BIGHUB what a turn left to tell; never raises.
        deliver_soon: The same for a turn that was stopped; waits for nothing.
        state: Makes of a talk what an error carries, to go on from.
    """

    provider: Provider
    tools: ToolRegistry
    rules: GuardSettings
    ports: Ports
    runner: Runner
    session: str
    most_rounds: int
    notice: Callable[[dict[str, Any], CallRecord], Awaitable[None]] | None
    deliver: Callable[[str], Awaitable[None]]
    deliver_soon: Callable[[], None]
    state: Callable[[Talk], Any]
