"""The risk model: what it expects of an action, and how it learns from outcomes."""

import math
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from bighub_langgraph.local.scoring.features import (
    Action,
    Evidence,
    Label,
    ScaledFeatures,
    Scales,
    extract_features,
    size_class,
)
from bighub_langgraph.local.scoring.novelty import Familiarity, Novelty
from bighub_langgraph.local.scoring.precedents import (
    MAX_PRECEDENTS,
    ActionVector,
    Comparison,
    Precedent,
    Precedents,
    embed_action,
)
from bighub_langgraph.local.scoring.rate_changes import RateChanges
from bighub_langgraph.local.scoring.regression import Regression, expit, logit
from bighub_langgraph.local.scoring.risk_limit import AutomationMonitor, DriftDetector, RiskLimit
from bighub_langgraph.local.settings import DomainSettings, Settings

SHOWN_PRECEDENTS = 5
_PRIOR_BAD, _PRIOR_OUTCOMES = 0.6, 2.0
_MIN_CALLS_OF_A_SIZE = 3
_REPETITIONS = 8  # of older comparisons after a correction
_SEARCH_EVERY = 8  # outcomes of an action, for a change of its bad rate
_MAX_ACTIONS = 128  # of a domain
_MAX_DOMAINS, _MAX_COLUMNS = 2_048, 65_536
_FAMILIAR = ""  # the limit of calls without a novelty
_MIN_CORRECTIONS, _MAX_CORRECTIONS = 5, 64
_DELAY_QUANTILE, _DELAY_MARGIN = 0.9, 1.25


class Assessment(NamedTuple):
    """What the model expects of an action, and why.

    Attributes:
        bad: How many of the action's outcomes were bad.
        total: How many outcomes of the action are known.
        age: Seconds since the latest of them.
        denials: How many calls of the action people have refused.
        concern: The risk if calls that people refused lately had gone wrong.
    """

    risk: float
    concern: float
    bad: int
    total: int
    denials: int
    age: float
    risk_limit: float
    parts: dict[str, float]
    precedents: list[Precedent]
    novelties: tuple[Novelty, ...]
    smaller_value: float | None
    drifting: bool
    paused_until: float
    label_delay: float | None


class Expectation(NamedTuple):
    """What is expected of a call, by similar calls and by the regression."""

    near: Comparison
    regression: float
    is_named: bool

    def estimate_risk(self, shift: float = 0.0, denials: float = 0.0) -> float:
        """The risk with its log odds shifted, if so many more similar calls had gone wrong."""
        risk = self.near.estimate_risk(self.regression, is_named=self.is_named, denials=denials)
        return expit(logit(risk) + shift) if shift else risk


@dataclass(slots=True)
class ActionState:
    """What is learned by action: exact counts, precedents, and what is familiar."""

    good: int = 0
    bad: int = 0
    denials: int = 0
    last_at: float = 0.0
    sizes: dict[str, list[int]] = field(default_factory=dict)  # good and bad by size of the value
    precedents: Precedents = field(default_factory=Precedents)
    familiarity: Familiarity = field(default_factory=Familiarity)
    changes: RateChanges = field(default_factory=RateChanges)
    shift: float = 0.0  # of the log odds of each risk, see `update_shift`

    def learn(self, evidence: Evidence, vector: ActionVector) -> None:
        """Count a label, and remove the one it replaces, if it was not dropped with its action."""
        label, previous, value = evidence.label, evidence.replaces, evidence.action.value
        for each, change in ((label, 1), (previous, -1)):
            self.good = max(0, self.good + change * (each is Label.GOOD))
            self.bad = max(0, self.bad + change * (each is Label.BAD))
            self.denials = max(0, self.denials + change * (each is Label.DENIED))
        self.precedents.add(evidence, vector)
        if label.outcome:
            self.last_at = evidence.at
        if label.outcome or (previous and previous.outcome):
            self.familiarity.learn(evidence)
        if value is None:
            return
        counts = self.sizes.setdefault(str(size_class(value)), [0, 0])
        for each, change in ((label, 1), (previous, -1)):
            if each is not None and each.outcome:
                counts[each.bad] = max(0, counts[each.bad] + change)
        if label is Label.GOOD:
            self.familiarity.largest_good = max(value, self.familiarity.largest_good)
        elif previous is Label.GOOD and value >= self.familiarity.largest_good:
            self.familiarity.largest_good = self.precedents.find_largest_good_value()

    def update_shift(self, before: float, after: float, *, is_worse: bool) -> None:
        """Let an outcome never move the risk of its own call against what it says.

        A bad outcome may reduce what is expected of its call: as a hint that the bad rate has
        changed, as the first use of a feature, as the end of an older outcome. The difference is
        added to each risk of the action from then on, until an outcome moves them by as much.
        """
        risk = max(before, after) if is_worse else min(before, after)
        self.shift = logit(risk) - logit(after)

    @property
    def is_search_due(self) -> bool:
        """Whether to look for a change of the bad rate.

        With fewer outcomes than are kept all of them count alike, in whatever order they came.
        """
        total = self.good + self.bad
        return total >= MAX_PRECEDENTS and total % _SEARCH_EVERY == 0

    def find_smaller_value(self, value: float, risk: float) -> float | None:
        """The largest smaller value of a size with clearly better outcomes."""
        for size in range(size_class(value) - 1, 0, -1):
            good, bad = self.sizes.get(str(size), (0, 0))
            if good + bad >= _MIN_CALLS_OF_A_SIZE and bad / (good + bad) < risk / 2:
                return min(float(int(2 ** (size + 0.5) - 1)), self.familiarity.largest_good)
        return None


@dataclass(slots=True)
class DomainState:
    """What is learned by domain."""

    regression: Regression
    scales: Scales = field(default_factory=Scales)
    actions: dict[str, ActionState] = field(default_factory=dict)  # the latest used comes last
    limits: dict[str, RiskLimit] = field(default_factory=dict)  # by kind of novelty
    limits_since: float = -math.inf
    drift: DriftDetector = field(default_factory=DriftDetector)
    automation: AutomationMonitor = field(default_factory=AutomationMonitor)
    correction_delays: list[float] = field(default_factory=list)  # seconds

    def expect(
        self,
        state: ActionState,
        features: ScaledFeatures,
        vector: ActionVector,
        at: float,
        settings: DomainSettings,
        *,
        limit: int = 0,
    ) -> Expectation:
        """Return what is expected of a call, and so many of its precedents.

        Precedents from before a change of the bad rate count only for calls that name a subject:
        what is known of a recipient holds, what is known of calls in general does not.
        """
        inputs = features.in_period(state.changes.find_period(at))
        since = -math.inf if features.is_named else state.changes.since
        near = state.precedents.compare(vector, at, settings, limit, since=since)
        return Expectation(near, self.regression.predict(inputs), features.is_named)

    def repeat_comparisons(self, state: ActionState, at: float, settings: DomainSettings) -> None:
        """Repeat the oldest comparisons after a correction: they were with the label before it."""
        precedents = state.precedents
        for request_id, is_named in list(islice(precedents.samples.items(), _REPETITIONS)):
            regression = self.regression.predict_example(request_id)
            if regression is None:
                del precedents.samples[request_id]
                continue
            since = -math.inf if is_named else state.changes.since
            vector = precedents.get_vector(request_id)
            near = precedents.compare(vector, at, settings, 0, since=since)
            precedents.update_agreement(request_id, near, regression, is_named=is_named)

    @property
    def columns(self) -> int:
        """How many precedents there is memory for."""
        return sum(action.precedents.columns for action in self.actions.values())


class Model:
    """Everything learned so far. The same evidence in the same order gives the same model.

    Domains share nothing but the bad rate that a new one starts with.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.good = self.bad = 0
        self.domains: dict[str, DomainState] = {}  # the latest used comes last

    def assess(self, action: Action, at: float) -> Assessment:
        """Return what to expect of an action.

        Its risk is the bad rate of its precedents, weighted by likeness, and of the regression.
        """
        settings = self._settings.for_domain(action.domain)
        domain = self.domains.get(action.domain) or DomainState(
            Regression.with_prior(self._prior())
        )
        state = domain.actions.get(action.name) or ActionState()
        features = domain.scales.scale(extract_features(action))
        expectation = domain.expect(
            state, features, embed_action(action), at, settings, limit=SHOWN_PRECEDENTS
        )
        near, risk = expectation.near, expectation.estimate_risk(state.shift)
        denials = self._settings.human_label_weight * near.denials
        concern = expectation.estimate_risk(state.shift, denials) if denials else risk
        novelties, total = state.familiarity.find_novelties(action), state.good + state.bad
        if total < settings.min_evidence:
            history = f"has {total} of the {settings.min_evidence} outcomes it needs"
            novelties = [Novelty(_FAMILIAR, f"{action.name} {history}")]
        kinds = {novelty.kind for novelty in novelties} or {_FAMILIAR}
        limits = {kind: domain.limits.get(kind) or RiskLimit() for kind in kinds}
        rates = [limit.shrunk_rate() for kind, limit in limits.items() if kind != _FAMILIAR]
        risk = max([risk, *rates])
        is_limited = settings.max_bad_rate is not None
        smaller_value = None
        if action.value is not None and risk > settings.review_cost / settings.bad_cost / 2:
            smaller_value = state.find_smaller_value(action.value, risk)
        return Assessment(
            risk=risk,
            concern=max(risk, concern),
            bad=state.bad,
            total=total,
            denials=state.denials,
            age=at - state.last_at,
            risk_limit=min(limit.limit for limit in limits.values()) if is_limited else 1.0,
            parts={
                "regression": expectation.regression,
                "near": near.bad / near.total if near.total else expectation.regression,
                "near_total": near.total,
            },
            precedents=near.nearest,
            novelties=tuple(novelties),
            smaller_value=smaller_value,
            drifting=domain.drift.is_drifting,
            paused_until=domain.automation.paused_until if is_limited else 0.0,
            label_delay=self._find_label_delay(action.domain),
        )

    def find_precedents(self, action: Action, at: float, limit: int) -> list[Precedent]:
        """Return the labelled calls of the action that are most similar to it."""
        domain = self.domains.get(action.domain)
        state = domain and domain.actions.get(action.name)
        settings = self._settings.for_domain(action.domain)
        if not state:
            return []
        return state.precedents.compare(embed_action(action), at, settings, limit).nearest

    def learn(self, evidence: Evidence) -> None:
        """Learn from the label of an earlier decision."""
        action, label, previous = evidence.action, evidence.label, evidence.replaces
        settings, domain = self._settings.for_domain(action.domain), self._use_domain(action.domain)
        state = domain.actions.pop(action.name, None)
        if state is None:
            self._make_room(domain)
            state = ActionState()
        domain.actions[action.name] = state
        was_outcome = previous is not None and previous.outcome
        vector = embed_action(action)
        if not (label.outcome or was_outcome):
            state.learn(evidence, vector)
            return  # people's refusals are no outcomes
        at, raw_features = evidence.at, extract_features(action)
        before = domain.expect(state, domain.scales.scale(raw_features), vector, at, settings)
        state.learn(evidence, vector)
        if was_outcome:
            domain.repeat_comparisons(state, at, settings)
        else:
            domain.scales.update(raw_features.numbers)
        features = domain.scales.scale(raw_features)
        self.good += (label is Label.GOOD) - (previous is Label.GOOD)
        self.bad += label.bad - (previous is Label.BAD)
        domain.regression.learn(
            evidence.request_id,
            features.in_period(state.changes.find_period(evidence.decided_at)),
            bad=label.bad if label.outcome else None,
            replaces=previous.bad if previous is not None and was_outcome else None,
        )
        after = domain.expect(state, features, vector, at, settings)
        if state.precedents.is_sampled(evidence.request_id):
            near = state.precedents.update_agreement(
                evidence.request_id, after.near, after.regression, is_named=after.is_named
            )
            after = after._replace(near=near)
        if state.is_search_due:
            # Later outcomes are not complete: some successes among them will be corrected.
            delay = max(self.label_delay(action.domain), _estimate_delay(domain) or 0.0)
            outcomes = state.precedents.list_outcomes(at - delay)
            known_changes, state.changes = state.changes, state.changes.search(*outcomes)
            if state.changes is not known_changes:
                after = domain.expect(state, features, vector, at, settings)
        state.update_shift(
            before.estimate_risk(state.shift),
            after.estimate_risk(),
            is_worse=label.bad or (previous is Label.GOOD and not label.outcome),
        )
        for kind in evidence.novelties or (_FAMILIAR,):
            new = RiskLimit(since=domain.limits_since)
            domain.limits.setdefault(kind, new).add(evidence, settings)
        if evidence.automatic:
            domain.automation.add(evidence, settings)
        if evidence.is_news and domain.drift.add(bad=label.bad, at=evidence.at):
            self.restart_limits(action.domain, evidence.at)

    def restart_limits(self, domain: str, at: float) -> None:
        """Let the risk limits of a domain start again from nothing."""
        self.domains[domain].limits_since = at
        for limit in self.domains[domain].limits.values():
            limit.restart(at)

    def label_delay(self, domain: str) -> float:
        """Return how old a good outcome must be before it counts: as set, or as learned."""
        return self._find_label_delay(domain) or 0.0

    def _find_label_delay(self, domain: str) -> float | None:
        delay = self._settings.for_domain(domain).label_delay
        if delay is not None:
            return delay
        state = self.domains.get(domain)
        return _estimate_delay(state) if state else None

    def record_correction(self, domain: str, delay: float, at: float) -> None:
        """Record after how many seconds a good outcome was corrected.

        When a delay is learned, the counts of calls decided before, which took every early success
        for final, are dropped.
        """
        state, before = self._use_domain(domain), self.label_delay(domain)
        state.correction_delays = [*state.correction_delays, max(0.0, delay)][-_MAX_CORRECTIONS:]
        if not before and self.label_delay(domain):
            self.restart_limits(domain, at)

    def _prior(self) -> float:
        return (self.bad + _PRIOR_BAD) / (self.good + self.bad + _PRIOR_OUTCOMES)

    def _use_domain(self, name: str) -> DomainState:
        state = self.domains.pop(name, None)
        self.domains[name] = state = state or DomainState(Regression.with_prior(self._prior()))
        return state

    def _make_room(self, domain: DomainState) -> None:
        """Drop what was not used for longest, so that memory stays bounded."""
        if len(domain.actions) >= _MAX_ACTIONS:
            del domain.actions[next(iter(domain.actions))]
        columns = sum(each.columns for each in self.domains.values())
        while len(self.domains) > 1 and (
            len(self.domains) > _MAX_DOMAINS or columns > _MAX_COLUMNS
        ):
            columns -= self.domains.pop(next(iter(self.domains))).columns


def _estimate_delay(domain: DomainState) -> float | None:
    """After how many seconds most successes that will be corrected are; None if too few were."""
    delays = sorted(domain.correction_delays)
    if len(delays) < _MIN_CORRECTIONS:
        return None
    return delays[int(_DELAY_QUANTILE * (len(delays) - 1))] * _DELAY_MARGIN
