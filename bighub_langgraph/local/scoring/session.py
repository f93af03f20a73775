"""The summary of a session's calls, and its health."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple, Self
from zlib import crc32

from bighub_langgraph.local.scoring.features import Action, Label, SessionHistory

_MAX_COUNTERS = 48
_MAX_WORDS = 160
_MIN_WORD_LENGTH = 4
_MANY = 3
_NO_COUNTS: Mapping[str, int] = {}


class Health(StrEnum):
    """How a session has gone so far."""

    HEALTHY = "healthy"
    STRAINED = "strained"
    POOR = "poor"


class Session(NamedTuple):
    """A summary of bounded size of a session's calls."""

    calls: int = 0
    outcomes: int = 0
    errors: int = 0
    errors_in_a_row: int = 0
    total_value: float = 0.0
    last_at: float = 0.0
    last_action: str = ""
    calls_by_digest: Mapping[str, int] = _NO_COUNTS
    calls_by_action: Mapping[str, int] = _NO_COUNTS
    errors_by_action: Mapping[str, int] = _NO_COUNTS
    words: tuple[int, ...] = ()  # checksums of the latest words in arguments

    def history_before(self, action: Action, digest: str, at: float) -> SessionHistory:
        """Return what the session did before an action; equal calls have the same digest."""
        words = _list_words(action)
        new_words = len([word for word in words if word not in self.words])
        return SessionHistory(
            calls=self.calls,
            outcomes=self.outcomes,
            errors=self.errors,
            errors_in_a_row=self.errors_in_a_row,
            repeats=self.calls_by_digest.get(digest, 0),
            same_action=self.calls_by_action.get(action.name, 0),
            same_action_errors=self.errors_by_action.get(action.name, 0),
            total_value=self.total_value,
            seconds_since_last=max(0.0, at - self.last_at) if self.calls else 0.0,
            new_words=new_words,
            known_words=len(words) - new_words,
            last_action=self.last_action,
            has_session=True,
        )

    def with_call(self, action: Action, digest: str, at: float) -> Self:
        """Return the session after one more call."""
        new = [word for word in dict.fromkeys(_list_words(action)) if word not in self.words]
        return self._replace(
            calls=self.calls + 1,
            total_value=self.total_value + (action.value or 0.0),
            last_at=max(at, self.last_at),
            last_action=action.name,
            calls_by_digest=_increment(self.calls_by_digest, digest),
            calls_by_action=_increment(self.calls_by_action, action.name),
            words=(*self.words, *new)[-_MAX_WORDS:],
        )

    def with_outcome(self, action: str, label: Label, *, replaces: Label | None = None) -> Self:
        """Return the session after the outcome of one of its calls, or its correction."""
        is_correction = replaces is not None and replaces.outcome
        outcomes = self.outcomes + label.outcome - is_correction
        if label.bad:
            return self._replace(
                outcomes=outcomes,
                errors=self.errors + 1,
                errors_in_a_row=self.errors_in_a_row + 1,
                errors_by_action=_increment(self.errors_by_action, action),
            )
        if replaces is not Label.BAD:
            return self._replace(outcomes=outcomes, errors_in_a_row=0)
        errors = {**self.errors_by_action, action: max(0, self.errors_by_action.get(action, 0) - 1)}
        return self._replace(
            outcomes=outcomes,
            errors=max(0, self.errors - 1),
            errors_in_a_row=max(0, self.errors_in_a_row - 1),
            errors_by_action=errors,
        )

    @classmethod
    def from_json(cls, fields: list[Any]) -> Self:
        """Return the session from its fields as a JSON array."""
        return cls._make((*fields[:-1], tuple(fields[-1])))


def assess_health(history: SessionHistory) -> Health | None:
    """Return how a session goes; None without a session."""
    if not history.has_session:
        return None
    if max(history.errors_in_a_row, history.repeats, history.same_action_errors) >= _MANY:
        return Health.POOR
    if history.errors_in_a_row or history.repeats or history.errors * _MANY > history.calls:
        return Health.STRAINED
    return Health.HEALTHY


def _list_words(action: Action) -> list[int]:
    """Return the checksums of the distinct words in arguments that are long enough for a name."""
    words = {
        name.partition("=")[2] if "[]" in name else fact
        for name, fact in action.facts.items()
        if isinstance(fact, str)
    }
    long_words = sorted([word for word in words if len(word) >= _MIN_WORD_LENGTH])
    return [crc32(word.encode("utf-8", "surrogatepass")) for word in long_words]


def _increment(counters: Mapping[str, int], key: str) -> dict[str, int]:
    """Count a key, and drop the one that was counted longest ago."""
    after = dict(counters)
    after[key] = after.pop(key, 0) + 1
    if len(after) > _MAX_COUNTERS:
        del after[next(iter(after))]
    return after
