"""What the model reads of a call that did not simply run: what happened and why."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bighub_langgraph.core.decision import lacks_context
from bighub_langgraph.core.jsonable import truncate
from bighub_langgraph.core.models import Answer, CallRecord, State, ToolFailed

LONGEST_REASON = 600
AGAIN = "Do not repeat this call."


def message_for_model(record: CallRecord) -> str:
    """One short message about a call that was not executed, for the model."""
    return _TOLD[record.state](record)


def unknown_outcome_message(record: CallRecord) -> str:
    """What is said of a call whose effect is not known."""
    return (
        f"{record.tool} was started, and whether it took effect is not known ({record.reason}). "
        "Do not repeat it; say so, and have somebody check."
    )


def output_after_edit(tool: str, arguments: Mapping[str, Any], output: str) -> str:
    """The output of a call that ran with other arguments than the model's."""
    ran = f"{tool}({_listed(arguments)})"
    return f"A person changed this call before it ran. What ran: {ran}\n{output}"


def invalid_call_message(tool: str, error: object) -> str:
    """The answer to a call that cannot be proposed at all."""
    return f"{tool} did not run: {_short(str(error))}."


def _on_its_way(record: CallRecord) -> str:
    return f"{record.tool} has not run: it is {record.state.value.replace('_', ' ')}."


def _running(record: CallRecord) -> str:
    return f"{record.tool} was started and has not come back yet. {AGAIN}"


def _executed(record: CallRecord) -> str:
    return f"{record.tool} ran, and what it returned went elsewhere. {AGAIN}"


def _failed(record: CallRecord) -> str:
    why = record.result.error if isinstance(record.result, ToolFailed) else record.reason
    return f"{record.tool} failed: {_short(why)}."


def _superseded(record: CallRecord) -> str:
    return f"{record.tool} did not run: a person changed its arguments."


def _responded(record: CallRecord) -> str:
    return record.approval.text if record.approval is not None else _on_its_way(record)


def _blocked(record: CallRecord) -> str:
    denied = record.approval is not None and record.approval.answer is Answer.REJECT
    who = "A person rejected this call" if denied else f"{record.tool} was not run"
    parts = [f"{who}: {_short(record.reason)}." if record.reason else f"{who}."]
    if record.decision is not None and lacks_context(record.decision):
        parts.append(_missing(record.decision.reply))
    if record.decision is not None and not denied and record.decision.alternatives:
        parts.append(f"BIGHUB suggests: {_offered(record.decision.alternatives)}.")
    parts.append(AGAIN)
    return " ".join(part for part in parts if part)


_CONTEXT_FIELDS = ("missing_context", "required_context", "context_needed", "questions")


def _missing(reply: Mapping[str, Any]) -> str:
    for name in _CONTEXT_FIELDS:
        wanted = reply.get(name)
        if isinstance(wanted, str) and wanted:
            return f"BIGHUB needs to know more: {_short(wanted)}."
        if isinstance(wanted, list | tuple) and wanted:
            return f"BIGHUB needs to know more: {_short('; '.join(map(str, wanted)))}."
    return "BIGHUB needs more context about this call than it was given."


def _offered(alternatives: Sequence[Mapping[str, Any]]) -> str:
    told = [str(one.get("action")) for one in alternatives if one.get("action")]
    return _short("; ".join(told[:3]))


def _listed(arguments: Mapping[str, Any]) -> str:
    return truncate(
        ", ".join(f"{name}={value!r}" for name, value in arguments.items()), LONGEST_REASON
    )


def _short(text: str) -> str:
    """A text on one line, without its full stop, so that a sentence can end in it."""
    return truncate(" ".join(text.split()).rstrip("."), LONGEST_REASON)


_TOLD: Mapping[State, Callable[[CallRecord], str]] = {
    State.PROPOSED: _on_its_way,
    State.AWAITING: _on_its_way,
    State.ALLOWED: _on_its_way,
    State.PAUSED: _on_its_way,
    State.RUNNING: _running,
    State.UNKNOWN: unknown_outcome_message,
    State.EXECUTED: _executed,
    State.TOOL_ERROR: _failed,
    State.BLOCKED: _blocked,
    State.ANSWERED: _responded,
    State.EDITED: _superseded,
}
