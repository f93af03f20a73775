"""Names of the published adapter that its users import or reach for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bighub_langgraph.core.decision import parse_decision, resolve_verdict
from bighub_langgraph.core.jsonable import to_jsonable
from bighub_langgraph.openai.events import dumped
from bighub_langgraph.openai.replies import read_reply, serialized
from bighub_langgraph.openai.streaming import Stream, translated
from bighub_langgraph.openai.tools import RESOLVED_ACTIONS, ToolRegistration

__all__ = ["PublishedNames", "ToolResult"]

Json = dict[str, Any]


@dataclass
class ToolResult:
    """What became of one call, with the parts of its decision."""

    status: str
    decision: Json
    output: Any = None
    error: str | None = None
    recommendation: str | None = None
    risk_score: float | None = None
    enforcement_mode: str | None = None
    trajectory_health: str | None = None
    risk_band: str | None = None
    confidence_zone: str | None = None
    regret_band: str | None = None
    decision_packet: Json | None = None
    responsible_action_space: Json | None = None
    salient_factors: list[Json] | None = None
    operational_intent: Json | None = None
    agent_operational_body: Json | None = None
    action_interpretation_layer: Json | None = None
    performative_contracts: list[Json] | None = None
    catastrophic_ceiling: Json | None = None
    expected_regret_vector: Json | None = None
    signal_epistemology: Json | None = None
    safe_novelty_lane: Json | None = None


class PublishedNames(ToolRegistration):
    """Private methods of the published adapter that tests of its users call."""

    def _openai_tools(self) -> list[Json]:
        return self._tools.definitions

    @staticmethod
    def _resolve_decision(decision: Mapping[str, Any]) -> str:
        return RESOLVED_ACTIONS[resolve_verdict(parse_decision({"request_id": "-", **decision}))]

    @staticmethod
    def _enrich_result(result: ToolResult, decision: Mapping[str, Any]) -> ToolResult:
        packet = _mapping(decision.get("decision_packet"))
        signal = _mapping(packet.get("signal"))
        for name in _COPIED:
            setattr(result, name, to_jsonable(decision.get(name)))
        for name in ("risk_band", "confidence_zone", "regret_band"):
            setattr(result, name, signal.get(name))
        risk = decision.get("risk_score")
        result.risk_score = float(risk) if isinstance(risk, int | float) else None
        sources = (
            _mapping(decision.get(name)) for name in ("decision_intelligence", "intelligence")
        )
        found = (source.get("trajectory_health") for source in sources)
        result.trajectory_health = next((one for one in found if one), None)
        return result

    @staticmethod
    def _serialize_response(response: Any) -> Json:
        return serialized(read_reply(response))

    @staticmethod
    def _extract_function_calls(response: Any) -> list[Json]:
        items = read_reply(response).items
        calls = (item for item in items if item.get("type") == "function_call")
        names = ("id", "call_id", "name", "arguments")
        return [{name: call.get(name) for name in names} for call in calls]

    @staticmethod
    def _parse_stream_event(raw: Any) -> Json | None:
        return translated(raw, Stream())

    @staticmethod
    def _function_output(call_id: str, output: Any) -> Json:
        return {
            "type": "function_call_output",
            "call_id": call_id,
            "output": dumped(to_jsonable(output)),
        }


_COPIED = (
    *("recommendation", "enforcement_mode", "decision_packet", "responsible_action_space"),
    *("salient_factors", "operational_intent", "agent_operational_body", "expected_regret_vector"),
    *("action_interpretation_layer", "performative_contracts", "catastrophic_ceiling"),
    *("signal_epistemology", "safe_novelty_lane"),
)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
