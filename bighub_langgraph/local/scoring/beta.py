"""Hierarchical Beta counts: the estimate that holds with little evidence."""

import math
from typing import Any, NamedTuple, Self

from bighub_langgraph.local.scoring.evidence import Evidence
from bighub_langgraph.local.scoring.features import Features, Traits
from bighub_langgraph.local.scoring.odds import expit, logit

PRIOR_RISK = 0.3
_PARENT_STRENGTH = 4.0
_LEAF_STRENGTH = 8.0
_LEAF_SHARE = 0.4
_MOST_NODES = 20_000
_ROOT, _LEAF = "*", "\x1f"


class Estimate(NamedTuple):
    """A risk, the faded counts on this very action behind it, and the age of the latest of them."""

    risk: float
    bad: float
    total: float
    age: float


class BetaCounts:
    """Counts of good and bad by domain, by action, and by everything an action has."""

    def __init__(self, *, verdict_weight: float, half_life: float) -> None:
        self._verdict = verdict_weight
        self._half_life = half_life
        # name -> good, bad, approved, denied, and the time up to which these are faded
        self._nodes: dict[str, list[float]] = {}

    def estimate(self, traits: Traits, features: Features, domain: str, at: float) -> Estimate:
        """The risk of an action, each level shrunk towards the one above without counting twice."""
        own = self.counted(traits.own, at)
        everything, around = self.counted(_ROOT, at), self.counted(f"{domain}/", at)
        risk = PRIOR_RISK
        for (bad, total), (inner_bad, inner_total) in (
            (everything, around),
            (around, own),
            (own, (0.0, 0.0)),
        ):
            outer = max(0.0, total - inner_total)
            risk = (max(0.0, bad - inner_bad) + _PARENT_STRENGTH * risk) / (
                outer + _PARENT_STRENGTH
            )
        node = self._nodes.get(traits.own)
        age = 0.0 if node is None else at - node[4]
        return Estimate(self._with_leaves(traits.own, features, risk, at), *own, age)

    def count(self, evidence: Evidence, own: str, features: Features) -> None:
        """Count a label everywhere it belongs, and take back the one it replaces."""
        keys = [_ROOT, f"{evidence.action.domain}/", own]
        keys += [_leaf(own, mark) for mark in features.every_mark]
        at, label, replaced = evidence.at, int(evidence.label), evidence.replaces
        for key in keys:
            node = self._faded(key, at)
            node[label] += 1.0
            if replaced is not None:
                taken = self._fading(at - evidence.replaced_at)
                node[replaced] = max(0.0, node[replaced] - taken)
        if len(self._nodes) > _MOST_NODES:
            self._forget()

    def counted(self, key: str, at: float) -> tuple[float, float]:
        """The bad and the total counted under a key, faded to now."""
        node = self._nodes.get(key)
        return (0.0, 0.0) if node is None else self._now(node, at)

    def _now(self, node: list[float], at: float) -> tuple[float, float]:
        good, bad, approved, denied, faded_at = node
        fading = math.exp2((faded_at - at) / self._half_life) if at > faded_at else 1.0
        bad = (bad + self._verdict * denied) * fading
        return bad, (good + self._verdict * approved) * fading + bad

    def counted_mark(self, own: str, mark: str, at: float) -> tuple[float, float]:
        """The bad and the total among an action's calls that had a mark."""
        return self.counted(_leaf(own, mark), at)

    def state(self) -> dict[str, Any]:
        """Everything to keep, as plain JSON."""
        return {"nodes": self._nodes}

    def restored(self, state: dict[str, Any]) -> Self:
        """These counts with what `state` described."""
        self._nodes = {key: list(node) for key, node in state["nodes"].items()}
        return self

    def _with_leaves(self, own: str, features: Features, risk: float, at: float) -> float:
        middle = logit(risk)
        shift, nodes = 0.0, self._nodes
        for mark in features.every_mark:
            if (node := nodes.get(f"{own}{_LEAF}{mark}")) is None:
                continue
            bad, total = self._now(node, at)
            if total:
                shrunk = (bad + _LEAF_STRENGTH * risk) / (total + _LEAF_STRENGTH)
                shift += logit(shrunk) - middle
        return expit(middle + _LEAF_SHARE * shift)

    def _faded(self, key: str, at: float) -> list[float]:
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = [0.0, 0.0, 0.0, 0.0, at]
        elif at > node[4]:
            good, bad, approved, denied, faded_at = node
            fading = self._fading(at - faded_at)
            node[:] = good * fading, bad * fading, approved * fading, denied * fading, at
        return node

    def _fading(self, age: float) -> float:
        return 1.0 if age <= 0 else math.exp2(-age / self._half_life)

    def _forget(self) -> None:
        """Drop the tenth that says least: memory does not grow with the number of targets."""
        by_weight = sorted(self._nodes, key=lambda key: sum(self._nodes[key][:4]))
        for key in by_weight[: _MOST_NODES // 10]:
            del self._nodes[key]


def _leaf(own: str, mark: str) -> str:
    return f"{own}{_LEAF}{mark}"
