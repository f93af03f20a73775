"""Approval answers: parse what an approver sends, and build the schema of an answer."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bighub_langgraph.core.errors import BighubGuardError, InvalidCall
from bighub_langgraph.core.jsonable import digest, short_repr
from bighub_langgraph.core.models import Answer


class InvalidApprovalResponse(BighubGuardError):
    """An approval response is unclear: it changes nothing, and the person is asked again."""


# A value to resume a graph with. It grants nothing: the guard reads the journal, and asks again
# about the calls that nobody has answered there.
RECORDED: Mapping[str, str] = {"type": "recorded"}


def is_recorded(response: object) -> bool:
    """Whether a response only says that the answers are in the journal."""
    return isinstance(response, Mapping) and response == RECORDED


@dataclass(frozen=True, slots=True)
class PendingApproval:
    """One call that a person was asked about, and the answers that are allowed.

    Attributes:
        key: The name of the call's record in the journal.
        outcome_unknown: Whether the question is what became of the call.
    """

    call_id: str
    tool: str
    arguments: Mapping[str, Any]
    allowed_decisions: Sequence[Answer] = tuple(Answer)
    allow_tool_change: bool = False
    key: str = ""
    outcome_unknown: bool = False


@dataclass(frozen=True, slots=True)
class ApprovalAnswer:
    """A person's answer about one call.

    Attributes:
        text: The reason of a rejection, or the response.
        tool: The tool that an edit names; `arguments` are its new arguments.
    """

    call_id: str
    answer: Answer
    text: str = ""
    comment: str = ""
    approver: str = ""
    tool: str = ""
    arguments: Mapping[str, Any] | None = None


def parse_answers(
    response: object,
    pending: Sequence[PendingApproval],
    *,
    interrupt_id: str | None = None,
    is_addressed: bool = False,
    require_reference: bool = False,
) -> list[ApprovalAnswer]:
    """Parse an approval response. It may answer only some of the calls.

    Accepted are LangChain's `{"decisions": [...]}` by position or by `tool_call_id`, a single
    decision, Agent Inbox's list, and BIGHUB's `{"resolution", "comment", "approver"}`; each also
    as JSON text. An edit that changes nothing is an approval, and a resolution with other arguments
    than those shown is an edit. A decision may name its question by `interrupt_id`, `key` or
    `arguments`; with `require_reference` it must, unless the response `is_addressed` by the
    interrupt's id.

    Raises:
        InvalidApprovalResponse: Any part of it is unclear; the message says what to send.
    """
    decisions = _parse_decisions(response)
    if not decisions:
        raise InvalidApprovalResponse(
            f"the answer holds no decision: {short_repr(response)}; {_describe_expected(pending)}"
        )
    calls = _match_calls(decisions, pending)
    for decision, call in zip(decisions, calls, strict=True):
        reference = _find_reference(decision, call)
        _check_reference(reference, call, interrupt_id)
        if require_reference and not (is_addressed or reference):
            raise InvalidApprovalResponse(
                f"the answer does not say which question it is for; resume with {{interrupt id: "
                f'answer}}, or add "key" to the decision about {call.tool}'
            )
    return [_parse_answer(decision, call) for decision, call in zip(decisions, calls, strict=True)]


def _parse_decisions(response: object) -> list[Mapping[str, Any]]:
    response = _from_json(response)
    shared_fields: Mapping[str, Any] = {}
    if isinstance(response, Mapping):
        shared_fields = {name: response[name] for name in ("interrupt_id",) if name in response}
        decisions = _from_json(response.get("decisions", response))
        response = decisions if isinstance(decisions, list | tuple) else [decisions]
    if not isinstance(response, list | tuple):
        return []
    items = [_from_json(item) for item in response]
    matches = [item for item in items if isinstance(item, Mapping)]
    if len(matches) < len(items):
        raise InvalidApprovalResponse(
            f"each decision is an object, but the answer is {short_repr(response)}"
        )
    return [{**shared_fields, **item} for item in matches]


def _from_json(value: object) -> object:
    if isinstance(value, str):
        with contextlib.suppress(ValueError, RecursionError):  # other text holds no decision
            return json.loads(value)
    return value


def _find_reference(decision: Mapping[str, Any], call: PendingApproval) -> dict[str, Any]:
    """Return what a decision names its question by. New arguments are an edit instead."""
    names = ["interrupt_id", "key"]
    if decision.get("type", "edit") != "edit" or decision.get("arguments") == call.arguments:
        names.append("arguments")
    return {name: decision[name] for name in names if decision.get(name) is not None}


def _check_reference(
    reference: Mapping[str, Any], call: PendingApproval, interrupt_id: str | None
) -> None:
    shown_fields = {"interrupt_id": interrupt_id, "key": call.key, "arguments": call.arguments}
    for name, value in reference.items():
        if shown_fields[name] not in (None, "") and value != shown_fields[name]:
            raise InvalidApprovalResponse(
                f"the answer is for another question: its {name} is {short_repr(value)}, and "
                f"{call.tool} waits with {short_repr(shown_fields[name])}"
            )


def _match_calls(
    decisions: Sequence[Mapping[str, Any]], pending: Sequence[PendingApproval]
) -> list[PendingApproval]:
    """Return the call of each decision: by `tool_call_id` or `key`, else by position."""
    call_ids = {call.key: call.call_id for call in pending}
    ids = [_find_call_id(decision, call_ids) for decision in decisions]
    if not any(ids):
        if len(decisions) != len(pending):
            raise InvalidApprovalResponse(
                f"{len(decisions)} decisions for {len(pending)}: {_describe_expected(pending)}"
            )
        return list(pending)
    by_id = {call.call_id: call for call in pending}
    unknown = [call_id for call_id in ids if not isinstance(call_id, str) or call_id not in by_id]
    if unknown:
        raise InvalidApprovalResponse(
            f"no call {short_repr(unknown[0])} waits for an answer; {_describe_expected(pending)}"
        )
    if len(set(ids)) != len(ids):
        raise InvalidApprovalResponse("two decisions about one call")
    return [by_id[str(call_id)] for call_id in ids]


def _find_call_id(decision: Mapping[str, Any], call_ids: Mapping[str, str]) -> Any:
    """Return the id of a decision's call; a key of no pending call stays, to be named in errors."""
    key = decision.get("key")
    return decision.get("tool_call_id") or call_ids.get(str(key), key)


def _parse_answer(decision: Mapping[str, Any], call: PendingApproval) -> ApprovalAnswer:
    if call.outcome_unknown:
        return _parse_outcome(decision, call)
    answer = _parse_type(decision, call)
    _check_allowed(answer, call)
    comment = _find_text(decision, "comment", "message", "reason")
    approval_answer = ApprovalAnswer(
        call.call_id, answer, comment=comment, approver=_find_text(decision, "approver")
    )
    if answer is Answer.REJECT:
        return replace(approval_answer, text=_find_text(decision, "message", "comment", "reason"))
    if answer is Answer.RESPOND:
        if not (text := _find_text(decision, "message", "args", "comment")):
            raise InvalidApprovalResponse(f"a response to {call.tool} needs a message")
        return replace(approval_answer, text=text)
    if answer is Answer.APPROVE and all(decision.get(name) is None for name in _EDIT_FIELDS):
        return approval_answer
    tool, arguments = _parse_edit(decision, call)
    if tool == call.tool and digest(arguments) == digest(call.arguments):
        return replace(approval_answer, answer=Answer.APPROVE)
    if answer is Answer.APPROVE and "arguments" not in decision:
        raise InvalidApprovalResponse(f"an approval of {call.tool} names other arguments: edit it")
    _check_allowed(Answer.EDIT, call)
    return replace(approval_answer, answer=Answer.EDIT, tool=tool, arguments=arguments)


# What a person may say of a call whose outcome is unknown: it is run again, it did not take effect,
# or it did. In LangChain's words the person rejects, or responds with one of these words or with
# the output. An approval could be meant for the call's first question.
OUTCOMES: Mapping[str, Answer] = {
    "run again": Answer.APPROVE,
    "failed": Answer.REJECT,
    "ran": Answer.RESPOND,
}
UNKNOWN_ANSWERS = (Answer.RESPOND, Answer.REJECT)


def _parse_outcome(decision: Mapping[str, Any], call: PendingApproval) -> ApprovalAnswer:
    word = str(decision.get("type", decision.get("resolution"))).replace("_", " ")
    text = _find_text(decision, "message", "args", "comment")
    if ANSWERS.get(word) is Answer.RESPOND and text:
        first, _, rest = text.partition(":")
        word = first.strip().lower().replace("_", " ")
        word, text = (word, rest.strip()) if word in OUTCOMES else ("ran", text)
    elif ANSWERS.get(word) is Answer.REJECT:
        word = "failed"
    answer = OUTCOMES.get(word)
    if answer is None:
        raise InvalidApprovalResponse(
            f"{call.tool} was started, and whether it took effect is not known: "
            '"ran" with its output, "failed", or "run again"'
        )
    return ApprovalAnswer(
        call.call_id,
        answer,
        text=text or ("it ran" if answer is Answer.RESPOND else ""),
        comment=_find_text(decision, "comment", "message"),
        approver=_find_text(decision, "approver"),
    )


# LangChain's and Agent Inbox's types, BIGHUB's resolutions, and what people write for them.
ANSWERS: Mapping[str, Answer] = {
    **dict.fromkeys(("approve", "approved", "accept"), Answer.APPROVE),
    "edit": Answer.EDIT,
    **dict.fromkeys(("reject", "rejected", "deny", "denied", "ignore"), Answer.REJECT),
    **dict.fromkeys(("respond", "response"), Answer.RESPOND),
}
_EDIT_FIELDS = ("edited_action", "args", "arguments")


def _parse_type(decision: Mapping[str, Any], call: PendingApproval) -> Answer:
    words = [decision[name] for name in ("type", "resolution") if name in decision]
    answers = {
        ANSWERS.get(word.strip().lower()) if isinstance(word, str) else None for word in words
    }
    if len(answers) == 1 and (answer := answers.pop()) is not None:
        return answer
    if not words:
        raise InvalidApprovalResponse(
            f"a decision about {call.tool} has no type: {short_repr(decision)}"
        )
    word_list = " and ".join(map(short_repr, words))
    raise InvalidApprovalResponse(f"{word_list} for {call.tool} is not one of {', '.join(ANSWERS)}")


def _check_allowed(answer: Answer, call: PendingApproval) -> None:
    if answer not in call.allowed_decisions:
        answer_list = ", ".join(dict.fromkeys(call.allowed_decisions))
        raise InvalidApprovalResponse(
            f"{answer.value} is not allowed for {call.tool}; allowed: {answer_list}"
        )


def _parse_edit(
    decision: Mapping[str, Any], call: PendingApproval
) -> tuple[str, Mapping[str, Any]]:
    values = {name: decision[name] for name in _EDIT_FIELDS if decision.get(name) is not None}
    [action] = values.values() if len(values) == 1 else [None]
    if "arguments" in values:  # BIGHUB's adapter
        action = {"args": action}
    if not isinstance(action, Mapping) or not isinstance(action.get("args"), Mapping):
        raise InvalidApprovalResponse(
            f'an edit of {call.tool} is {{"edited_action": {{"name", "args"}}}}'
        )
    tool = action.get("name") or action.get("action") or call.tool
    if tool != call.tool and not call.allow_tool_change:
        raise InvalidApprovalResponse(
            f"an edit of {call.tool} may not turn it into {short_repr(tool)}"
        )
    arguments = dict(action["args"])
    try:
        digest(arguments, of=f"an edit of {call.tool!r}")
    except InvalidCall as error:
        raise InvalidApprovalResponse(str(error)) from error
    return str(tool), arguments


def _find_text(decision: Mapping[str, Any], *names: str) -> str:
    texts = (decision.get(name) for name in names)
    return next((text for text in texts if isinstance(text, str) and text), "")


def _describe_expected(pending: Sequence[PendingApproval]) -> str:
    calls = ", ".join(f"{call.tool} ({call.call_id})" for call in pending)
    return f'send {{"decisions": [...]}} with one decision for each of: {calls}'


def build_answer_schema(call: PendingApproval) -> dict[str, Any]:
    """Build the JSON schema of an answer about one call, for tools that render a form."""
    types = [answer.value for answer in call.allowed_decisions]
    if call.outcome_unknown:
        types = [*OUTCOMES, *types]
    text = {"type": "string"}
    action = {
        "type": "object",
        "properties": {"name": text, "args": {"type": "object"}},
        "required": ["args"],
    }
    return {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": types},
            "message": text,
            "edited_action": action,
            "comment": text,
            "approver": text,
        },
        "required": ["type"],
    }
