"""Asking BIGHUB about a call without running it."""

from typing import Any

from bighub_langgraph.core.decision import resolve_verdict
from bighub_langgraph.core.execution import evaluate_request
from bighub_langgraph.core.jsonable import to_jsonable
from bighub_langgraph.core.models import ToolCall, Verdict
from bighub_langgraph.core.policy import build_evaluation_request
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
    proposal = build_evaluation_request(call, host.rules, session=host.session, trajectory=question)
    decision = await evaluate_request(proposal, call.key, host.rules, host.ports)
    floor = Verdict.REVIEW if host.rules.policy_for(tool.name).always_review else Verdict.EXECUTE
    verdict = resolve_verdict(decision, floor, host.rules.minimum_mode)
    return {**to_jsonable(decision.reply), "_resolved_action": RESOLVED_ACTIONS[verdict]}
