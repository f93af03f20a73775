"""Test agents that use the guard: a BIGHUB that follows a script, tools that keep their calls.

    bighub = ScriptedBighub(refund="review_recommended")
    agent = create_guarded_agent(model, [refund], BighubGuard(bighub=bighub))
    ...
    bighub.assert_evaluated("refund", {"amount": 40})

Nothing here needs a network, a key or a test framework.
"""

import copy
import functools
import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar, cast

__all__ = ["ScriptedBighub", "recommends", "record_calls"]

Json = dict[str, Any]
Reply = str | Mapping[str, Any] | Exception
RECOMMENDATIONS = ("proceed", "proceed_with_caution", "review_recommended", "do_not_proceed")
P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)


def recommends(
    recommendation: str,
    *,
    risk_score: float = 0.2,
    confidence: str = "high",
    reason: str | None = None,
    **fields: Any,
) -> Json:
    """Return a reply of BIGHUB.

    Args:
        recommendation: "proceed", "proceed_with_caution", "review_recommended" or
            "do_not_proceed".
        risk_score: From 0 to 1.
        confidence: "low", "medium" or "high".
        reason: What a person and the model read.
        fields: Further fields of the reply, as in BIGHUB's documentation.

    Raises:
        ValueError: It is none of the four recommendations.
    """
    if recommendation not in RECOMMENDATIONS:
        raise ValueError(f"{recommendation!r} is not one of {', '.join(RECOMMENDATIONS)}")
    reply = {
        "recommendation": recommendation,
        "recommendation_confidence": confidence,
        "risk_score": risk_score,
        "requires_approval": recommendation == "review_recommended",
        **fields,
    }
    return reply if reason is None else {**reply, "reason": reason}


class ScriptedBighub:
    """A client of BIGHUB that answers from a script, for the `bighub=` of a guard or a facade.

    Args:
        default: The reply about every action that is not named: a recommendation, a reply made by
            `recommends`, an exception that is raised, or a sequence of these, whose last one stays.
        actions: The replies by the name of the action.

    Attributes:
        evaluations: The requests for evaluations, in order, as BIGHUB would receive them.
        reports: The reported outcomes. Outcomes are delivered in the background: call
            `guard.flush()` first.
        resolutions: The answers of people that were reported.
        rounds: The rounds of calls that were sent to BIGHUB's memory.
    """

    def __init__(
        self, default: Reply | Sequence[Reply] = "proceed", **actions: Reply | Sequence[Reply]
    ) -> None:
        self.evaluations: list[Json] = []
        self.reports: list[Json] = []
        self.resolutions: list[Json] = []
        self.rounds: list[Json] = []
        self.actions = self.outcomes = self.approvals = self.reviews = self
        self._default = _to_script(default)
        self._scripts = {action: _to_script(replies) for action, replies in actions.items()}
        self._lock = threading.Lock()

    # -- what a guard calls ------------------------------------------------------------------------

    def submit(self, **request: Any) -> Json:
        """Evaluate an action."""
        with self._lock:
            self.evaluations.append(request)
            script = self._scripts.get(request["action"], self._default)
            reply = script.pop(0) if len(script) > 1 else script[0]
            request_id = f"req-{len(self.evaluations)}"
        if isinstance(reply, Exception):
            raise reply
        fields = recommends(reply) if isinstance(reply, str) else reply
        return {"request_id": request_id, **fields}

    def submit_payload(self, *, payload: Mapping[str, Any], **options: Any) -> Json:
        """Evaluate an action."""
        return self.submit(**payload, **options)

    def report(self, **outcome: Any) -> Json:
        """Take an outcome."""
        self.reports.append(outcome)
        return {"accepted": True}

    def resolve(self, request_id: str, **resolution: Any) -> Json:
        """Take a person's answer."""
        self.resolutions.append({"request_id": request_id, **resolution})
        return {"request_id": request_id, "accepted": True}

    def ingest_memory(self, **round_: Any) -> Json:
        """Take a round of calls."""
        self.rounds.append(round_)
        return {"accepted": True}

    # -- what a test asks --------------------------------------------------------------------------

    def assert_evaluated(self, action: str, arguments: Mapping[str, Any] | None = None) -> None:
        """Raise AssertionError unless the action was evaluated, with at least these arguments."""
        requests = [request for request in self.evaluations if request["action"] == action]
        argument_sets = [request.get("context", {}).get("arguments", {}) for request in requests]
        if not any((arguments or {}).items() <= values.items() for values in argument_sets):
            raise AssertionError(
                f"{action} was not evaluated with {arguments}; its evaluations: {argument_sets}"
            )

    def assert_not_evaluated(self, action: str) -> None:
        """Raise AssertionError if the action was evaluated."""
        if any(request["action"] == action for request in self.evaluations):
            raise AssertionError(f"{action} was evaluated")

    def assert_reported(self, action: str, status: str) -> None:
        """Raise AssertionError unless an outcome of the action with this status was reported."""
        statuses = [
            outcome.get("status")
            for outcome in self.reports
            if outcome.get("production_action") == action
        ]
        if status not in statuses:
            raise AssertionError(f"no {status} of {action} was reported; reported: {statuses}")


class RecordedTool(Protocol[P, T_co]):
    """A tool's function and the arguments of each start, by name."""

    calls: list[Json]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co:
        """Call the function."""


def record_calls(function: Callable[P, T_co]) -> RecordedTool[P, T_co]:
    """Decorate a tool's function so that it keeps the arguments of each start in `calls`.

    Name, signature and documentation stay those of the function, which may be a coroutine function.
    """
    signature = inspect.signature(function)
    calls: list[Json] = []

    def keep(*args: Any, **kwargs: Any) -> None:
        bound_arguments = signature.bind(*args, **kwargs)
        bound_arguments.apply_defaults()
        arguments = bound_arguments.arguments
        calls.append({name: _copy_if_possible(value) for name, value in arguments.items()})

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        keep(*args, **kwargs)
        return function(*args, **kwargs)

    @functools.wraps(function)
    async def run_async(*args: Any, **kwargs: Any) -> Any:
        keep(*args, **kwargs)
        return await cast("Any", function)(*args, **kwargs)

    recorded_tool: Any = run_async if inspect.iscoroutinefunction(function) else run
    recorded_tool.calls = calls
    return cast("RecordedTool[P, T_co]", recorded_tool)


def _copy_if_possible(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001 - an injected object, such as a connection
        return value


def _to_script(replies: Reply | Sequence[Reply]) -> list[Reply]:
    script = [replies] if isinstance(replies, str | Mapping | Exception) else list(replies)
    for reply in script:
        if isinstance(reply, str):
            recommends(reply)
    if not script:
        raise ValueError("a script needs at least one reply")
    return script
