"""The node that asks a person: the only one that interrupts, once per task."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.types import Command, Send

from bighub_langgraph.core.approval_answers import InvalidApprovalResponse
from bighub_langgraph.core.lifecycle import next_step
from bighub_langgraph.core.models import Step
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.graph.answering import answered
from bighub_langgraph.graph.node import Node
from bighub_langgraph.graph.questions import Question, Settled
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
        records = await ports.find([one["key"] or "" for one in plan["calls"]])
        if len(records) < len(plan["calls"]):
            return _evaluated_again(plan)
        # The list asked about comes from the checkpointed plan alone, so positions cannot shift
        # between the question and its answer, whatever became of the records meanwhile.
        question = Question(plan, records, guard, tools)
        said = question.ask()
        try:
            given = question.read(said)
        except InvalidApprovalResponse as error:
            # One question per task: another one would be answered by what this one was told.
            return Command(goto=to_people(plan, plan["calls"], unclear=str(error)))
        turn = _Turn(plan)
        for one in await question.settle(given, config, ports):
            turn.send_on(one)
        turn.leave(question.unanswered(given))
        return Command(update={messages_key: turn.said}, goto=turn.goto or [REPORT])

    return Node(flow, guard, APPROVE)


class _Turn:
    """Where the calls of one question go from here."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.goto: list[Send | str] = []
        self.said: list[ToolMessage] = []

    def send_on(self, settled: Settled) -> None:
        """Send an answered call on, by what the journal says of it."""
        step = next_step(settled.record)
        if settled.edited is not None:
            self.goto += to_evaluation(self._plan, [settled.edited])
        elif step is Step.EXECUTE or settled.record.result is not None:
            self.goto.append(to_tools(self._plan, settled.call))
        elif step is Step.ASK:
            self.leave([settled.call])
        else:
            self.said.append(answered(settled.record))

    def leave(self, calls: Sequence[Planned]) -> None:
        """Ask again about calls that got no answer."""
        self.goto += to_people(self._plan, calls)


def _evaluated_again(plan: Plan) -> Command[Any]:
    """The journal has forgotten a call (it was in memory): nothing may run on its old decision."""
    again: list[Planned] = [{**one, "key": None, "next": "evaluate"} for one in plan["calls"]]
    return Command(goto=to_evaluation(plan, again))
