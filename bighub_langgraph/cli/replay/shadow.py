"""Shadow mode: evaluate recorded calls, execute none, report each outcome when it is known."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bighub_langgraph import BighubGuard
from bighub_langgraph.cli.replay.recording import OutcomeKnown, RecordedCall, Step
from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.decision import fallback_decision, resolve_verdict
from bighub_langgraph.core.errors import EngineRequestError, InvalidCall
from bighub_langgraph.core.evaluation import evaluate_request
from bighub_langgraph.core.models import Decision, FailMode, ToolCall, Verdict
from bighub_langgraph.core.policy import build_evaluation_request

TARGETS = (
    *("order_id", "reservation_id", "booking_id", "payment_id", "account_id", "customer_id"),
    *("user_id", "recipient", "email", "to", "path", "url"),
)
AMOUNTS = ("amount", "refund_amount", "total_amount", "amount_usd", "total", "price", "value")


@dataclass(slots=True)
class ShadowCall:
    """A recorded call, the decision about it, and its outcome if the recording has one."""

    call: RecordedCall
    decision: Decision
    verdict: Verdict
    outcome: OutcomeKnown | None = None

    @property
    def is_bad(self) -> bool | None:
        """Whether the call had a bad outcome; None if its outcome is not recorded."""
        return None if self.outcome is None else self.outcome.is_bad


def evaluate_steps(steps: Iterable[Step], guard: BighubGuard) -> Iterator[ShadowCall]:
    """Go through a recording in its own order and yield each call when it is evaluated.

    Outcomes are added and reported later, when the recording reaches them: no decision is based on
    anything that was not known when the call was made. A recording that is replayed again gets the
    same decisions, and its outcomes count once.
    """
    open_calls: dict[RecordedCall, ShadowCall] = {}
    for step in steps:
        match step:
            case RecordedCall():
                decision = _evaluate(step, guard)
                open_calls[step] = ShadowCall(step, decision, resolve_verdict(decision))
                yield open_calls[step]
            case OutcomeKnown(call, status):
                shadow_call = open_calls.pop(call)
                shadow_call.outcome = step
                if (request_id := shadow_call.decision.request_id) is not None:
                    guard.client.outcomes.report(
                        request_id=request_id,
                        status=status,
                        production_action=call.tool,
                        reported_by="bighub-langgraph replay",
                        details={"idempotency_key": _to_tool_call(call).key},
                    )


def _evaluate(call: RecordedCall, guard: BighubGuard) -> Decision:
    """Get the decision about a call; one that blocks if its arguments are invalid."""
    tool_call, runtime = _to_tool_call(call), guard.runtime
    try:
        request, key = build_evaluation_request(tool_call, runtime.settings), tool_call.key
    except InvalidCall as error:
        return fallback_decision(EngineRequestError(str(error)), FailMode.CLOSED)
    return run_sync(evaluate_request(request, key, runtime.settings, runtime.ports))


def _to_tool_call(call: RecordedCall) -> ToolCall:
    return ToolCall(call.trajectory, "replay", str(call.index), call.tool, call.arguments)


def find_target(arguments: Mapping[str, Any]) -> str | None:
    """Find what a call acts on: the first of `TARGETS`, else the first argument named `..._id`."""
    names = [name for name in TARGETS if name in arguments]
    names += [name for name in arguments if name.endswith("_id")]
    for value in (arguments[name] for name in names):
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)
    return None


def find_value(arguments: Mapping[str, Any]) -> float | None:
    """Find the amount at stake: the first of `AMOUNTS`, else the sum of `amount` over a list."""
    for name in AMOUNTS:
        if (amount := _parse_amount(arguments.get(name))) is not None:
            return amount
    for items in arguments.values():
        parts = items if isinstance(items, list) else []
        amounts = [_parse_amount(part.get("amount")) for part in parts if isinstance(part, Mapping)]
        if numbers := [amount for amount in amounts if amount is not None]:
            return sum(numbers)
    return None


def _parse_amount(value: Any) -> float | None:
    """Parse a finite number or its text; the sign is only a direction and is dropped."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return abs(number) if math.isfinite(number) else None
