"""Hierarchical Beta counts: a risk estimate that works with little evidence."""

import math
from itertools import pairwise
from typing import NamedTuple

from bighub_langgraph.local.scoring.evidence import Evidence
from bighub_langgraph.local.scoring.features import Features
from bighub_langgraph.local.scoring.logistic import expit, logit

PRIOR_RISK = 0.3
_PARENT_STRENGTH = 4.0
_FEATURE_STRENGTH = 8.0
_FEATURE_SHARE = 0.4
_MAX_NODES = 20_000
_ROOT, _SEPARATOR = "*", "\x1f"


class Estimate(NamedTuple):
    """A risk, the faded counts of this very action, and the seconds since the latest of them."""

    risk: float
    bad: float
    total: float
    age: float


class BetaCounts:
    """Counts of good and bad labels: in all, by domain, by action, and by feature of an action."""

    def __init__(self, *, human_label_weight: float, half_life: float) -> None:
        self._human_label_weight = human_label_weight
        self._half_life = half_life
        # name -> good, bad, approved, denied, and the time up to which these are faded
        self.nodes: dict[str, list[float]] = {}

    def estimate(self, domain: str, features: Features, at: float) -> Estimate:
        """Estimate the risk of an action: each level is shrunk towards the one above it.

        Evidence on a level is not counted again on the one above.
        """
        own = self.get_counts(features.action_key, at)
        levels = (self.get_counts(_ROOT, at), self.get_counts(f"{domain}/", at), own, (0.0, 0.0))
        risk = PRIOR_RISK
        for (bad, total), (inner_bad, inner_total) in pairwise(levels):
            outside = max(0.0, total - inner_total)
            risk = (max(0.0, bad - inner_bad) + _PARENT_STRENGTH * risk) / (
                outside + _PARENT_STRENGTH
            )
        base, shift = logit(risk), 0.0
        for key in _feature_keys(features):
            if key in self.nodes:
                bad, total = self.get_counts(key, at)
                shrunk = (bad + _FEATURE_STRENGTH * risk) / (total + _FEATURE_STRENGTH)
                shift += (logit(shrunk) - base) if total else 0.0
        node = self.nodes.get(features.action_key)
        age = 0.0 if node is None else at - node[4]
        return Estimate(expit(base + _FEATURE_SHARE * shift), *own, age)

    def add(self, evidence: Evidence, features: Features) -> None:
        """Count a label on all levels, and remove the one it replaces."""
        at, label, replaced = evidence.at, int(evidence.label), evidence.replaces
        replaced_weight = math.exp2(min(0.0, evidence.replaced_at - at) / self._half_life)
        keys = [_ROOT, f"{evidence.action.domain}/", features.action_key]
        for key in keys + _feature_keys(features):
            node = self.nodes.setdefault(key, [0.0, 0.0, 0.0, 0.0, at])
            good, bad, approved, denied, faded_at = node
            if at > faded_at:
                fading = math.exp2((faded_at - at) / self._half_life)
                node[:] = good * fading, bad * fading, approved * fading, denied * fading, at
            node[label] += 1.0
            if replaced is not None:
                node[replaced] = max(0.0, node[replaced] - replaced_weight)
        if len(self.nodes) > _MAX_NODES:
            self._forget_lightest()

    def get_counts(self, key: str, at: float) -> tuple[float, float]:
        """Return the bad and the total counts under a key, faded to a moment."""
        if (node := self.nodes.get(key)) is None:
            return 0.0, 0.0
        good, bad, approved, denied, faded_at = node
        fading = math.exp2(min(0.0, faded_at - at) / self._half_life)
        bad = (bad + self._human_label_weight * denied) * fading
        return bad, (good + self._human_label_weight * approved) * fading + bad

    def get_feature_counts(self, action_key: str, feature: str, at: float) -> tuple[float, float]:
        """Return the bad and the total counts of an action's calls with a categorical feature."""
        return self.get_counts(f"{action_key}{_SEPARATOR}{feature}", at)

    def _forget_lightest(self) -> None:
        """Drop the tenth with the lowest counts: memory does not grow with the targets."""
        by_weight = sorted(self.nodes, key=lambda key: sum(self.nodes[key][:4]))
        for key in by_weight[: _MAX_NODES // 10]:
            del self.nodes[key]


def _feature_keys(features: Features) -> list[str]:
    names = (*features.categories, *features.identifiers)
    return [f"{features.action_key}{_SEPARATOR}{name}" for name in names]
