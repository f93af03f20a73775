"""Asking BIGHUB about a call without running it."""

from typing import Any

from bighub_langgraph.core.decision import resolve
from bighub_langgraph.core.execution import decide
from bighub_langgraph.core.jsonable import plain
from bighub_langgraph.core.models import ToolCall, Verdict
from bighub_langgraph.core.policy import propose
from bighub_langgraph.openai.host import Host
from bighub_langgraph.openai.tools import Tool

__all__ = ["RESOLVED_ACTIONS", "checked"]

Json = dict[str, Any]

RESOLVED_ACTIONS = {
    Verdict.EXECUTE: "execute",
    Verdict.REVIEW: "approval_required",
    Verdict.BLOCK: "blocked",
}


async def checked(tool: Tool, arguments: Json, host: Host, question: str) -> Json:
    """Give BIGHUB's reply, and what would be done about the call."""
    call = ToolCall(question, question, question, tool.name, tool.parameters.check(arguments))
    proposal = propose(call, host.rules, session=host.session, trajectory=question)
    decision = await decide(proposal, call.key, host.rules, host.ports)
    floor = Verdict.REVIEW if host.rules.policy(tool.name).always_review else Verdict.EXECUTE
    verdict = resolve(decision, floor, host.rules.minimum_mode)
    return {**plain(decision.reply), "_resolved_action": RESOLVED_ACTIONS[verdict]}
