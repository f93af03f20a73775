"""From a tool call to what BIGHUB is told of it."""

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from bighub_langgraph.core.call import ToolCall
from bighub_langgraph.core.changing import made
from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.plain import plain
from bighub_langgraph.core.policy import Rules
from bighub_langgraph.core.record import Proposal
from bighub_langgraph.core.redaction import redact, redacted_error

VALUE_NAMES = ("value", "amount", "price", "total")


def propose(
    call: ToolCall, rules: Rules, *, session: str | None = None, trajectory: str | None = None
) -> Proposal:
    """What BIGHUB is told of a call; an `InvalidCall` when one of the policy's functions fails.

    Args:
        call: The call.
        rules: The guard's settings.
        session: Session id; the call's thread by default.
        trajectory: Trajectory id of this run; the call's thread by default.
    """
    policy = rules.policy(call.tool)
    arguments = dict(call.arguments)
    context = {"objective": rules.objective, "model_selection": rules.model_selection}
    if policy.metadata_from_args is not None:
        facts = _asked(call, "metadata_from_args", policy.metadata_from_args, arguments)
        context |= _facts(call, _redacted(call, plain(facts or {}), rules))
    context["session_id"] = session or call.thread
    context["trajectory_id"] = trajectory or call.thread
    context["arguments"] = _redacted(call, arguments, rules)
    return made(
        Proposal,
        action=policy.action_name or call.tool,
        actor=policy.actor or rules.actor,
        domain=policy.domain or rules.domain,
        value=_value(call, policy.value_from_args, arguments),
        target=_target(call, policy.target_from_args, arguments),
        context=context,
        whole=(policy.decision_mode or rules.decision_mode) == "submit_payload",
    )


def _value(
    call: ToolCall, from_args: Callable[[dict[str, Any]], Any] | None, arguments: dict[str, Any]
) -> float | None:
    if from_args is not None:
        return _number(call, _asked(call, "value_from_args", from_args, arguments))
    for name in VALUE_NAMES:
        found = arguments.get(name)
        if isinstance(found, int | float) and not isinstance(found, bool):
            return _number(call, found)
    return None


def _number(call: ToolCall, value: object) -> float | None:
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


def _target(
    call: ToolCall, from_args: Callable[[dict[str, Any]], Any] | None, arguments: Mapping[str, Any]
) -> str | None:
    if from_args is None:
        found = arguments.get("target")
        return found if isinstance(found, str) and found else None
    found = _asked(call, "target_from_args", from_args, dict(arguments))
    return None if found is None else str(found) or None


def _redacted(call: ToolCall, value: Any, rules: Rules) -> Any:
    if rules.redact is redact:  # it gives a copy and never raises; a user's may do neither
        return redact(value)
    return plain(_asked(call, "redact", rules.redact, value))


def _facts(call: ToolCall, said: object) -> dict[str, Any]:
    if not isinstance(said, dict):
        what = f"metadata_from_args of {call.tool!r} gave {said!r:.80}"
        raise InvalidCall(f"{what}, which is not a mapping")
    return said


def _asked(
    call: ToolCall, name: str, function: Callable[[dict[str, Any]], Any], arguments: Any
) -> Any:
    try:
        # A copy: a function that only looks must not change what the tool is given.
        return function(plain(arguments))
    except Exception as error:
        told = redacted_error(error)
        raise InvalidCall(f"{name} of {call.tool!r} raised {told}; the call was not run") from error
