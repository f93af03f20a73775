"""What the model sees of a proposed action: facts, categorical features and scaled numbers."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

Fact = float | str

MAX_FACTS = 48
_MAX_TEXT_LENGTH = 48
_MAX_DEPTH = 6
_MAX_LIST_ITEMS = 8
_MIN_WORD_LENGTH = 4
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


class Features(NamedTuple):
    """The features of an action.

    `identifiers` are categorical features that name a single thing, such as an order. Numbers are
    on a logarithmic scale, or in standard deviations from their mean once they are scaled.
    """

    action_key: str
    categories: list[str]
    identifiers: list[str]
    numbers: list[tuple[str, float]]


class Scales:
    """The running mean and spread of each number, by name."""

    def __init__(self) -> None:
        # name -> count, mean, sum of squared deviations
        self.moments: dict[str, tuple[float, float, float]] = {}

    def update(self, numbers: Iterable[tuple[str, float]]) -> None:
        """Include an action's numbers (Welford's algorithm)."""
        for name, number in numbers:
            count, mean, squares = self.moments.get(name, _NO_SCALE)
            if count or len(self.moments) < _MAX_SCALES:
                step = number - mean
                mean += step / (count + 1)
                self.moments[name] = (count + 1, mean, squares + step * (number - mean))

    def scale(self, features: Features) -> Features:
        """Return the features with scaled numbers; one with an unknown spread becomes 0.

        Each number is also a categorical feature: the band it falls in.
        """
        numbers = {}
        for name, number in features.numbers:
            count, mean, squares = self.moments.get(name, _NO_SCALE)
            deviation = 0.0
            if squares > 0:
                deviation = (number - mean) / max(_MIN_SPREAD, math.sqrt(squares / (count - 1)))
                if not -_MAX_DEVIATION < deviation < _MAX_DEVIATION:
                    deviation = math.copysign(_MAX_DEVIATION, deviation)
            numbers[name] = deviation
        bands = [f"{name}^{bisect_left(_BAND_EDGES, by)}" for name, by in numbers.items()]
        return features._replace(
            categories=[*features.categories, *bands], numbers=list(numbers.items())
        )


def extract_features(action: Action) -> Features:
    """Return the features of an action, independent of anything learned."""
    key = action.key
    features = Features(key, [f"actor={action.actor}"], [], [])
    if action.target is not None:
        features.categories.append(f"{key}|target={action.target}")
    if action.value is not None:
        features.categories.append(size_feature(key, size_class(action.value)))
        features.numbers.append((f"{key}|value", signed_log(action.value)))
    for name, fact in action.facts.items():
        if isinstance(fact, str):
            is_identifier = looks_like_identifier(fact) or (
                "[]" in name and looks_like_identifier(name.partition("=")[2])
            )
            names = features.identifiers if is_identifier else features.categories
            names.append(f"{key}|{name}={fact}")
            continue
        features.numbers.append((f"{key}|{name}", signed_log(fact)))
        if abs(fact) <= _MAX_SMALL_INTEGER and fact == int(fact):
            features.categories.append(f"{key}|{name}={int(fact)}")
    if action.history.has_session:
        _add_history(features, action.history)
    return features


def _add_history(features: Features, history: SessionHistory) -> None:
    key, words = features.action_key, history.new_words + history.known_words
    features.categories.append(f"{key}|after={history.last_action}")
    events = (
        # "clean" needs a known outcome: without one there could not be an error either.
        ("clean", history.outcomes and not history.errors),
        ("just_failed", history.errors_in_a_row),
        ("failed", history.errors),
        ("failed_often", history.errors >= _MANY_ERRORS),
        ("repeated", history.repeats),
        ("same_action", history.same_action),
        ("same_action_failed", history.same_action_errors),
        ("new_words", history.new_words),
    )
    for event, happened in events:
        if happened:
            features.categories.extend((f"past.{event}", f"{key}|past.{event}"))
    features.numbers.extend(
        (
            (f"{key}|past.calls", signed_log(history.calls)),
            (f"{key}|past.total_value", signed_log(history.total_value)),
            (f"{key}|past.seconds_since_last", signed_log(history.seconds_since_last)),
            (f"{key}|past.new_words", history.new_words / max(1, words)),
        )
    )


def size_class(value: float) -> int:
    """The size of a value: one class for each doubling."""
    return round(math.log2(1 + max(0.0, value)))


def size_feature(action_key: str, size: int) -> str:
    """The categorical feature of an action whose value has this size class."""
    return f"{action_key}|size={size}"


def signed_log(number: float) -> float:
    """Return log(1 + |number|) with the sign of the number."""
    return math.copysign(math.log1p(abs(number)), number)


def looks_like_identifier(word: str) -> bool:
    """Whether a word looks like an identifier: one piece, with letters and digits."""
    return " " not in word and any(map(str.isdigit, word)) and any(map(str.isalpha, word))


def describe_call(name: str, value: float | None, target: str | None) -> str:
    """Describe a call in a few words."""
    size = "" if value is None else f" of {value:g}"
    recipient = "" if target is None else f" for {target}"
    return f"{name}{size}{recipient}"


def list_words(facts: Mapping[str, Fact]) -> list[str]:
    """The distinct words among the facts that are long enough to name something."""
    words = {
        name.partition("=")[2] if "[]" in name else fact
        for name, fact in facts.items()
        if isinstance(fact, str)
    }
    return sorted([word for word in words if len(word) >= _MIN_WORD_LENGTH])


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
            _add_fact(facts, name, float(_limit_number(content)))
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
        facts[name] = _limit_number(previous + fact)
    else:
        facts[name] = fact


def _limit_number(number: float) -> float:
    """Clip a number to the range of real quantities; integers too large for a float included."""
    return max(-_MAX_NUMBER, min(_MAX_NUMBER, number))
