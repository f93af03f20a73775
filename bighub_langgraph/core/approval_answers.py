"""What a person's tool sends back, in every dialect that is around, as answers to calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bighub_langgraph.core.errors import BighubGuardError, InvalidCall
from bighub_langgraph.core.jsonable import to_jsonable, truncate
from bighub_langgraph.core.models import Answer, CallRecord, Decision, State, digest


class InvalidApprovalResponse(BighubGuardError):
    """An answer that cannot be understood: it settles nothing, and the person is asked again."""


@dataclass(frozen=True, slots=True)
class PendingApproval:
    """One call a person was asked about."""

    call_id: str
    tool: str
    arguments: Mapping[str, Any]
    allowed: Sequence[Answer] = tuple(Answer)
    allow_tool_change: bool = False


@dataclass(frozen=True, slots=True)
class ApprovalAnswer:
    """A person's answer to one call.

    Attributes:
        text: Reason of a rejection, or the response.
        tool: The tool an edit names, and `arguments` its new arguments.
    """

    call_id: str
    answer: Answer
    text: str = ""
    comment: str = ""
    approver: str = ""
    tool: str = ""
    arguments: Mapping[str, Any] | None = None


def parse_answers(said: object, asked: Sequence[PendingApproval]) -> list[ApprovalAnswer]:
    """Read what came back. Answers to some of the calls are fine, a doubtful one is refused.

    Understood are LangChain's `{"decisions": [...]}` by position or by `tool_call_id`, a single
    decision, Agent Inbox's list, and BIGHUB's `{"resolution", "comment", "approver"}`.
    """
    decisions = _decisions(said)
    if not decisions:
        raise InvalidApprovalResponse(
            f"the answer holds no decision: {_shown(said)}; {_wanted(asked)}"
        )
    calls = _addressed(decisions, asked)
    return [_given(one, call) for one, call in zip(decisions, calls, strict=True)]


def _decisions(said: object) -> list[Mapping[str, Any]]:
    if isinstance(said, Mapping):
        listed = said.get("decisions", said)
        said = listed if isinstance(listed, list | tuple) else [listed]
    if not isinstance(said, list | tuple):
        return []
    if not all(isinstance(one, Mapping) for one in said):
        raise InvalidApprovalResponse(
            f"each decision is an object, but the answer is {_shown(said)}"
        )
    return list(said)


def _addressed(
    decisions: Sequence[Mapping[str, Any]], asked: Sequence[PendingApproval]
) -> list[PendingApproval]:
    """Which call each decision is about: by `tool_call_id` where there is one, else by position."""
    ids = [one.get("tool_call_id") for one in decisions]
    if not any(ids):
        if len(decisions) != len(asked):
            raise InvalidApprovalResponse(
                f"{len(decisions)} decisions for {len(asked)}: {_wanted(asked)}"
            )
        return list(asked)
    by_id = {one.call_id: one for one in asked}
    unknown = [one for one in ids if not isinstance(one, str) or one not in by_id]
    if unknown:
        raise InvalidApprovalResponse(
            f"no call {_shown(unknown[0])} waits for an answer; {_wanted(asked)}"
        )
    if len(set(ids)) != len(ids):
        raise InvalidApprovalResponse("two decisions about one call")
    return [by_id[str(one)] for one in ids]


def _given(one: Mapping[str, Any], call: PendingApproval) -> ApprovalAnswer:
    answer = _answer(one, call)
    if answer not in call.allowed:
        listed = ", ".join(call.allowed)
        raise InvalidApprovalResponse(
            f"{answer.value} is not allowed for {call.tool}; allowed: {listed}"
        )
    tool, arguments = _edit(one, call) if answer is Answer.EDIT else ("", None)
    text = _text(one, "message", "args" if answer is Answer.RESPOND else "message", "comment")
    if answer is Answer.RESPOND and not text:
        raise InvalidApprovalResponse(f"a response to {call.tool} needs a message")
    return ApprovalAnswer(
        call_id=call.call_id,
        answer=answer,
        text="" if answer in {Answer.APPROVE, Answer.EDIT} else text,
        comment=_text(one, "comment", "message"),
        approver=_text(one, "approver"),
        tool=tool,
        arguments=arguments,
    )


# LangChain's words, Agent Inbox's, and BIGHUB's.
_WORDS: Mapping[str, Answer] = {
    "approve": Answer.APPROVE,
    "edit": Answer.EDIT,
    "reject": Answer.REJECT,
    "respond": Answer.RESPOND,
    "accept": Answer.APPROVE,
    "ignore": Answer.REJECT,
    "response": Answer.RESPOND,
}
_RESOLUTIONS: Mapping[str, Answer] = {"approved": Answer.APPROVE, "denied": Answer.REJECT}


def _answer(one: Mapping[str, Any], call: PendingApproval) -> Answer:
    for name, words in (("type", _WORDS), ("resolution", _RESOLUTIONS)):
        if name in one:
            word = one[name]
            if isinstance(word, str) and word in words:
                return words[word]
            known = ", ".join(words)
            raise InvalidApprovalResponse(
                f"{name} {_shown(word)} for {call.tool} is none of {known}"
            )
    raise InvalidApprovalResponse(f"a decision about {call.tool} has no type: {_shown(one)}")


def _edit(one: Mapping[str, Any], call: PendingApproval) -> tuple[str, Mapping[str, Any]]:
    edited = one.get("edited_action", one.get("args"))
    if not isinstance(edited, Mapping) or not isinstance(edited.get("args"), Mapping):
        raise InvalidApprovalResponse(
            f'an edit of {call.tool} is {{"edited_action": {{"name", "args"}}}}'
        )
    tool = edited.get("name") or edited.get("action") or call.tool
    if tool != call.tool and not call.allow_tool_change:
        raise InvalidApprovalResponse(f"an edit of {call.tool} may not turn it into {_shown(tool)}")
    arguments = dict(edited["args"])
    try:
        digest(arguments, of=f"an edit of {call.tool!r}")
    except InvalidCall as error:
        raise InvalidApprovalResponse(str(error)) from error
    return str(tool), arguments


def build_answer_schema(allowed: Sequence[Answer]) -> dict[str, Any]:
    """The JSON schema of an answer to one call, for tools that draw a form from it."""
    text = {"type": "string"}
    edited = {
        "type": "object",
        "properties": {"name": text, "args": {"type": "object"}},
        "required": ["args"],
    }
    return {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": [one.value for one in allowed]},
            "message": text,
            "edited_action": edited,
            "comment": text,
            "approver": text,
        },
        "required": ["type"],
    }


def has_same_arguments(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two sets of arguments are the same JSON."""
    return digest(one) == digest(other)


def _text(one: Mapping[str, Any], *names: str) -> str:
    for name in names:
        said = one.get(name)
        if isinstance(said, str) and said:
            return said
    return ""


def _wanted(asked: Sequence[PendingApproval]) -> str:
    listed = ", ".join(f"{one.tool} ({one.call_id})" for one in asked)
    return f'send {{"decisions": [...]}} with one decision for each of: {listed}'


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - one line of a terminal


MOST_SHOWN = 3


def describe_call(record: CallRecord, arguments: Mapping[str, Any]) -> str:
    """What a person reads before they answer."""
    lines = [f"{record.tool}({_listed(arguments)})"]
    if record.state is State.UNKNOWN:
        lines += [
            f"This call was started, and whether it took effect is not known: {record.reason}.",
            (
                "Approve: run it again. Reject: it did not take effect and shall not. "
                "Respond: it did; write what it returned."
            ),
        ]
    if record.decision is not None:
        lines += _opinion(record.decision)
    return "\n".join(lines)


def build_evidence(record: CallRecord) -> dict[str, Any]:
    """The same for programs, plain JSON: what stands under the `bighub` key of a request."""
    decision = record.decision
    told: dict[str, Any] = {
        "tool_call_id": record.call_id,
        "key": record.key,
        "state": record.state.value,
        "expires_at": record.expires_at,
    }
    if decision is None:
        return told
    return told | {
        "recommendation": decision.raw_recommendation,
        "confidence": decision.confidence,
        "risk_score": decision.risk_score,
        "rationale": decision.reason,
        "alternatives": to_jsonable(decision.alternatives),
        "precedents": to_jsonable(decision.precedents),
        "trajectory_health": decision.trajectory_health,
        "request_id": decision.request_id,
    }


def _opinion(decision: Decision) -> list[str]:
    heading = f"BIGHUB says {decision.raw_recommendation.replace('_', ' ')}"
    if decision.risk_score is not None:
        heading += f", risk {decision.risk_score:.2f}"
    if decision.confidence is not None:
        heading += f", confidence {decision.confidence}"
    lines = [f"{heading}.", decision.reason]
    lines += _some("Instead", decision.alternatives, "action", "rationale")
    lines += _some("Earlier", decision.precedents, "action", "outcome")
    return [line for line in lines if line]


def _some(title: str, rows: Sequence[Mapping[str, Any]], *names: str) -> list[str]:
    told = []
    for row in rows[:MOST_SHOWN]:
        words = [str(row[name]) for name in names if row.get(name)]
        if words:
            told.append(f"{title}: {truncate(': '.join(words), 200)}")
    return told


def _listed(arguments: Mapping[str, Any]) -> str:
    return truncate(", ".join(f"{name}={value!r}" for name, value in arguments.items()), 600)
