"""The promise: how much risk may run unasked so that the bad rate stays below its limit."""

from dataclasses import dataclass, field
from typing import Any

from bighub_langgraph.local.scoring.bounds import stays_below
from bighub_langgraph.local.scoring.evidence import Evidence, Label
from bighub_langgraph.local.scoring.odds import expit, logit
from bighub_langgraph.local.settings import DomainSettings

# Few bins, even in log odds: every further cutoff that is tried is a further chance to be lucky.
_LOWEST, _HIGHEST, _WIDTH = -5.0, 2.0, 0.5
BINS = int((_HIGHEST - _LOWEST) / _WIDTH)
_STEPS = 64


@dataclass(slots=True)
class Track:
    """What became of a domain's calls, by the risk they were given when they were decided.

    A person's denial counts as bad; an approval says nothing until its outcome is known.
    """

    good: list[float] = field(default_factory=lambda: [0.0] * BINS)
    bad: list[float] = field(default_factory=lambda: [0.0] * BINS)
    faded_at: float = 0.0
    known: float | None = None  # the cutoff, until a count changes

    def add(self, evidence: Evidence, settings: DomainSettings) -> None:
        """Count a label, and take back the one it replaces."""
        self._fade(evidence.at, settings.half_life)
        self.known = None
        where, before = bin_of(evidence.risk), evidence.replaces
        if (counts := self._of(before)) is not None:
            counts[where] = max(0.0, counts[where] - 1.0)
        if (counts := self._of(evidence.label)) is not None:
            counts[where] += 1.0

    def cutoff(self, settings: DomainSettings) -> float:
        """The highest risk up to which the promise holds; 0 until there is evidence."""
        if settings.max_bad_rate is None:
            return 1.0
        if self.known is None:
            self.known = self._highest(settings.max_bad_rate, settings.assurance)
        return self.known

    def doubt(self) -> None:
        """Let earlier outcomes count for a quarter: they may no longer tell what comes."""
        self.known = None
        self.good = [count / 4 for count in self.good]
        self.bad = [count / 4 for count in self.bad]

    def state(self) -> dict[str, Any]:
        """Everything to keep, as plain JSON."""
        return {"good": self.good, "bad": self.bad, "faded_at": self.faded_at}

    def _highest(self, limit: float, assurance: float) -> float:
        bad = total = 0.0
        highest, tries = -1, 1
        for where in range(BINS):
            here = self.bad[where] + self.good[where]
            bad, total = bad + self.bad[where], total + here
            if here and stays_below(limit, 0.0, total, assurance, tries=tries):
                if stays_below(limit, bad, total, assurance, tries=tries):
                    highest = where
                tries += 1  # what has too few outcomes whatever they were is no chance to be lucky
        return expit(_LOWEST + (highest + 1) * _WIDTH) if highest >= 0 else 0.0

    def _of(self, label: Label | None) -> list[float] | None:
        if label is None or label is Label.APPROVED:
            return None
        return self.bad if label.bad else self.good

    def _fade(self, at: float, half_life: float) -> None:
        # Fading in steps keeps the cost of an outcome independent of the number of bins.
        elapsed = at - self.faded_at
        if elapsed > half_life / _STEPS:
            share = 0.5 ** (elapsed / half_life) if self.faded_at else 1.0
            self.good = [count * share for count in self.good]
            self.bad = [count * share for count in self.bad]
            self.faded_at = at


def bin_of(risk: float) -> int:
    """The bin a risk falls in."""
    return min(BINS - 1, max(0, int((logit(risk) - _LOWEST) / _WIDTH)))
