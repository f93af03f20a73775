"""What the demo saw of one tool call, and what can be measured over several."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bighub_langgraph.cli.demo.requests import Later
from bighub_langgraph.core.models import Verdict


@dataclass(frozen=True, slots=True)
class Seen:
    """One tool call, from BIGHUB's decision to its outcome.

    Attributes:
        request: Number of the customer's request, from 1.
        verdict: What was done about it; None for a read, about which nobody was asked.
        approved: What a person said, if one was asked.
        outcome: BIGHUB's word for how it ended, as far as that showed at once.
        trouble: What the story holds in store for this call if it runs.
    """

    request: int
    tool: str
    arguments: Mapping[str, Any]
    verdict: Verdict | None = None
    recommendation: str = ""
    confidence: str = ""
    risk: float | None = None
    request_id: str | None = None
    approved: bool | None = None
    outcome: str = ""
    trouble: Later | None = None

    @property
    def ran(self) -> bool:
        """Whether the tool was started."""
        return self.outcome in {"SUCCESS", "FAILURE"}

    @property
    def bad(self) -> bool:
        """Whether the call went wrong, or would have if it had run."""
        return self.trouble is not None or self.outcome == "FAILURE"


@dataclass(frozen=True, slots=True)
class Measures:
    """Numbers over some calls, all of them counted or averaged from what was seen."""

    calls: int
    unasked: int
    asked: int
    blocked: int
    bad_unasked: int
    bad: int
    risk_of_good: float | None
    risk_of_bad: float | None


def measure(seen: Sequence[Seen]) -> Measures:
    """Count and average over the calls that BIGHUB was asked about."""
    judged = [call for call in seen if call.verdict is not None]
    unasked = [call for call in judged if call.verdict is Verdict.EXECUTE]
    return Measures(
        calls=len(judged),
        unasked=len(unasked),
        asked=sum(call.verdict is Verdict.REVIEW for call in judged),
        blocked=sum(call.verdict is Verdict.BLOCK for call in judged),
        bad_unasked=sum(call.bad for call in unasked),
        bad=sum(call.bad for call in judged),
        risk_of_good=_mean(call.risk for call in judged if not call.bad),
        risk_of_bad=_mean(call.risk for call in judged if call.bad),
    )


def thirds(seen: Sequence[Seen], requests: int) -> tuple[list[Seen], list[Seen]]:
    """The calls of the first and of the last third of the requests."""
    size = requests // 3
    first = [call for call in seen if call.request <= size]
    return first, [call for call in seen if call.request > requests - size]


def _mean(risks: Iterable[float | None]) -> float | None:
    known = [risk for risk in risks if risk is not None]
    return sum(known) / len(known) if known else None
