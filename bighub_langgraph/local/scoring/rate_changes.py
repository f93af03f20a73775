"""When an action's bad rate changed, found in the labels of its latest calls."""

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_OUTCOMES = 512  # that are searched for a change
_MIN_OUTCOMES = 20
_MAX_TIMES = 64
_MIN_LOG_EVIDENCE = math.log(1_000)
# By count: the terms of the evidence for one rate, from Jeffreys' prior of a rate.
_LOG_GAMMA_HALVES = np.array([math.lgamma(count + 0.5) for count in range(MAX_OUTCOMES + 1)])
_LOG_FACTORIALS = np.array([math.lgamma(count + 1.0) for count in range(MAX_OUTCOMES + 1)])


@dataclass(slots=True)
class RateChanges:
    """The changes of an action's bad rate so far; they part its calls into numbered periods.

    Attributes:
        times: When the first call after each change was decided, the latest changes only.
        count: How many changes there were.
    """

    times: list[float] = field(default_factory=list)
    count: int = 0

    @property
    def since(self) -> float:
        """When the first call of the present period was decided."""
        return self.times[-1] if self.times else -math.inf

    def find_period(self, decided_at: float) -> int:
        """The number of the period in which a call was decided."""
        return self.count - len(self.times) + bisect_right(self.times, decided_at)

    def search(self, bad: "NDArray[Any]", decided_at: "NDArray[Any]") -> "RateChanges":
        """Return the changes with one more if the outcomes of the present period show it.

        `bad` are the labels as they are known now, so a correction counts as if it had been
        reported at once; `decided_at` are the times of their decisions.
        """
        order = decided_at.argsort(kind="stable")
        bad, decided_at = bad[order], decided_at[order]
        first = int(decided_at.searchsorted(self.since))
        place = _find_change(bad[first:])
        if place is None:
            return self
        times = [*self.times, float(decided_at[first + place])]
        return RateChanges(times[-_MAX_TIMES:], self.count + 1)


def _find_change(bad: "NDArray[Any]") -> int | None:
    """The index from which outcomes most probably have another rate, if they clearly do.

    The evidence for a change is the mean over all places where it may have been: how much more
    likely the outcomes are with a rate before and another after it than with one rate for all.
    """
    total = len(bad)
    if total < _MIN_OUTCOMES:
        return None
    before, bad_before = np.arange(1, total), bad.cumsum().astype(np.intp)
    all_bad, bad_before = bad_before[-1], bad_before[:-1]
    logs = _log_evidence(bad_before, before)
    logs += _log_evidence(all_bad - bad_before, total - before) - _log_evidence(all_bad, total)
    highest = float(logs.max())
    evidence = highest + math.log(np.exp(logs - highest).mean())
    return 1 + int(logs.argmax()) if evidence >= _MIN_LOG_EVIDENCE else None


def _log_evidence(bad: Any, total: Any) -> Any:
    """How likely outcomes are, as a logarithm, when all have one rate that is not known."""
    successes = _LOG_GAMMA_HALVES[bad] + _LOG_GAMMA_HALVES[total - bad]
    return successes - _LOG_FACTORIALS[total] - math.log(math.pi)
