"""The risk limit: up to which risk calls may run so that the bad rate stays below its maximum."""

from dataclasses import dataclass, field

from bighub_langgraph.local.scoring.confidence_bounds import is_rate_below
from bighub_langgraph.local.scoring.evidence import Evidence, Label
from bighub_langgraph.local.scoring.logistic import expit, logit
from bighub_langgraph.local.settings import DomainSettings

# Few bins of equal width in log odds: each limit that is tried is another chance to be lucky.
_LOWEST, _HIGHEST, _WIDTH = -5.0, 2.0, 0.5
_BINS = int((_HIGHEST - _LOWEST) / _WIDTH)
_FADING_STEPS = 64


@dataclass(slots=True)
class RiskLimit:
    """A domain's outcomes by the risk they had when they were decided, and the limit from them.

    A person's denial counts as bad. An approval does not count until its outcome is known.

    Attributes:
        limit: The highest risk up to which the guarantee holds; 0 without enough outcomes.
    """

    good: list[float] = field(default_factory=lambda: [0.0] * _BINS)
    bad: list[float] = field(default_factory=lambda: [0.0] * _BINS)
    faded_at: float = 0.0
    limit: float = 0.0

    def add(self, evidence: Evidence, settings: DomainSettings) -> None:
        """Count a label, and remove the one it replaces."""
        self._fade(evidence.at, settings.half_life)
        index = bin_index(evidence.risk)
        if (counts := self._counts(evidence.replaces)) is not None:
            counts[index] = max(0.0, counts[index] - 1.0)
        if (counts := self._counts(evidence.label)) is not None:
            counts[index] += 1.0
        self._update_limit(settings)

    def discount(self, settings: DomainSettings) -> None:
        """Reduce the weight of earlier outcomes to a quarter, because the bad rate has changed."""
        self.good = [count / 4 for count in self.good]
        self.bad = [count / 4 for count in self.bad]
        self._update_limit(settings)

    def _update_limit(self, settings: DomainSettings) -> None:
        if (max_rate := settings.max_bad_rate) is None:
            return
        bad = total = 0.0
        highest, tries = -1, 1
        for index, (bin_bad, bin_good) in enumerate(zip(self.bad, self.good, strict=True)):
            bad, total = bad + bin_bad, total + (bin_bad + bin_good)
            level = settings.confidence_level
            if bin_bad + bin_good and is_rate_below(max_rate, 0.0, total, level, tries=tries):
                if is_rate_below(max_rate, bad, total, level, tries=tries):
                    highest = index
                tries += 1  # with too few outcomes, whatever they were, it is not a try
        self.limit = expit(_LOWEST + (highest + 1) * _WIDTH) if highest >= 0 else 0.0

    def _counts(self, label: Label | None) -> list[float] | None:
        if label is None or label is Label.APPROVED:
            return None
        return self.bad if label.bad else self.good

    def _fade(self, at: float, half_life: float) -> None:
        elapsed = at - self.faded_at
        if elapsed > half_life / _FADING_STEPS:
            share = 0.5 ** (elapsed / half_life) if self.faded_at else 1.0
            self.good = [count * share for count in self.good]
            self.bad = [count * share for count in self.bad]
            self.faded_at = at


def bin_index(risk: float) -> int:
    """Return the index of the bin that a risk falls in."""
    return min(_BINS - 1, max(0, int((logit(risk) - _LOWEST) / _WIDTH)))
