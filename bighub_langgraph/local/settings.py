"""Settings of the embedded engine: what it may risk, by domain."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bighub_langgraph.core.models import Mode

HOUR, DAY = 3_600.0, 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSettings:
    """How the engine decides in a domain.

    Attributes:
        enforcement_mode: How binding the recommendation is; part of every reply.
        max_bad_rate: The guarantee: at most this share of the calls that run without a person
            goes wrong, with probability `confidence_level`. `None` leaves only the costs.
        confidence_level: The probability with which the guarantee holds.
        review_cost: The cost of a review, in the unit of `bad_cost`.
        bad_cost: The cost of a bad outcome.
        block_above: The risk from which a call is advised against.
        min_evidence: How many outcomes a new action needs before it may run.
        label_delay: How old a `SUCCESS` must be before it counts, in seconds. `None` learns it
            from the corrections so far. The guarantee holds for outcomes that are final by then.
        half_life: After how many seconds a precedent counts for half.
        reevaluate_after: After how many seconds without new evidence a stopped action goes to a
            person again, as a stopped call has no outcome. A denial counts for half after it, and
            the first pause of automatic execution lasts as long.
    """

    enforcement_mode: Mode = Mode.ADVISORY
    max_bad_rate: float | None = 0.1
    confidence_level: float = 0.95
    review_cost: float = 0.2
    bad_cost: float = 1.0
    block_above: float = 0.7
    min_evidence: int = 5
    label_delay: float | None = None
    half_life: float = 180 * DAY
    reevaluate_after: float = 7 * DAY

    def __post_init__(self) -> None:
        max_bad_rate = 0.5 if self.max_bad_rate is None else self.max_bad_rate
        shares = (max_bad_rate, self.confidence_level, self.block_above)
        if not all(0 < share < 1 for share in shares):
            raise ValueError("max_bad_rate, confidence_level and block_above lie between 0 and 1")
        times = (self.half_life, self.reevaluate_after)
        if not (self.bad_cost > 0 <= self.review_cost and min(times) > 0):
            raise ValueError("costs, half_life and reevaluate_after are positive")
        if self.min_evidence < 1 or (self.label_delay or 0) < 0:
            raise ValueError("min_evidence is at least 1 and label_delay is not negative")
        object.__setattr__(self, "enforcement_mode", Mode(self.enforcement_mode))

    @property
    def affordable_risk(self) -> float:
        """The risk up to which running costs less than a review."""
        return min(1.0, self.review_cost / self.bad_cost)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The engine's settings: a default, and domains that differ from it by name.

    Attributes:
        human_label_weight: How much a person's denial counts; a bad outcome counts 1. It leads to
            reviews and is not part of the risk.
    """

    default: DomainSettings = field(default_factory=DomainSettings)
    domains: Mapping[str, DomainSettings] = field(default_factory=dict)
    human_label_weight: float = 0.8

    def for_domain(self, domain: str) -> DomainSettings:
        """Return the settings of a domain."""
        return self.domains.get(domain, self.default)
