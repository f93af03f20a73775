"""The node that tells BIGHUB what happened, and lets the model go on when a turn is complete."""

from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command

from bighub_langgraph.core.ports import Ports
from bighub_langgraph.graph.node import Node
from bighub_langgraph.graph.routing import REPORT
from bighub_langgraph.graph.state import CHANNEL, Plan, last_turn, messages_of, read, unanswered
from bighub_langgraph.guard import BighubGuard


def outcome_node(
    guard: BighubGuard, *, messages_key: str = "messages", then: str | None = "model"
) -> Node:
    """A node that starts the delivery of outcomes.

    Args:
        guard: Whose outbox is delivered, in the background where BIGHUB is far away.
        messages_key: Where the messages are.
        then: The node that goes on once every call of the turn is answered, and not before: that
            is what makes the model run once a turn, in whatever order answers come. None where
            your own edges do that.
    """

    async def flow(state: Any, _: RunnableConfig, ports: Ports) -> Command[Any] | None:
        turn = _Turn.of(state, messages_key)
        await turn.tell(guard, ports)
        return Command(goto=then) if turn.complete and then is not None else None

    return Node(flow, guard, REPORT)


def going_on(guard: BighubGuard, *, messages_key: str, then: str) -> Node:
    """The edge behind the tools: to `then` after the only call of a turn, else to `report`.

    Of several calls none knows what becomes of the others that run beside it; `report` does.
    """

    async def flow(state: Any, _: RunnableConfig, ports: Ports) -> str:
        turn = _Turn.of(state, messages_key)
        if not turn.complete or turn.calls > 1:
            return REPORT
        await turn.tell(guard, ports)
        return then

    return Node(flow, guard, "answered")


class _Turn(NamedTuple):
    """The last AI message's turn.

    Attributes:
        calls: How many calls it asks for.
        complete: Whether every call of it is answered.
        id: Its part of the calls' keys, if it was planned.
    """

    calls: int
    complete: bool
    id: str | None

    @classmethod
    def of(cls, state: Any, messages_key: str) -> "_Turn":
        """The turn in a state."""
        plan: Plan | None = read(state, CHANNEL)
        message, done = last_turn(messages_of(state, messages_key))
        complete = message is not None and not unanswered(message, done)
        calls = 0 if message is None else len(message.tool_calls)
        return cls(calls, complete, plan["turn"] if plan else None)

    async def tell(self, guard: BighubGuard, ports: Ports) -> None:
        """Start the delivery of what there is to tell; of a turn that is over, of all of it."""
        turn = self.id if self.complete else None
        if ports is guard.aports:
            await guard.courier.astart(turn)
        else:
            guard.courier.start(turn)
