"""Asks an engine about recorded calls, and tells it how they ended."""

from collections.abc import Iterable, Mapping
from typing import Any

from bighub_langgraph.cli.replay.obvious import target_of, value_of
from bighub_langgraph.cli.replay.recording import Known, RecordedCall
from bighub_langgraph.cli.replay.shadow import Opinion
from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.decision import fallback_decision, parse_decision, resolve_verdict
from bighub_langgraph.core.errors import EngineError, EngineRequestError, InvalidCall
from bighub_langgraph.core.models import Decision, FailMode, ToolCall
from bighub_langgraph.core.policy import GuardSettings, ToolPolicy, build_evaluation_request
from bighub_langgraph.core.ports import EnginePort


class Observer:
    """Asks an engine as a guard asks it; no tool is anywhere near."""

    def __init__(
        self, engine: EnginePort, *, tools: Iterable[str], actor: str, domain: str
    ) -> None:
        policy = ToolPolicy(value_from_args=value_of, target_from_args=target_of)
        self._engine = engine
        self._rules = GuardSettings(actor=actor, domain=domain, tools=dict.fromkeys(tools, policy))

    def ask(self, call: RecordedCall) -> Opinion:
        """What the engine says of a call; asked again about the same call, it says the same."""
        try:
            decision = run_sync(self._decide(_tool_call(call)))
        except EngineError as error:
            decision = fallback_decision(error, FailMode.CLOSED)
        except InvalidCall as error:
            decision = fallback_decision(EngineRequestError(str(error)), FailMode.CLOSED)
        return Opinion(decision, resolve_verdict(decision))

    def tell(self, opinion: Opinion, known: Known) -> None:
        """Report how a call ended; replayed again, it counts once."""
        if opinion.decision.request_id is not None:
            outcome = {
                "request_id": opinion.decision.request_id,
                "status": known.status,
                "production_action": known.call.tool,
                "reported_by": "bighub-langgraph replay",
                "details": {"idempotency_key": _tool_call(known.call).key},
            }
            run_sync(self._report(outcome))

    async def _decide(self, call: ToolCall) -> Decision:
        return parse_decision(
            await self._engine.evaluate(build_evaluation_request(call, self._rules), call.key)
        )

    async def _report(self, outcome: Mapping[str, Any]) -> None:
        await self._engine.report_outcome(outcome)


def _tool_call(call: RecordedCall) -> ToolCall:
    return ToolCall(call.trajectory, "replay", str(call.index), call.tool, call.arguments)
