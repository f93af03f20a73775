"""The node that tells BIGHUB what happened, and lets the model go on when a turn is complete."""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command

from bighub_langgraph.core.ports import Ports
from bighub_langgraph.graph.node import Node
from bighub_langgraph.graph.routing import REPORT
from bighub_langgraph.graph.state import (
    CHANNEL,
    Plan,
    last_turn,
    messages_of,
    read,
    unanswered,
)
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
        message, done = last_turn(messages_of(state, messages_key))
        complete = message is not None and not unanswered(message, done)
        await tell_of(_turn_of(state) if complete else None, guard, ports)
        return Command(goto=then) if complete and then is not None else None

    return Node(flow, guard, REPORT)


def going_on(guard: BighubGuard, *, messages_key: str, then: str) -> Node:
    """The edge behind the tools: to `then` after the only call of a turn, else to `report`.

    Of several calls none knows what becomes of the others that run beside it; `report` does.
    """

    async def flow(state: Any, _: RunnableConfig, ports: Ports) -> str:
        message, done = last_turn(messages_of(state, messages_key))
        if message is None or len(message.tool_calls) != 1 or unanswered(message, done):
            return REPORT
        await tell_of(message.id, guard, ports)
        return then

    return Node(flow, guard, "answered")


async def tell_of(turn: str | None, guard: BighubGuard, ports: Ports) -> None:
    """Start the delivery of what there is to tell; of a turn that is over, of all of it."""
    if ports is guard.runtime.async_ports:
        await guard.runtime.delivery.deliver_async(turn)
    else:
        guard.runtime.delivery.deliver(turn)


def tell_soon(guard: BighubGuard, ports: Ports) -> None:
    """Leave it to the next step, which tells of the whole turn; in a moment, should none come."""
    if ports is guard.runtime.async_ports:
        guard.runtime.delivery.schedule_async()
    else:
        guard.runtime.delivery.schedule()


def _turn_of(state: Any) -> str | None:
    """The turn's part of the calls' keys, if it was planned."""
    plan: Plan | None = read(state, CHANNEL)
    return plan["turn"] if plan else None
