"""Settings per tool, for approvals and for a guard, and the evaluation request they lead to."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal

from bighub_langgraph.core.errors import ConfigurationError, InvalidCall
from bighub_langgraph.core.jsonable import replace_surrogates, to_jsonable
from bighub_langgraph.core.models import (
    Answer,
    ApprovalRequirement,
    CallRecord,
    EvaluationRequest,
    FailMode,
    Mode,
    ToolCall,
)
from bighub_langgraph.core.redaction import redact, redact_exception

DecisionMode = Literal["submit", "submit_payload"]


def _check_texts(settings: object, *names: str) -> None:
    for name in names:
        text = getattr(settings, name)
        if isinstance(text, str) and text != replace_surrogates(text):
            raise ConfigurationError(
                f"{name}={text!r} has half a surrogate pair, which no request can hold: "
                "write the whole character"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPolicy:
    """How one tool is guarded.

    Attributes:
        value_from_args: What is at stake, from the arguments, in your own unit (say, euros).
            Without it a number under `value`, `amount`, `price` or `total` is used, if any. A text
            that stands for a number, as of a `Decimal`, is one.
        target_from_args: The person or thing the call affects. Without it, a text under
            `target` is used, if any.
        metadata_from_args: More facts for BIGHUB's `context`.
        action_name: The action that BIGHUB sees; the tool's name by default.
        domain: Overrides the guard's domain.
        actor: Overrides the guard's actor.
        decision_mode: "submit" sends fields, "submit_payload" one payload.
        read_only: The tool changes nothing: it runs without an evaluation and is not recorded.
        idempotent: The tool may run again with the same `current_call().idempotency_key`.
        always_review: A person is asked even where BIGHUB would proceed.
        allowed_decisions: The answers a person may give; the approval policy's by default.
        probe: Finds out whether a call took effect whose outcome is unknown: takes the arguments
            and the idempotency key, returns the tool's output, or None when it did not run.
    """

    value_from_args: Callable[[dict[str, Any]], float | Decimal | str | None] | None = None
    target_from_args: Callable[[dict[str, Any]], str | None] | None = None
    metadata_from_args: Callable[[dict[str, Any]], Mapping[str, Any] | None] | None = None
    action_name: str | None = None
    domain: str | None = None
    actor: str | None = None
    decision_mode: DecisionMode | None = None
    read_only: bool = False
    idempotent: bool = False
    always_review: bool = False
    allowed_decisions: Sequence[Answer | str] | None = None
    probe: Callable[[dict[str, Any], str], Any] | None = None

    def __post_init__(self) -> None:
        _check_texts(self, "action_name", "domain", "actor")
        if self.decision_mode is not None:
            check_choice("decision_mode", self.decision_mode, ("submit", "submit_payload"))
        if self.allowed_decisions is not None:
            object.__setattr__(
                self, "allowed_decisions", check_allowed_decisions(self.allowed_decisions)
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPolicy:
    """How people are asked.

    Attributes:
        interrupt_mode: "batched" asks once for all calls of a turn (LangChain's `HITLRequest`),
            "per_call" once for each call.
        allowed_decisions: The answers a person may give.
        expires_after: How long a request, and an approval, can be used, in seconds; or None.
        allow_tool_change: Whether an edit may name another tool.
        describe: Returns the text a person reads, from the call's record and its arguments.
        require_reference: Whether an answer must say which question it is for, by the interrupt's
            id, the call's key or its arguments, so that a late click cannot answer the next one.
        required_approvals: How many people have to approve a call, or a function that returns the
            number from what BIGHUB evaluates. Of several each must be signed in.
        approvers: The names or roles of the people who may answer; anyone where there are none.
    """

    interrupt_mode: Literal["batched", "per_call"] = "batched"
    allowed_decisions: Sequence[Answer | str] = tuple(Answer)
    expires_after: float | None = None
    allow_tool_change: bool = False
    describe: Callable[[CallRecord, Mapping[str, Any]], str] | None = None
    require_reference: bool = False
    required_approvals: int | Callable[[EvaluationRequest], int] = 1
    approvers: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_choice("interrupt_mode", self.interrupt_mode, ("batched", "per_call"))
        object.__setattr__(
            self, "allowed_decisions", check_allowed_decisions(self.allowed_decisions)
        )
        if self.expires_after is not None and self.expires_after <= 0:
            raise ConfigurationError("expires_after is a positive number of seconds, or None")
        if not callable(self.required_approvals) and not _is_count(self.required_approvals):
            raise ConfigurationError(
                "required_approvals is a number of people from 1 on, or a function that returns it"
            )
        if isinstance(self.approvers, str):
            raise ConfigurationError("approvers is a list of names or roles")
        object.__setattr__(self, "approvers", tuple(self.approvers))


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """The settings of one guard, for every call."""

    name: str = ""
    actor: str = "AI_AGENT"
    domain: str | None = None
    tools: Mapping[str, ToolPolicy] = field(default_factory=dict)
    fail_mode: FailMode = FailMode.CLOSED
    minimum_mode: Mode | None = None
    decision_mode: DecisionMode = "submit"
    objective: str = "better_decision"
    model_selection: str = "auto"
    approvals: ApprovalPolicy = field(default_factory=ApprovalPolicy)
    redact: Callable[[Any], Any] = redact

    def __post_init__(self) -> None:
        _check_texts(self, "name", "actor", "domain", "objective", "model_selection")

    @property
    def description(self) -> str:
        """What tells the guards of two agents with one name apart."""
        tools = ", ".join(sorted(self.tools)) or "none"
        return f"actor {self.actor!r}, domain {self.domain!r}, tools with a policy: {tools}"

    def policy_for(self, tool: str) -> ToolPolicy:
        """Return the policy of a tool; the defaults for a tool that has none."""
        return self.tools.get(tool, _DEFAULTS)

    def allowed_decisions(self, tool: str) -> Sequence[Answer]:
        """Return the answers a person may give about a call of this tool."""
        own = self.policy_for(tool).allowed_decisions
        answers = own if own is not None else self.approvals.allowed_decisions
        return [Answer(answer) for answer in answers]


_DEFAULTS = ToolPolicy()


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise `ConfigurationError` for a setting that is none of the choices."""
    if value not in choices:
        choice_list = ", ".join(repr(str(choice)) for choice in choices)
        raise ConfigurationError(f"{name} is one of {choice_list}, not {value!r}")


def check_allowed_decisions(answers: Sequence[Answer | str]) -> tuple[Answer, ...]:
    """Return a checked list of answers; with an empty one a call could never be answered."""
    if isinstance(answers, str) or not answers:
        raise ConfigurationError(
            "allowed_decisions is a list with at least one of the answers a person may give"
        )
    for answer in answers:
        check_choice("allowed_decisions", answer, tuple(Answer))
    return tuple(Answer(answer) for answer in answers)


def _is_count(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number > 0


def build_requirement(
    call: ToolCall, request: EvaluationRequest, settings: GuardSettings, requested_by: str
) -> ApprovalRequirement:
    """Build who has to approve a call.

    Raises:
        InvalidCall: `required_approvals` raised, or returned no number of people.
    """
    policy = settings.approvals
    number = policy.required_approvals
    if callable(number):
        count, request_copy = number, replace(request, context=to_jsonable(request.context))
        number = _call_user_function(call, "required_approvals", lambda _: count(request_copy), {})
        if not _is_count(number):
            raise InvalidCall(
                f"required_approvals of {call.tool!r} gave {number!r:.80}, not a number from 1 on"
            )
    return ApprovalRequirement(number, tuple(policy.approvers), requested_by)


VALUE_NAMES = ("value", "amount", "price", "total")


def build_evaluation_request(
    call: ToolCall,
    settings: GuardSettings,
    *,
    session: str | None = None,
    trajectory: str | None = None,
    model: str | None = None,
) -> EvaluationRequest:
    """Build what BIGHUB evaluates from a call and its tool's policy.

    Session and trajectory are the call's thread by default. The model is for BIGHUB's memory.

    Raises:
        InvalidCall: One of the policy's functions raised or returned something unusable.
    """
    policy = settings.policy_for(call.tool)
    arguments = dict(call.arguments)
    context = {"objective": settings.objective, "model_selection": settings.model_selection}
    if policy.metadata_from_args is not None:
        metadata = (
            _call_user_function(call, "metadata_from_args", policy.metadata_from_args, arguments)
            or {}
        )
        metadata = _redact(call, to_jsonable(metadata), settings)
        if not isinstance(metadata, dict):
            result = f"metadata_from_args of {call.tool!r} gave {metadata!r:.80}"
            raise InvalidCall(f"{result}, which is not a mapping")
        context |= metadata
    context["session_id"] = session or call.thread
    context["trajectory_id"] = trajectory or call.thread
    context["arguments"] = _redact(call, arguments, settings)
    return EvaluationRequest(
        action=policy.action_name or call.tool,
        actor=policy.actor or settings.actor,
        domain=policy.domain or settings.domain,
        value=_compute_value(call, policy.value_from_args, arguments),
        target=_compute_target(call, policy.target_from_args, arguments),
        context=context,
        as_payload=(policy.decision_mode or settings.decision_mode) == "submit_payload",
        model=model,
    )


def _compute_value(
    call: ToolCall, from_args: Callable[[dict[str, Any]], Any] | None, arguments: dict[str, Any]
) -> float | None:
    if from_args is not None:
        return _check_number(
            call, _call_user_function(call, "value_from_args", from_args, arguments)
        )
    for name in VALUE_NAMES:
        value = arguments.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return _check_number(call, value)
        # A tool reads such a text as the number, so a limit on the value must hold for it.
        if isinstance(value, str) and (number := _parse_number(value)) is not None:
            return _check_number(call, number)
    return None


def _parse_number(text: str) -> float | None:
    """Return the number that the digits of a text stand for; None where it stands for none.

    It is infinite where it is too large for a float, as "1e400", which a `Decimal` holds.
    """
    try:
        number = float(text)
    except ValueError:
        return None
    return number if any(map(str.isdigit, text)) else None  # "nan" and "inf" are words


def _check_number(call: ToolCall, value: object) -> float | None:
    if isinstance(value, str) and (number := _parse_number(value)) is not None:
        value = number
    if value is None or (type(value) is float and math.isfinite(value)):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise InvalidCall(f"the value of {call.tool!r} is not a number but {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidCall(f"the value of {call.tool!r} is {value!r}, not a finite number")
    return number


def _compute_target(
    call: ToolCall, from_args: Callable[[dict[str, Any]], Any] | None, arguments: Mapping[str, Any]
) -> str | None:
    if from_args is None:
        target = arguments.get("target")
        target = target if isinstance(target, str) else None
    else:
        target = _call_user_function(call, "target_from_args", from_args, dict(arguments))
    return None if target is None else replace_surrogates(str(target)) or None


def _redact(call: ToolCall, value: Any, settings: GuardSettings) -> Any:
    if settings.redact is redact:  # returns a copy and never raises; a user's may do neither
        return redact(value)
    return to_jsonable(_call_user_function(call, "redact", settings.redact, value))


def _call_user_function(
    call: ToolCall, name: str, function: Callable[[dict[str, Any]], Any], arguments: Any
) -> Any:
    try:
        # A copy: the function must not change what the tool receives.
        return function(to_jsonable(arguments))
    except Exception as error:
        message = redact_exception(error)
        raise InvalidCall(
            f"{name} of {call.tool!r} raised {message}; the call was not run"
        ) from error
