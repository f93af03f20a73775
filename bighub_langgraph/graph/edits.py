"""A person's edit of a call: checked against the tool and its policy, and applied."""

from collections.abc import Mapping
from dataclasses import replace

from langchain_core.tools import BaseTool

from bighub_langgraph.core.approval_answers import ApprovalAnswer, InvalidApprovalResponse
from bighub_langgraph.core.argument_patch import ArgumentPatch
from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.models import CallRecord, ToolCall
from bighub_langgraph.core.policy import GuardSettings, build_evaluation_request
from bighub_langgraph.graph.plan import Plan, PlannedCall, TurnId, to_tool_call
from bighub_langgraph.graph.validation import find_argument_errors


def check_edit(
    answer: ApprovalAnswer, tools: Mapping[str, BaseTool], settings: GuardSettings
) -> None:
    """Check the arguments of an edit, where the tools are known.

    Raises:
        InvalidApprovalResponse: They do not fit; the message says why.
    """
    if answer.arguments is None or not tools:
        return
    if answer.tool not in tools:
        raise InvalidApprovalResponse(f"an edit names {answer.tool!r}, which is no tool here")
    if error := find_argument_errors(tools[answer.tool], answer.arguments):
        raise InvalidApprovalResponse(error)
    try:  # the policy's own functions may raise for these arguments
        edited_call = ToolCall("", "", answer.call_id, answer.tool, answer.arguments)
        build_evaluation_request(edited_call, settings)
    except InvalidCall as invalid:
        raise InvalidApprovalResponse(str(invalid)) from invalid


def apply_edit(call: PlannedCall, plan: Plan, record: CallRecord, patch: ArgumentPatch) -> ToolCall:
    """Return a call with the changes that a person made outside of its graph.

    Raises:
        InvalidCall: They are about another call, or about fields that it does not have.
    """
    original = to_tool_call(TurnId(plan["thread"], plan["turn"]), call)
    if original.key != record.key:
        raise InvalidCall("the call in the thread's state is not the one that was shown")
    return replace(original, arguments=patch.apply(call["args"]))
