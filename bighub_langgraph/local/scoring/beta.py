"""Hierarchical Beta counts: the estimate that holds with little evidence."""

import math
from typing import Any, NamedTuple, Self

from bighub_langgraph.local.scoring.action import Action
from bighub_langgraph.local.scoring.evidence import Evidence
from bighub_langgraph.local.scoring.features import Features, own_name
from bighub_langgraph.local.scoring.odds import expit, logit

PRIOR_RISK = 0.3
_PARENT_STRENGTH = 4.0
_LEAF_STRENGTH = 8.0
_LEAF_SHARE = 0.4
_MOST_NODES = 20_000
_ROOT = "*"


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

    def estimate(self, action: Action, features: Features, at: float) -> Estimate:
        """The risk of an action, each level shrunk towards the one above without counting twice."""
        everything, domain, own = (self.counted(key, at) for key in _chain(action))
        risk = PRIOR_RISK
        for (bad, total), (inner_bad, inner_total) in (
            (everything, domain),
            (domain, own),
            (own, (0.0, 0.0)),
        ):
            outer = max(0.0, total - inner_total)
            risk = (max(0.0, bad - inner_bad) + _PARENT_STRENGTH * risk) / (
                outer + _PARENT_STRENGTH
            )
        return Estimate(self._with_leaves(action, features, risk, at), *own, self._age(action, at))

    def count(self, evidence: Evidence, features: Features) -> None:
        """Count a label everywhere it belongs, and take back the one it replaces."""
        own = own_name(evidence.action)
        for key in (*_chain(evidence.action), *(_leaf(own, mark) for mark in features.every_mark)):
            node = self._faded(key, evidence.at)
            node[evidence.label] += 1.0
            if evidence.replaces is not None:
                taken = self._fading(evidence.at - evidence.replaced_at)
                node[evidence.replaces] = max(0.0, node[evidence.replaces] - taken)
        if len(self._nodes) > _MOST_NODES:
            self._forget()

    def counted(self, key: str, at: float) -> tuple[float, float]:
        """The bad and the total counted under a key, faded to now."""
        node = self._nodes.get(key)
        if node is None:
            return 0.0, 0.0
        good, bad, approved, denied, faded_at = node
        fading = self._fading(at - faded_at)
        bad = (bad + self._verdict * denied) * fading
        return bad, (good + self._verdict * approved) * fading + bad

    def counted_mark(self, action: Action, mark: str, at: float) -> tuple[float, float]:
        """The bad and the total among an action's calls that had a mark."""
        return self.counted(_leaf(own_name(action), mark), at)

    def state(self) -> dict[str, Any]:
        """Everything to keep, as plain JSON."""
        return {"nodes": self._nodes}

    def restored(self, state: dict[str, Any]) -> Self:
        """These counts with what `state` described."""
        self._nodes = {key: list(node) for key, node in state["nodes"].items()}
        return self

    def _with_leaves(self, action: Action, features: Features, risk: float, at: float) -> float:
        own, middle = own_name(action), logit(risk)
        shift = 0.0
        for mark in features.every_mark:
            bad, total = self.counted(_leaf(own, mark), at)
            if total:
                shrunk = (bad + _LEAF_STRENGTH * risk) / (total + _LEAF_STRENGTH)
                shift += logit(shrunk) - middle
        return expit(middle + _LEAF_SHARE * shift)

    def _age(self, action: Action, at: float) -> float:
        node = self._nodes.get(own_name(action))
        return 0.0 if node is None else at - node[4]

    def _faded(self, key: str, at: float) -> list[float]:
        node = self._nodes.setdefault(key, [0.0, 0.0, 0.0, 0.0, at])
        if at > node[4]:
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


def _chain(action: Action) -> tuple[str, str, str]:
    return _ROOT, f"{action.domain}/", own_name(action)


def _leaf(own: str, mark: str) -> str:
    return f"{own}\x1f{mark}"
