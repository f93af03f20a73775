"""What BIGHUB thinks of a call: its replies, of both SDK lines, are read here and nowhere else."""

import math
from collections.abc import Callable, Iterable, Mapping
from types import NoneType
from typing import Any

from bighub_langgraph.core.errors import EngineError, EngineUnavailable, InvalidDecisionError
from bighub_langgraph.core.jsonable import MAPPING, to_jsonable
from bighub_langgraph.core.models import (
    Decision,
    FailMode,
    Mode,
    Recommendation,
    Verdict,
    strictest,
)
from bighub_langgraph.core.redaction import redact_exception

VERDICT_FIELDS = ("recommendation", "enforced_verdict", "enforcement_mode", "allowed", "result")


def parse_decision(reply: object) -> Decision:
    """Read a reply of BIGHUB. What cannot be read is an error, never a permission."""
    try:
        return _read(reply)
    except EngineError:
        raise
    except Exception as error:  # a client's object may raise anything from its own methods
        told = redact_exception(error)
        raise InvalidDecisionError(f"BIGHUB's reply cannot be read: {told:.80}") from error


def _read(reply: object) -> Decision:
    if not isinstance(reply, MAPPING):
        raise InvalidDecisionError(f"BIGHUB's reply is not a JSON object but {_shown(reply)}")
    if _says_nothing(reply):
        raise InvalidDecisionError(f"BIGHUB's reply says nothing about the call: {_shown(reply)}")
    # A copy, in plain JSON: the reply is the client's object, and a decision is made once.
    said = to_jsonable(reply)
    if not _alike(said, reply):  # what is no number in JSON is a word in the copy
        _refuse_endless(reply)
    intelligence = said.get("decision_intelligence")
    return Decision(
        reply=said,
        recommendation=_recommendation(reply.get("recommendation")),
        mode=_mode(reply.get("enforcement_mode")),
        request_id=_request_id(reply),
        risk_score=_risk(reply),
        intelligence=intelligence if isinstance(intelligence, dict) else {},
    )


def fallback_decision(error: EngineError, fail_mode: FailMode) -> Decision:
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
    raise InvalidDecisionError(f"BIGHUB's reply has no request_id: {_shown(reply)}")


def _risk(reply: Mapping[str, Any]) -> float | None:
    risk = reply.get("risk_score", reply.get("risk"))
    if risk is None or type(risk) is float:
        return risk
    if isinstance(risk, bool) or not isinstance(risk, int | float):
        raise InvalidDecisionError(f"BIGHUB's risk_score is not a number but {_shown(risk)}")
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
            raise InvalidDecisionError(f"BIGHUB's reply holds the number {value}")
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


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - one line of a terminal


def resolve_verdict(
    decision: Decision, floor: Verdict = Verdict.EXECUTE, least: Mode | None = None
) -> Verdict:
    """Say what to do about a call.

    Args:
        decision: What BIGHUB thinks of it.
        floor: The least careful verdict the tool's own policy allows.
        least: The least binding mode the guard accepts; a looser reply is read in this mode too.
    """
    said = VERDICTS[decision.mode][decision.recommendation](decision)
    if least is not None and _BINDING.index(least) > _BINDING.index(decision.mode):
        said = strictest(said, VERDICTS[least][decision.recommendation](decision))
    least_said = minimum_verdict(decision)
    return said if floor is said is least_said else strictest(floor, said, least_said)


_BINDING = tuple(Mode)


def minimum_verdict(decision: Decision) -> Verdict:
    """What BIGHUB's newer fields demand at least; they never loosen a verdict."""
    if decision.reply.keys().isdisjoint(_TIGHTENING):
        return Verdict.EXECUTE
    execution_mode = decision.reply.get("execution_mode")
    if decision.flag("should_not_run") or execution_mode == "blocked" or lacks_context(decision):
        return Verdict.BLOCK
    if decision.flag("needs_review") or execution_mode == "review":
        return Verdict.REVIEW
    return Verdict.EXECUTE


_TIGHTENING = (
    *("should_not_run", "needs_review", "execution_mode"),
    *("needs_more_context", "needs_context"),
)


def lacks_context(decision: Decision) -> bool:
    """Whether BIGHUB wants to know more before it decides."""
    asked = decision.flag("needs_more_context", "needs_context")
    return asked or decision.reply.get("execution_mode") == "needs_context"


def _always(verdict: Verdict) -> Callable[[Decision], Verdict]:
    return lambda _: verdict


_execute = _always(Verdict.EXECUTE)
_review = _always(Verdict.REVIEW)
_block = _always(Verdict.BLOCK)


def _review_if_asked_for(decision: Decision) -> Verdict:
    wanted = decision.flag("requires_approval", "human_review")
    return Verdict.REVIEW if wanted else Verdict.EXECUTE


def _older_fields(decision: Decision) -> Verdict:
    if decision.reply.get("allowed") is True:
        return Verdict.EXECUTE
    wanted = decision.reply.get("result") == "requires_approval"
    return Verdict.REVIEW if wanted else Verdict.BLOCK


def _enforced_verdict(decision: Decision) -> Verdict:
    match decision.reply.get("enforced_verdict"):
        case "allowed" | "proceed":
            return Verdict.EXECUTE
        case "requires_approval":
            return Verdict.REVIEW
        case _:
            return Verdict.BLOCK


def _enforced_at_least_review(decision: Decision) -> Verdict:
    return strictest(Verdict.REVIEW, _enforced_verdict(decision))


VERDICTS: dict[Mode, dict[Recommendation, Callable[[Decision], Verdict]]] = {
    Mode.ADVISORY: {
        Recommendation.PROCEED: _execute,
        Recommendation.CAUTION: _execute,
        Recommendation.REVIEW: _review_if_asked_for,
        Recommendation.STOP: _block,
        Recommendation.UNKNOWN: _review,
        Recommendation.MISSING: _older_fields,
    },
    Mode.REVIEW: {
        Recommendation.PROCEED: _execute,
        Recommendation.CAUTION: _review,
        Recommendation.REVIEW: _review,
        Recommendation.STOP: _block,
        Recommendation.UNKNOWN: _review,
        Recommendation.MISSING: _review,
    },
    Mode.ENFORCED: {
        Recommendation.PROCEED: _enforced_verdict,
        Recommendation.CAUTION: _enforced_verdict,
        Recommendation.REVIEW: _enforced_verdict,
        Recommendation.STOP: _enforced_verdict,
        Recommendation.UNKNOWN: _enforced_at_least_review,
        Recommendation.MISSING: _block,
    },
}
