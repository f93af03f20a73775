"""What the embedded engine may risk, and where: frozen settings a caller shares and compares."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bighub_langgraph.local.words import Mode

DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSettings:
    """How one domain decides.

    `max_bad_rate` is the promise: of what runs without a person, at most this share goes wrong,
    with probability `assurance`. `None` leaves only the costs. `correction_delay` says in seconds
    how old a `SUCCESS` must be before it is believed; `None` learns it from the corrections seen.
    What is stopped has no outcomes, so a person is asked again when nothing was learned of an
    action for `look_again_after` seconds.
    """

    enforcement_mode: Mode = Mode.ADVISORY
    max_bad_rate: float | None = 0.1
    assurance: float = 0.95
    review_cost: float = 0.2
    bad_cost: float = 1.0
    block_above: float = 0.7
    min_evidence: int = 5
    correction_delay: float | None = None
    half_life: float = 180 * DAY
    look_again_after: float = 7 * DAY

    def __post_init__(self) -> None:
        promise = 0.5 if self.max_bad_rate is None else self.max_bad_rate
        shares = (promise, self.assurance, self.block_above)
        if not all(0 < share < 1 for share in shares):
            raise ValueError("max_bad_rate, assurance and block_above lie between 0 and 1")
        if not (
            self.bad_cost > 0 <= self.review_cost and min(self.half_life, self.look_again_after) > 0
        ):
            raise ValueError("costs, half_life and look_again_after are positive")
        if self.min_evidence < 1 or (self.correction_delay or 0) < 0:
            raise ValueError("min_evidence is at least 1 and correction_delay is not negative")
        object.__setattr__(self, "enforcement_mode", Mode(self.enforcement_mode))

    @property
    def affordable_risk(self) -> float:
        """The risk up to which running costs less than asking."""
        return min(1.0, self.review_cost / self.bad_cost)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The engine's settings: one default, and domains that differ from it by name."""

    default: DomainSettings = field(default_factory=DomainSettings)
    domains: Mapping[str, DomainSettings] = field(default_factory=dict)
    verdict_weight: float = 0.8

    def of(self, domain: str) -> DomainSettings:
        """The settings that hold for a domain."""
        return self.domains.get(domain, self.default)
