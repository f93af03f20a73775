"""The node that asks a person: the only one that interrupts, once per task."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.types import Command, Send, interrupt

from bighub_langgraph.core.answers import (
    Asked,
    Given,
    UnclearAnswer,
    answer_schema,
    read_answers,
    same_arguments,
)
from bighub_langgraph.core.asking import describe, evidence
from bighub_langgraph.core.call import ToolCall
from bighub_langgraph.core.doubt import resolve_doubt
from bighub_langgraph.core.events import event
from bighub_langgraph.core.flows import answer
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.record import Answer, Approval, Record
from bighub_langgraph.core.transitions import next_step
from bighub_langgraph.core.words import State, Step
from bighub_langgraph.graph.answering import answered, tell
from bighub_langgraph.graph.checks import misfit
from bighub_langgraph.graph.node import Node
from bighub_langgraph.graph.routing import (
    APPROVE,
    REPORT,
    to_evaluation,
    to_people,
    to_tools,
)
from bighub_langgraph.graph.state import CHANNEL, Plan, Planned, read
from bighub_langgraph.guard import BighubGuard


def approval_node(
    guard: BighubGuard,
    *,
    messages_key: str = "messages",
    tools: Mapping[str, BaseTool] | None = None,
) -> Node:
    """A node that asks a person about the calls that need one, and settles the answers.

    Args:
        guard: Records.
        messages_key: Where the messages are.
        tools: The tools there are, to check edited arguments against.
    """

    async def flow(state: Any, config: RunnableConfig, ports: Ports) -> Command[Any]:
        plan: Plan = read(state, CHANNEL)
        asking = plan["calls"]
        records = await ports.find([one["key"] or "" for one in asking])
        if len(records) < len(asking):
            return _evaluated_again(plan)
        # The list asked about comes from the checkpointed plan alone, so positions cannot shift
        # between the question and its answer, whatever became of the records meanwhile.
        said = _interrupt(plan, records, guard)
        try:
            given = read_answers(said, [_asked(one, guard, records) for one in asking])
            _refuse_misfits(given, tools or {})
        except UnclearAnswer as error:
            return Command(goto=to_people(plan, asking, unclear=str(error)))
        turn = _Turn(plan)
        for one in given:
            call = next(call for call in asking if call["id"] == one.call_id)
            record = records[call["key"] or ""]
            approval = _approval(one, call, plan, approver_of(config), _term(guard, ports))
            settle = resolve_doubt if record.state is State.UNKNOWN else answer
            settled = await settle(record, approval, ports)
            tell(event("approval", settled))
            turn.settle(call, one, approval, settled)
        turn.leave([one for one in asking if one["id"] not in {one.call_id for one in given}])
        return Command(update={messages_key: turn.said}, goto=turn.goto or [REPORT])

    return Node(flow, guard, APPROVE)


def approver_of(config: RunnableConfig) -> str | None:
    """The user a server has authenticated, if it is a server that runs us."""
    user = config.get("configurable", {}).get("langgraph_auth_user")
    identity = (
        user.get("identity") if isinstance(user, Mapping) else getattr(user, "identity", None)
    )
    return None if identity is None else str(identity)


def _asked(call: Planned, guard: BighubGuard, records: Mapping[str, Record]) -> Asked:
    allowed = guard.rules.allowed(call["name"])
    if records[call["key"] or ""].state is State.UNKNOWN:
        # Other arguments cannot settle what became of these.
        allowed = [one for one in Answer if one is not Answer.EDIT]
    switch = guard.rules.approvals.may_switch_tool
    return Asked(call["id"], call["name"], call["args"], allowed, switch)


def _interrupt(plan: Plan, records: Mapping[str, Record], guard: BighubGuard) -> Any:
    """Ask: one `HITLRequest` for all calls, or one `tool_approval` for one call."""
    asking = [(one, records[one["key"] or ""]) for one in plan["calls"]]
    requests = [_request(one, record, guard, plan.get("unclear", "")) for one, record in asking]
    allowed = {one["name"]: _asked(one, guard, records).allowed for one, _ in asking}
    if plan.get("per_call"):
        one, _ = asking[0]
        question = {"type": "tool_approval", "tool_call_id": one["id"], **requests[0]}
        return interrupt(question, response_schema=answer_schema(allowed[one["name"]]))
    configs = [
        {"action_name": name, "allowed_decisions": [one.value for one in answers]}
        for name, answers in allowed.items()
    ]
    return interrupt({"action_requests": requests, "review_configs": configs})


def _request(call: Planned, record: Record, guard: BighubGuard, unclear: str) -> dict[str, Any]:
    told = guard.rules.approvals.describe or describe
    description = told(record, call["args"])
    if unclear:
        description = f"The last answer was not understood: {unclear}\n{description}"
    return {
        "name": call["name"],
        "args": call["args"],
        "description": description,
        CHANNEL: evidence(record),
    }


def _refuse_misfits(given: Sequence[Given], tools: Mapping[str, BaseTool]) -> None:
    for one in given:
        if one.arguments is None or not tools:
            continue
        if one.tool not in tools:
            raise UnclearAnswer(f"an edit names {one.tool!r}, which is no tool here")
        if fault := misfit(tools[one.tool], one.arguments):
            raise UnclearAnswer(fault)


def _approval(
    given: Given, call: Planned, plan: Plan, known: str | None, ends: tuple[float, float | None]
) -> Approval:
    at, expires_at = ends
    edits = given.arguments is not None and not _changes_nothing(given, call)
    return Approval(
        answer=given.answer if edits or given.arguments is None else Answer.APPROVE,
        at=at,
        text=given.text,
        comment=given.comment,
        approver=known or given.approver,
        verified=known is not None,
        expires_at=expires_at,
        edited_to=_call(plan, call, given).key if edits else "",
    )


def _term(guard: BighubGuard, ports: Ports) -> tuple[float, float | None]:
    """When an answer is given, and until when a yes is good."""
    at = ports.clock()
    after = guard.rules.approvals.expires_after
    return at, None if after is None else at + after


def _call(plan: Plan, call: Planned, given: Given) -> ToolCall:
    arguments = given.arguments or {}
    return ToolCall(plan["thread"], plan["turn"], call["id"], given.tool, arguments)


def _changes_nothing(given: Given, call: Planned) -> bool:
    return (
        given.arguments is not None
        and given.tool == call["name"]
        and same_arguments(given.arguments, call["args"])
    )


class _Turn:
    """Where the calls of one question go from here."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.goto: list[Send | str] = []
        self.said: list[ToolMessage] = []

    def settle(self, call: Planned, given: Given, mine: Approval, record: Record) -> None:
        """Send an answered call on, by what the journal says of it.

        Where somebody else's answer came first, that one counts.
        """
        step = next_step(record)
        if record.state is State.SUPERSEDED and _won(mine, record):
            self.goto += to_evaluation(self._plan, [_edited(call, given, mine, record)])
        elif step is Step.EXECUTE or record.result is not None:
            self.goto.append(to_tools(self._plan, call))
        elif step is Step.ASK:
            self.leave([call])
        else:
            self.said.append(answered(record))

    def leave(self, calls: Sequence[Planned]) -> None:
        """Ask again about calls that got no answer."""
        self.goto += to_people(self._plan, calls)


def _won(mine: Approval, record: Record) -> bool:
    theirs = record.approval
    return bool(mine.edited_to) and theirs is not None and theirs.edited_to == mine.edited_to


def _edited(call: Planned, given: Given, approval: Approval, record: Record) -> Planned:
    return Planned(
        id=call["id"],
        name=given.tool,
        args=dict(given.arguments or {}),
        key=None,
        next="evaluate",
        edit={"approval": asdict(approval), "edited_from": record.key},
    )


def _evaluated_again(plan: Plan) -> Command[Any]:
    """The journal has forgotten a call (it was in memory): nothing may run on its old decision."""
    again: list[Planned] = [{**one, "key": None, "next": "evaluate"} for one in plan["calls"]]
    return Command(goto=to_evaluation(plan, again))
