"""What BIGHUB thinks of a call: its replies, of both SDK lines, are read here and nowhere else."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

from bighub_langgraph.core.changing import made
from bighub_langgraph.core.errors import EngineError, EngineUnavailable, UnreadableDecision
from bighub_langgraph.core.plain import MAPPING, plain
from bighub_langgraph.core.redaction import redacted_error
from bighub_langgraph.core.words import FailMode, Mode, Recommendation

VERDICT_FIELDS = ("recommendation", "enforced_verdict", "enforcement_mode", "allowed", "result")


@dataclass(frozen=True)
class Decision:
    """BIGHUB's opinion of one call.

    Attributes:
        reply: BIGHUB's own reply, whole; or what stands in for it when there is none.
        recommendation: Its recommendation; `UNKNOWN` for a word that is none of the four.
        mode: How binding it is; a missing field is advisory, a word we do not know is review.
        request_id: BIGHUB's id of the evaluation; None when BIGHUB gave no readable answer.
        risk_score: From 0 (none) to 1, if given.
        fault: What stood in the way of an answer: nothing, "unavailable" or "refused".
    """

    reply: Mapping[str, Any]
    recommendation: Recommendation = Recommendation.MISSING
    mode: Mode = Mode.ADVISORY
    request_id: str | None = None
    risk_score: float | None = None
    fault: str = ""
    intelligence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def word(self) -> str:
        """The recommendation as BIGHUB wrote it."""
        return str(self.reply.get("recommendation") or self.recommendation)

    @property
    def confidence(self) -> str | None:
        """BIGHUB's confidence: high, medium or low; a number from newer services, as text."""
        said = self.reply.get("recommendation_confidence", self.reply.get("confidence"))
        return None if said is None else str(said)

    @property
    def reason(self) -> str:
        """Why, in BIGHUB's words."""
        return str(self.intelligence.get("rationale") or self.reply.get("reason") or "")

    @property
    def alternatives(self) -> Sequence[Mapping[str, Any]]:
        """What BIGHUB would rather see done, each with an `action` and perhaps a `rationale`."""
        listed = _mappings(self.intelligence.get("alternatives"))
        better = self.reply.get("better_action")
        if better and not any(one.get("action") == better for one in listed):
            return ({"action": better}, *listed)
        return listed

    @property
    def precedents(self) -> Sequence[Mapping[str, Any]]:
        """Earlier calls like this one, as far as BIGHUB lists them."""
        return _mappings(self.intelligence.get("precedents"))

    @property
    def trajectory_health(self) -> str | None:
        """How the session is going so far, in BIGHUB's word."""
        said = self.intelligence.get("trajectory_health")
        if said is None and (older := self.reply.get("intelligence")) is not None:
            said = older.get("trajectory_health") if isinstance(older, MAPPING) else None
        return None if said is None else str(said)

    def flag(self, *names: str) -> bool:
        """Whether the reply sets any of these fields to something true."""
        for name in names:  # noqa: SIM110 - asked several times a call: `any` would cost as much again
            if self.reply.get(name):
                return True
        return False


def parse_decision(reply: object) -> Decision:
    """Read a reply of BIGHUB. What cannot be read is an error, never a permission."""
    try:
        return _read(reply)
    except EngineError:
        raise
    except Exception as error:  # a client's object may raise anything from its own methods
        told = redacted_error(error)
        raise UnreadableDecision(f"BIGHUB's reply cannot be read: {told:.80}") from error


def _read(reply: object) -> Decision:
    if not isinstance(reply, MAPPING):
        raise UnreadableDecision(f"BIGHUB's reply is not a JSON object but {_shown(reply)}")
    if _says_nothing(reply):
        raise UnreadableDecision(f"BIGHUB's reply says nothing about the call: {_shown(reply)}")
    # A copy, in plain JSON: the reply is the client's object, and a decision is made once.
    said = plain(reply)
    if not _alike(said, reply):  # what is no number in JSON is a word in the copy
        _refuse_endless(reply)
    intelligence = said.get("decision_intelligence")
    return made(
        Decision,
        reply=said,
        recommendation=_recommendation(reply.get("recommendation")),
        mode=_mode(reply.get("enforcement_mode")),
        request_id=_request_id(reply),
        risk_score=_risk(reply),
        intelligence=intelligence if isinstance(intelligence, dict) else {},
    )


def no_decision(error: EngineError, fail_mode: FailMode) -> Decision:
    """What stands in for a decision when BIGHUB gave none; the reason says so.

    `fail_mode` counts only while BIGHUB is away. A request that it refused and a reply that cannot
    be read are blocked in every mode.
    """
    away = isinstance(error, EngineUnavailable)
    mode = fail_mode if away else FailMode.CLOSED
    recommendation, wording = _WITHOUT_ANSWER[mode]
    reply: dict[str, Any] = {
        "recommendation": recommendation.value,
        "enforcement_mode": Mode.ADVISORY.value,
        "reason": f"{wording if away else 'Blocked'}: {error}",
    }
    if mode is FailMode.REVIEW:
        reply["requires_approval"] = True
    fault = "unavailable" if away else "refused"
    return Decision(reply=reply, recommendation=recommendation, fault=fault)


_WITHOUT_ANSWER = {
    FailMode.CLOSED: (Recommendation.STOP, "Blocked without an answer (fail_mode closed)"),
    FailMode.REVIEW: (Recommendation.REVIEW, "A person decides (fail_mode review)"),
    FailMode.OPEN: (Recommendation.PROCEED, "Executed without an answer (fail_mode open)"),
}


def _recommendation(word: object) -> Recommendation:
    if word is None:
        return Recommendation.MISSING
    return _RECOMMENDED.get(word, _UNKNOWN) if isinstance(word, str) else _UNKNOWN


_UNKNOWN = Recommendation.UNKNOWN
_RECOMMENDED: Mapping[str, Recommendation] = {
    one.value: one for one in Recommendation if one not in {_UNKNOWN, Recommendation.MISSING}
}


def _mode(word: object) -> Mode:
    if word is None:
        return Mode.ADVISORY
    return _MODES.get(word, Mode.REVIEW) if isinstance(word, str) else Mode.REVIEW


_MODES: Mapping[str, Mode] = {one.value: one for one in Mode}


def _request_id(reply: Mapping[str, Any]) -> str:
    said = reply.get("request_id")
    if isinstance(said, str) and said.strip():
        return said
    if isinstance(said, int) and not isinstance(said, bool):
        return str(said)
    # Without it no outcome can be reported, so the service could never learn of this call.
    raise UnreadableDecision(f"BIGHUB's reply has no request_id: {_shown(reply)}")


def _risk(reply: Mapping[str, Any]) -> float | None:
    risk = reply.get("risk_score", reply.get("risk"))
    if risk is None or type(risk) is float:
        return risk
    if isinstance(risk, bool) or not isinstance(risk, int | float):
        raise UnreadableDecision(f"BIGHUB's risk_score is not a number but {_shown(risk)}")
    return float(risk)


def _says_nothing(reply: Mapping[str, Any]) -> bool:
    for name in VERDICT_FIELDS:  # noqa: SIM110 - mostly the first is there: `all` would cost more
        if reply.get(name) is not None:
            return False
    return True


def _alike(said: object, reply: object) -> bool:
    try:
        return bool(said == reply)
    except Exception:  # noqa: BLE001 - a client's object may compare itself in any way
        return False


def _refuse_endless(value: object) -> None:
    """Refuse NaN and infinities anywhere in a reply: no rule of ours is true of them."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UnreadableDecision(f"BIGHUB's reply holds the number {value}")
    elif isinstance(value, MAPPING):
        _refuse_endless_in(value.values())
    elif isinstance(value, list | tuple):
        _refuse_endless_in(value)


def _refuse_endless_in(values: Iterable[object]) -> None:
    for one in values:
        if type(one) is float:
            if not math.isfinite(one):
                _refuse_endless(one)
        elif type(one) not in _ENDS:
            _refuse_endless(one)


_ENDS = frozenset({str, bool, int, NoneType})


def _mappings(value: object) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(value, list | tuple):
        return ()
    return tuple(one for one in value if isinstance(one, Mapping))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - one line of a terminal
