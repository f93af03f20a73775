"""The node that asks BIGHUB about the calls of a turn, a superstep before anything else happens."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.messages import ToolCall as MessageCall
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool

from bighub_langgraph.core.call import ToolCall
from bighub_langgraph.core.flows import Edited, Refused, close, consider
from bighub_langgraph.core.messages import not_possible
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.record import Answer, Approval, Record
from bighub_langgraph.core.transitions import next_step
from bighub_langgraph.core.words import State, Step
from bighub_langgraph.graph.answering import answered, refused, tell
from bighub_langgraph.graph.checks import faults, refuse_forgetful
from bighub_langgraph.graph.node import Node
from bighub_langgraph.graph.routing import EVALUATE
from bighub_langgraph.graph.state import (
    CHANNEL,
    Next,
    Plan,
    Planned,
    checkpointer_of,
    last_turn,
    messages_of,
    minted,
    part_of,
    read,
    thread_of,
    unanswered,
)
from bighub_langgraph.guard import BighubGuard

NO_CHECKPOINTER = (
    "a person has to approve it, and this graph has no checkpointer to wait with: "
    "compile it with checkpointer=..."
)


def evaluate_node(
    guard: BighubGuard,
    *,
    messages_key: str = "messages",
    tools: Mapping[str, BaseTool] | None = None,
) -> Node:
    """A node that evaluates the open calls of the last AI message.

    It plans the turn in the private channel; `route_by_recommendation` reads it from there. Calls
    that may not run are answered at once.

    Args:
        guard: Asks and records.
        messages_key: Where the messages are.
        tools: The tools there are, so that calls that fit none are answered without an evaluation.
    """

    async def flow(state: Any, config: RunnableConfig, ports: Ports) -> dict[str, Any]:
        refuse_forgetful(ports.journal, config)
        given: Plan | None = read(state, CHANNEL)
        if given and any(one["next"] == "evaluate" for one in given["calls"]):
            said: list[ToolMessage] = []
            plan = part_of(given, [one.copy() for one in given["calls"]])
        else:
            said, plan = _planned(messages_of(state, messages_key), guard, tools, config)
        said += await _considered(plan, guard, config, ports)
        return {messages_key: said, CHANNEL: plan}

    return Node(flow, guard, EVALUATE)


def _planned(
    messages: Sequence[Any],
    guard: BighubGuard,
    tools: Mapping[str, BaseTool] | None,
    config: RunnableConfig,
) -> tuple[list[ToolMessage], Plan]:
    """A fresh plan of the last turn, and the answers to calls that nobody needs to look at."""
    message, done = last_turn(messages)
    calls = unanswered(message, done)
    turn = message.id if isinstance(message, AIMessage) else None
    plan = Plan(thread=thread_of(config) or minted(), turn=turn or minted(), calls=[])
    if guard.rules.approvals.interrupt_mode == "per_call":
        plan["per_call"] = True
    said: list[ToolMessage] = []
    for call, fault in zip(calls, faults(calls, tools), strict=True):
        if fault is not None:
            said.append(refused(call["name"], call["id"], fault))
        else:
            plan["calls"].append(_to_look_at(call, guard))
    return said, plan


def _to_look_at(call: MessageCall, guard: BighubGuard) -> Planned:
    read_only = guard.rules.policy(call["name"]).read_only
    return Planned(
        id=str(call["id"]),
        name=call["name"],
        args=call["args"],
        key=None,
        next="execute" if read_only else "evaluate",
    )


async def _considered(
    plan: Plan, guard: BighubGuard, config: RunnableConfig, ports: Ports
) -> list[ToolMessage]:
    """Ask BIGHUB about what is to be evaluated, and write into the plan what comes next."""
    waiting = [one for one in plan["calls"] if one["next"] == "evaluate"]
    session = thread_of(config) or plan["turn"]
    found = await consider(
        [_asked(plan, one) for one in waiting],
        guard.rules,
        ports,
        session=session,
        trajectory=session,
        fresh=lambda record: tell(guard.announce(record)),
    )
    said: list[ToolMessage] = []
    for one, record in zip(waiting, found, strict=True):
        one.pop("edit", None)
        if isinstance(record, Refused):
            one["next"] = "done"
            said.append(refused(one["name"], one["id"], not_possible(one["name"], record.error)))
            continue
        if record.state is State.AWAITING and not checkpointer_of(config):
            record = await close(record, NO_CHECKPOINTER, ports)  # noqa: PLW2901 - the same record
        one["key"] = record.key
        one["next"] = _next(record, guard, config)
        if one["next"] == "done":
            said.append(answered(record))
    return said


def _next(record: Record, guard: BighubGuard, config: RunnableConfig) -> Next:
    policy = guard.rules.policy(record.tool)
    if record.state is State.UNKNOWN and (policy.probe is not None or policy.idempotent):
        return "execute"  # the tools node looks into it without a person
    match next_step(record):
        case Step.ASK:
            return "ask" if checkpointer_of(config) else "done"
        case Step.EXECUTE:
            return "execute"
        case _:
            # What ran before is handed out again by the tools node.
            return "execute" if record.result is not None else "done"


def _asked(plan: Plan, one: Planned) -> ToolCall | Edited:
    call = ToolCall(plan["thread"], plan["turn"], one["id"], one["name"], one["args"])
    edit = one.get("edit")
    if edit is None:
        return call
    approval = Approval(**{**edit["approval"], "answer": Answer.EDIT})
    return Edited(call, approval, edit["edited_from"])
