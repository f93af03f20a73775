"""What a session has done so far, and how healthy that looks."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self
from zlib import crc32

from bighub_langgraph.local.scoring.action import Past
from bighub_langgraph.local.words import Health

_REMEMBERED = 48
_WORDS = 160
_OFTEN = 3
_NONE: Mapping[str, int] = MappingProxyType({})


class Call(NamedTuple):
    """What a session remembers of one call."""

    action: str
    digest: str
    value: float
    words: tuple[str, ...]
    at: float


class Session(NamedTuple):
    """A session's calls, folded to a bounded summary."""

    calls: int = 0
    outcomes: int = 0
    errors: int = 0
    errors_in_a_row: int = 0
    total_value: float = 0.0
    last_at: float = 0.0
    last_action: str = ""
    recent: Mapping[str, int] = _NONE  # digest of a call -> times seen
    actions: Mapping[str, int] = _NONE  # action -> times proposed
    failed: Mapping[str, int] = _NONE  # action -> times gone wrong
    words: tuple[int, ...] = ()  # checksums of the latest words in arguments

    def before(self, call: Call) -> Past:
        """The past of a call that is proposed now."""
        known = set(self.words) if call.words else ()
        new = sum(_mark(word) not in known for word in call.words)
        return Past(
            calls=self.calls,
            outcomes=self.outcomes,
            errors=self.errors,
            errors_in_a_row=self.errors_in_a_row,
            repeats=self.recent.get(call.digest, 0),
            same_action=self.actions.get(call.action, 0),
            same_action_errors=self.failed.get(call.action, 0),
            total_value=self.total_value,
            seconds_since_last=max(0.0, call.at - self.last_at) if self.calls else 0.0,
            new_words=new,
            known_words=len(call.words) - new,
            last_action=self.last_action,
            known=True,
        )

    def proposed(self, call: Call) -> Self:
        """The session after one more call was proposed."""
        return self._replace(
            calls=self.calls + 1,
            total_value=self.total_value + call.value,
            last_at=max(call.at, self.last_at),
            last_action=call.action,
            recent=_counted(self.recent, call.digest),
            actions=_counted(self.actions, call.action),
            words=_latest(self.words, call.words),
        )

    def ended(self, *, action: str, bad: bool) -> Self:
        """The session after one of its calls ended well or badly."""
        if not bad:
            return self._replace(outcomes=self.outcomes + 1, errors_in_a_row=0)
        return self._replace(
            outcomes=self.outcomes + 1,
            errors=self.errors + 1,
            errors_in_a_row=self.errors_in_a_row + 1,
            failed=_counted(self.failed, action),
        )

    def to_json(self) -> dict[str, Any]:
        """The session as plain JSON."""
        counts = {
            "recent": dict(self.recent),
            "actions": dict(self.actions),
            "failed": dict(self.failed),
        }
        return {**self._asdict(), **counts}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The session that `to_json` gave."""
        return cls(**{**stored, "words": tuple(stored["words"])})


def health_of(past: Past) -> Health | None:
    """Say how a session goes; nothing is known of a call without a session."""
    if not past.known:
        return None
    if max(past.errors_in_a_row, past.repeats, past.same_action_errors) >= _OFTEN:
        return Health.POOR
    if past.errors_in_a_row or past.repeats or past.errors * _OFTEN > past.calls:
        return Health.STRAINED
    return Health.HEALTHY


def _mark(word: str) -> int:
    return crc32(word.encode("utf-8", "surrogatepass"))


def _latest(known: tuple[int, ...], words: tuple[str, ...]) -> tuple[int, ...]:
    new = [mark for mark in dict.fromkeys(map(_mark, words)) if mark not in known]
    return (*known, *new)[-_WORDS:] if new else known


def _counted(counts: Mapping[str, int], key: str) -> dict[str, int]:
    """Count a key, and forget the one that was seen longest ago."""
    after = dict(counts)
    after[key] = after.pop(key, 0) + 1
    if len(after) > _REMEMBERED:
        del after[next(iter(after))]
    return after
