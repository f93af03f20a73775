"""What an engine would have said that was never told an outcome."""

from collections.abc import Sequence
from dataclasses import replace

from bighub_langgraph import BighubGuard
from bighub_langgraph.cli.demo.seen import Seen
from bighub_langgraph.core.decision import resolve_verdict


def unlearned(seen: Sequence[Seen], fresh: BighubGuard) -> list[Seen]:
    """The same calls as a guard judges them that knows nothing; none of them is run."""
    return [_judged(call, fresh) for call in seen if call.verdict is not None]


def _judged(call: Seen, fresh: BighubGuard) -> Seen:
    decision = fresh.evaluate(call.tool, call.arguments, session=f"unlearned-{call.request}")
    return replace(
        call,
        verdict=resolve_verdict(decision),
        recommendation=decision.raw_recommendation,
        confidence=decision.confidence or "",
        risk=decision.risk_score,
    )
