"""What the model sees: a proposed action's facts and features, and the labels of earlier ones."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from bighub_langgraph.local.scoring.regression import BASE_VALUE

Fact = float | str

MAX_FACTS = 48
_MAX_TEXT_LENGTH = 48
_MAX_DEPTH = 6
_MAX_LIST_ITEMS = 8
_MAX_NUMBER = 1e15
# Identifiers of a run or a call say nothing about the next one.
_IGNORED_KEYS = frozenset(
    {
        *("session_id", "trajectory_id", "objective", "model_selection", "auto_executed"),
        *("decision_packet", "case", "request_id", "trace_id", "tool_call_id", "call_id"),
        "connection_id",
    }
)
_MAX_DEVIATION = 3.0
_BAND_EDGES = (-1.0, -0.4, 0.2, 0.8)
_ACTION_SCALE = 3.0  # of the feature that is the action itself
_BAND_SCALE, _SUBJECT_SCALE = 0.5, 2.0  # subjects: the actor and the target
_MAX_SMALL_INTEGER = 12
_MANY_ERRORS = 3
_MIN_SPREAD = 0.02  # less variation than this, by proportion, is noise
_MAX_SCALES = 4_000
_NO_SCALE = (0.0, 0.0, 0.0)


class SessionHistory(NamedTuple):
    """What a session did before this call. The order of the fields is stored."""

    calls: int = 0
    outcomes: int = 0  # calls with a known outcome
    errors: int = 0
    errors_in_a_row: int = 0
    repeats: int = 0
    same_action: int = 0
    same_action_errors: int = 0
    total_value: float = 0.0
    seconds_since_last: float = 0.0
    new_words: int = 0  # words in the arguments that the session has not used before
    known_words: int = 0
    last_action: str = ""
    has_session: bool = False


class Action(NamedTuple):
    """A proposed action with the facts that may predict its outcome."""

    domain: str
    name: str
    actor: str
    target: str | None = None
    value: float | None = None
    facts: Mapping[str, Fact] = MappingProxyType({})
    history: SessionHistory = SessionHistory()

    @property
    def key(self) -> str:
        """The action's name within its domain."""
        return f"{self.domain}/{self.name}"


class Label(IntEnum):
    """What became of a decision: an outcome, or a person's refusal."""

    GOOD = 0
    BAD = 1
    NOTHING = 2  # a report that was withdrawn
    DENIED = 3

    def __init__(self, _number: int) -> None:
        self.bad = self.name == "BAD"
        self.outcome = self.name in ("GOOD", "BAD")  # it happened and is not an opinion


class Evidence(NamedTuple):
    """One label of one earlier decision.

    Attributes:
        replaces: The label it corrects.
        risk: The risk at the decision.
        novelties: The kinds of novelty that the call had at the decision.
        automatic: Whether the call ran without approval.
    """

    request_id: str
    action: Action
    decided_at: float
    at: float
    label: Label
    replaces: Label | None = None
    replaced_at: float = 0.0
    risk: float = 0.0
    novelties: tuple[str, ...] = ()
    automatic: bool = False

    @property
    def is_news(self) -> bool:
        """Whether it is news of an outcome: a first one, or a good one that turned out bad."""
        first = self.replaces is None or not self.replaces.outcome
        return self.label.outcome and (first or self.label.bad)


class Features(NamedTuple):
    """The features of an action, without those that name a single thing, such as an order.

    `is_named` says that there is a target or such a name. Numbers are on a logarithmic scale.
    """

    action_key: str
    categories: dict[str, float]  # each with its scale: the regression learns a large one faster
    numbers: list[tuple[str, float]]
    is_named: bool


class ScaledFeatures(NamedTuple):
    """The features of an action as a sparse vector, with numbers in standard deviations."""

    action_key: str
    inputs: dict[str, float]
    is_named: bool

    def in_period(self, period: int) -> dict[str, float]:
        """Return the vector of a call in a period of its action's bad rate.

        After a change of the rate, calls have one more feature: so the new rate is learned fast,
        and what is known of all other features holds.
        """
        if not period:
            return self.inputs
        return {**self.inputs, f"period {period} of {self.action_key}": _ACTION_SCALE}


@dataclass(slots=True)
class Scales:
    """The running mean and spread of each number, by name."""

    # name -> count, mean, sum of squared deviations
    moments: dict[str, tuple[float, float, float]] = field(default_factory=dict)

    def update(self, numbers: Iterable[tuple[str, float]]) -> None:
        """Include an action's numbers (Welford's algorithm)."""
        for name, number in numbers:
            count, mean, squares = self.moments.get(name, _NO_SCALE)
            if count or len(self.moments) < _MAX_SCALES:
                step = number - mean
                mean += step / (count + 1)
                self.moments[name] = (count + 1, mean, squares + step * (number - mean))

    def scale(self, features: Features) -> ScaledFeatures:
        """Return the features with scaled numbers; one with an unknown spread becomes 0.

        Each number is also a categorical feature: the band it falls in.
        """
        numbers = {}
        for name, number in features.numbers:
            count, mean, squares = self.moments.get(name, _NO_SCALE)
            deviation = 0.0
            if squares > 0:
                deviation = (number - mean) / max(_MIN_SPREAD, math.sqrt(squares / (count - 1)))
                deviation = max(-_MAX_DEVIATION, min(_MAX_DEVIATION, deviation))
            numbers[name] = deviation
        bands = {
            f"{name}^{bisect_left(_BAND_EDGES, deviation)}": _BAND_SCALE
            for name, deviation in numbers.items()
        }
        inputs = features.categories | bands | numbers
        return ScaledFeatures(features.action_key, inputs, features.is_named)


def extract_features(action: Action) -> Features:
    """Return the features of an action, independent of anything learned."""
    key, history = action.key, action.history
    subjects, categories = [f"actor={action.actor}"], list[str]()
    is_named = action.target is not None
    numbers: list[tuple[str, float]] = []
    shares: list[tuple[str, float]] = []
    if action.target is not None:
        subjects.append(f"{key}|target={action.target}")
    if action.value is not None:
        numbers.append((f"{key}|value", action.value))
    for name, fact in action.facts.items():
        if isinstance(fact, str):
            is_identifier = looks_like_identifier(fact) or (
                "[]" in name and looks_like_identifier(name.partition("=")[2])
            )
            if is_identifier:
                is_named = True
            else:
                categories.append(f"{key}|{name}={fact}")
            continue
        numbers.append((f"{key}|{name}", fact))
        if abs(fact) <= _MAX_SMALL_INTEGER and fact == int(fact):
            categories.append(f"{key}|{name}={int(fact)}")
    if history.has_session:
        categories.append(f"{key}|after={history.last_action}")
        for event in _list_events(history):
            categories += (event, f"{key}|{event}")
        numbers += [
            (f"{key}|past.calls", history.calls),
            (f"{key}|past.total_value", history.total_value),
            (f"{key}|past.seconds_since_last", history.seconds_since_last),
        ]
        words = history.new_words + history.known_words
        shares.append((f"{key}|past.new_words", history.new_words / max(1, words)))
    logs = [(name, math.copysign(math.log1p(abs(number)), number)) for name, number in numbers]
    scales = {
        "base": BASE_VALUE,
        key: _ACTION_SCALE,
        **dict.fromkeys(subjects, _SUBJECT_SCALE),
        **dict.fromkeys(categories, 1.0),
    }
    return Features(key, scales, logs + shares, is_named)


def _list_events(history: SessionHistory) -> list[str]:
    events = (
        # "clean" needs a known outcome: without one there could not be an error either.
        ("past.clean", history.outcomes and not history.errors),
        ("past.just_failed", history.errors_in_a_row),
        ("past.failed", history.errors),
        ("past.failed_often", history.errors >= _MANY_ERRORS),
        ("past.repeated", history.repeats),
        ("past.same_action", history.same_action),
        ("past.same_action_failed", history.same_action_errors),
        ("past.new_words", history.new_words),
    )
    return [event for event, is_true in events if is_true]


def size_class(value: float) -> int:
    """Return the size of a value: one class for each doubling."""
    return round(math.log2(1 + max(0.0, value)))


def looks_like_identifier(word: str) -> bool:
    """Whether a word looks like an identifier: one piece, with letters and digits."""
    return " " not in word and any(map(str.isdigit, word)) and any(map(str.isalpha, word))


def describe_call(name: str, value: float | None, target: str | None) -> str:
    """Describe a call in a few words."""
    size = "" if value is None else f" of {value:g}"
    recipient = "" if target is None else f" for {target}"
    return f"{name}{size}{recipient}"


def extract_facts(context: Mapping[str, Any]) -> dict[str, Fact]:
    """Flatten a context to named facts: numbers, short texts, and the lengths of long ones.

    Numbers with the same name in a list are added up; each short text in a list is a fact.
    """
    facts: dict[str, Fact] = {}
    for key in sorted(context):
        if key not in _IGNORED_KEYS:
            _collect_facts(facts, "" if key == "arguments" else str(key), context[key], 0)
    return facts


def _collect_facts(facts: dict[str, Fact], name: str, content: object, depth: int) -> None:
    if depth > _MAX_DEPTH or len(facts) >= MAX_FACTS:
        return
    match content:
        case str() if len(content) > _MAX_TEXT_LENGTH:
            _add_fact(facts, f"{name}.length", float(len(content)))
        case str():
            _add_fact(facts, name, content)
        case bool() | None:
            _add_fact(facts, name, str(content).lower())
        case int() | float():
            # Integers may be too large for a float.
            _add_fact(facts, name, float(max(-_MAX_NUMBER, min(_MAX_NUMBER, content))))
        case dict() | Mapping():
            for key in sorted(content):
                _collect_facts(facts, f"{name}.{key}".lstrip("."), content[key], depth + 1)
        case list() | tuple():
            _add_fact(facts, f"{name}.#", float(len(content)))
            for item in content[:_MAX_LIST_ITEMS]:
                _collect_facts(facts, f"{name}[]", item, depth + 1)


def _add_fact(facts: dict[str, Fact], name: str, fact: Fact) -> None:
    previous = facts.get(name)
    if "[]" in name and isinstance(fact, str):
        facts[f"{name}={fact}"] = "yes"
    elif isinstance(previous, float) and isinstance(fact, float):
        facts[name] = max(-_MAX_NUMBER, min(_MAX_NUMBER, previous + fact))
    else:
        facts[name] = fact
