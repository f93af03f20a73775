"""The messages that the model reads about a call that did not simply run."""

from collections.abc import Mapping
from typing import Any, assert_never

from bighub_langgraph.core.decision import lacks_context
from bighub_langgraph.core.evidence import format_call, visible_alternatives, visible_text
from bighub_langgraph.core.jsonable import truncate
from bighub_langgraph.core.models import Answer, CallRecord, State, ToolFailed

LONGEST_REASON = 600
DO_NOT_REPEAT = "Do not repeat this call."


def message_for_model(record: CallRecord) -> str:  # noqa: PLR0911 - one case per state
    """Return a short message about a call that was not executed."""
    tool = record.tool
    match record.state:
        case State.PROPOSED | State.AWAITING | State.ALLOWED | State.PAUSED:
            return f"{tool} has not run: it is {record.state.value.replace('_', ' ')}."
        case State.RUNNING:
            return f"{tool} was started and has not returned yet. {DO_NOT_REPEAT}"
        case State.UNKNOWN:
            return (
                f"{tool} was started, and whether it took effect is not known ({record.reason}). "
                "Do not repeat it; say so, and ask someone to check."
            )
        case State.EXECUTED:
            return f"{tool} ran, and its result was delivered elsewhere. {DO_NOT_REPEAT}"
        case State.TOOL_ERROR:
            result = record.result
            error = result.error if isinstance(result, ToolFailed) else record.reason
            return f"{tool} failed: {_one_line(error)}."
        case State.BLOCKED:
            return _blocked_message(record)
        case State.ANSWERED:
            return record.approval.text if record.approval is not None else ""
        case State.EXPIRED | State.CANCELLED:
            return (
                f"{tool} was not run, and nobody refused it: {_one_line(record.reason)}. "
                "Repeat this call only if it is still wanted."
            )
        case State.EDITED:
            return f"{tool} did not run: a person changed its arguments."
        case _:
            assert_never(record.state)


def edit_note(tool: str, arguments: Mapping[str, Any]) -> str:
    """Return what the model reads before the output of a call whose arguments a person changed."""
    return f"A person changed this call before it ran. What ran: {format_call(tool, arguments)}"


def invalid_call_message(tool: str, error: object) -> str:
    """Return the message about a call that cannot be evaluated at all."""
    return f"{tool} did not run: {_one_line(str(error))}."


def _blocked_message(record: CallRecord) -> str:
    approval, decision = record.approval, record.decision
    is_rejected = approval is not None and approval.answer is Answer.REJECT
    subject = "A person rejected this call" if is_rejected else f"{record.tool} was not run"
    is_of_bighub = decision is not None and record.reason == decision.reason
    reason = visible_text(record.reason, record) if is_of_bighub else record.reason
    parts = [f"{subject}: {_one_line(reason)}." if reason else f"{subject}."]
    if decision is not None and lacks_context(decision):
        parts.append(visible_text(_missing_context(decision.reply), record))
    actions = [str(row["action"]) for row in visible_alternatives(record) if row.get("action")]
    if actions and not is_rejected:
        parts.append(f"BIGHUB suggests: {_one_line('; '.join(actions[:3]))}.")
    return " ".join([*parts, DO_NOT_REPEAT])


_CONTEXT_FIELDS = ("missing_context", "required_context", "context_needed", "questions")


def _missing_context(reply: Mapping[str, Any]) -> str:
    for name in _CONTEXT_FIELDS:
        value = reply.get(name)
        if isinstance(value, str) and value:
            return f"BIGHUB needs to know more: {_one_line(value)}."
        if isinstance(value, list | tuple) and value:
            return f"BIGHUB needs to know more: {_one_line('; '.join(map(str, value)))}."
    return "BIGHUB needs more context about this call."


def _one_line(text: str) -> str:
    """Return a text on one line without its final full stop, so that a sentence can end in it."""
    return truncate(" ".join(text.split()).rstrip("."), LONGEST_REASON)
