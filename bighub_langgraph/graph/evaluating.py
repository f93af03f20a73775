"""The node that asks BIGHUB about the calls of a turn, a superstep before anything else happens."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool

from bighub_langgraph.core.evaluation import EditedCall, RefusedCall, evaluate_calls
from bighub_langgraph.core.execution import cancel_call
from bighub_langgraph.core.lifecycle import next_step
from bighub_langgraph.core.model_messages import invalid_call_message
from bighub_langgraph.core.models import Answer, Approval, CallRecord, State, Step, ToolCall
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.graph.answering import answers_in, tell
from bighub_langgraph.graph.checks import did_not_run, faults, refuse_forgetful
from bighub_langgraph.graph.langgraph_internals import checkpointer_of, unreadable_run
from bighub_langgraph.graph.node import Node
from bighub_langgraph.graph.routing import EVALUATE
from bighub_langgraph.graph.state import (
    CHANNEL,
    Next,
    Plan,
    Planned,
    execution_info,
    last_turn,
    messages_of,
    minted,
    part_of,
    read,
    thread_of,
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
    complete: bool = True,
) -> Node:
    """A node that evaluates the open calls of the last AI message.

    It plans the turn in the private channel; `route_by_recommendation` reads it from there. Calls
    that may not run are answered at once.

    Args:
        guard: Asks and records.
        messages_key: Where the messages are.
        tools: The tools there are, so that calls that fit none are answered without an evaluation.
        complete: Whether there are no others; a ToolNode's own wrapper may bring some.
    """

    async def flow(state: Any, config: RunnableConfig, ports: Ports) -> dict[str, Any]:
        refuse_forgetful(ports.journal, config)
        given: Plan | None = read(state, CHANNEL)
        if given and any(one["next"] == "evaluate" for one in given["calls"]):
            plan = part_of(given, [one.copy() for one in given["calls"]])
            if problem := unreadable_run(config, execution_info(config)):
                for one in plan["calls"]:
                    one["fault"], one["next"] = did_not_run(one["name"], problem), "done"
        else:
            message, done = last_turn(messages_of(state, messages_key))
            listed = message.tool_calls if message is not None else []
            calls = [one for one in listed if one["id"] not in done]
            wrong = faults(calls, tools, config, execution_info(config), complete=complete)
            plan = plan_turn(calls, wrong, guard, config, turn=message.id if message else None)
        await consider_plan(plan, guard, config, ports)
        return {messages_key: await answers_in(plan, ports), CHANNEL: plan}

    return Node(flow, guard, EVALUATE)


def plan_turn(
    calls: Sequence[Mapping[str, Any]],
    wrong: Sequence[str | None],
    guard: BighubGuard,
    config: RunnableConfig,
    *,
    turn: str | None,
    later: Container[str] = (),
) -> Plan:
    """A fresh plan of a turn.

    Args:
        calls: The calls of its AI message that are open.
        wrong: What is wrong with each; such a call goes no further.
        guard: Whose policies hold.
        config: Of the run.
        turn: The AI message's id, if it has one.
        later: Names of tools that are looked at when they are about to run.
    """
    plan = Plan(thread=thread_of(config) or minted(), turn=turn or minted(), calls=[])
    if guard.runtime.settings.approvals.interrupt_mode == "per_call":
        plan["per_call"] = True
    for call, fault in zip(calls, wrong, strict=True):
        name = call["name"]
        unasked = name in later or guard.runtime.settings.policy_for(name).read_only
        one = Planned(
            id=call["id"] or "",
            name=name,
            args=call["args"],
            key=None,
            next="execute" if unasked else "evaluate",
        )
        if fault is not None:
            one["fault"] = fault
            one["next"] = "done"
            # What cannot be proposed may not even be JSON, and the plan is checkpointed.
            one["args"] = {}
        plan["calls"].append(one)
    return plan


async def consider_plan(
    plan: Plan, guard: BighubGuard, config: RunnableConfig, ports: Ports
) -> None:
    """Ask BIGHUB about what is to be evaluated, and write into the plan what comes next."""
    waiting = [one for one in plan["calls"] if one["next"] == "evaluate"]
    session = thread_of(config) or plan["turn"]
    found = await evaluate_calls(
        [asked(plan, one) for one in waiting],
        guard.runtime.settings,
        ports,
        session=session,
        trajectory=session,
        on_new=lambda record: tell(guard.runtime.emit_decision(record)),
    )
    for one, record in zip(waiting, found, strict=True):
        one.pop("edit", None)
        if isinstance(record, RefusedCall):
            one["fault"] = invalid_call_message(one["name"], record.error)
            one["next"] = "done"
            one["args"] = {}
            continue
        if record.state is State.AWAITING and not checkpointer_of(config):
            record = await cancel_call(record, NO_CHECKPOINTER, ports)  # noqa: PLW2901 - the same record
        one["key"] = record.key
        one["next"] = _next(record, guard, config)


def asked(plan: Plan, one: Planned) -> ToolCall | EditedCall:
    """A call of a plan as it is evaluated: with a person's yes where that person wrote it."""
    call = ToolCall(plan["thread"], plan["turn"], one["id"], one["name"], one["args"])
    edit = one.get("edit")
    if edit is None:
        return call
    approval = Approval(**{**edit["approval"], "answer": Answer.EDIT})
    return EditedCall(call, approval, edit["edited_from"])


def _next(record: CallRecord, guard: BighubGuard, config: RunnableConfig) -> Next:
    policy = guard.runtime.settings.policy_for(record.tool)
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
