"""A proposed action as the model sees it."""

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self

Fact = float | str

MAX_FACTS = 48
_LONGEST_WORD = 48
_DEEPEST = 6
_FIRST_ITEMS = 8
_SHORTEST_NAME = 3
_LARGEST = 1e15
# What identifies a run or a call says nothing about the next one.
_NOT_FACTS = frozenset(
    {
        "session_id",
        "trajectory_id",
        "objective",
        "model_selection",
        "unasked",
        "decision_packet",
        "case",
        "request_id",
        "trace_id",
        "tool_call_id",
        "call_id",
        "connection_id",
    }
)


class Past(NamedTuple):
    """What a session did before this call."""

    calls: int = 0
    outcomes: int = 0  # of those calls, how many have a known outcome
    errors: int = 0
    errors_in_a_row: int = 0
    repeats: int = 0
    same_action: int = 0
    same_action_errors: int = 0
    total_value: float = 0.0
    seconds_since_last: float = 0.0
    new_words: int = 0  # words in the arguments that this session has not used before
    known_words: int = 0
    last_action: str = ""
    known: bool = False


class Action(NamedTuple):
    """One proposed action, with the facts that may tell whether it goes well."""

    domain: str
    name: str
    actor: str
    target: str | None = None
    value: float | None = None
    facts: Mapping[str, Fact] = MappingProxyType({})
    past: Past = Past()

    def to_json(self) -> dict[str, Any]:
        """The action as plain JSON."""
        return {**self._asdict(), "facts": dict(self.facts), "past": self.past._asdict()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The action that `to_json` gave."""
        return cls(**{**stored, "past": Past(**stored["past"])})


def names_a_thing(word: str) -> bool:
    """Whether a word looks like an identifier: one piece, with letters and digits."""
    return " " not in word and any(map(str.isdigit, word)) and any(map(str.isalpha, word))


def words_of(facts: Mapping[str, Fact]) -> list[str]:
    """The words among the facts, as far as they could name something."""
    found = {
        name.partition("=")[2] if "[]" in name else fact
        for name, fact in facts.items()
        if isinstance(fact, str)
    }
    return sorted(word for word in found if len(word) > _SHORTEST_NAME)


def describe(action: Action) -> str:
    """An action in a few words: its name, its value and its target."""
    return describe_call(action.name, action.value, action.target)


def describe_call(name: str, value: float | None, target: str | None) -> str:
    """The same of an action's name, value and target."""
    size = "" if value is None else f" of {value:g}"
    aim = "" if target is None else f" for {target}"
    return f"{name}{size}{aim}"


def facts_of(context: Mapping[str, Any]) -> dict[str, Fact]:
    """Flatten a context to named facts: numbers, short words, and the sizes of what is long.

    Numbers of one name in a list add up; words in a list each become a fact of their own.
    """
    facts: dict[str, Fact] = {}
    for key in sorted(context):
        if key not in _NOT_FACTS:
            name = "" if key == "arguments" else str(key)
            for fact, content in _walk(name, context[key], 0):
                if len(facts) >= MAX_FACTS:
                    return facts
                _add(facts, fact, content)
    return facts


def _add(facts: dict[str, Fact], name: str, content: Fact) -> None:
    known = facts.get(name)
    if "[]" in name and isinstance(content, str):
        facts[f"{name}={content}"] = "yes"
    elif isinstance(known, float) and isinstance(content, float):
        facts[name] = max(-_LARGEST, min(_LARGEST, known + content))
    else:
        facts[name] = content


def _walk(name: str, content: object, depth: int) -> Iterator[tuple[str, Fact]]:
    if depth > _DEEPEST:
        return
    match content:
        case str():  # what comes most often first
            yield _text(name, content)
        case bool() | None:
            yield name, str(content).lower()
        case int() | float():
            yield name, _number(content)
        case dict() | Mapping():
            for key in sorted(content):
                yield from _walk(f"{name}.{key}".lstrip("."), content[key], depth + 1)
        case list() | tuple():
            yield f"{name}.#", float(len(content))
            for item in content[:_FIRST_ITEMS]:
                yield from _walk(f"{name}[]", item, depth + 1)


def _text(name: str, content: str) -> tuple[str, Fact]:
    if len(content) <= _LONGEST_WORD:
        return name, content
    return f"{name}.length", float(len(content))


def _number(content: float) -> float:
    """Keep a number usable: what lies beyond any real quantity becomes its end."""
    try:
        return max(-_LARGEST, min(_LARGEST, float(content)))
    except OverflowError:
        return math.copysign(_LARGEST, content)
