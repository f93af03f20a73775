"""Parse BIGHUB's responses into decisions, and turn a decision into a verdict."""

import math
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from types import NoneType
from typing import Any, TypeVar

from bighub_langgraph.core.errors import EngineError, EngineUnavailable, InvalidDecisionError
from bighub_langgraph.core.jsonable import MAPPING, short_repr, to_jsonable
from bighub_langgraph.core.models import (
    Decision,
    FailMode,
    Mode,
    Recommendation,
    Verdict,
)
from bighub_langgraph.core.redaction import redact_exception

Term = TypeVar("Term", bound=StrEnum)
VERDICT_FIELDS = ("recommendation", "enforced_verdict", "enforcement_mode", "allowed", "result")


def parse_decision(response: object) -> Decision:
    """Parse BIGHUB's evaluation response.

    Raises:
        InvalidDecisionError: The response is not an object, has no verdict or request id, or
            contains something that is not JSON.
    """
    try:
        return _parse(response)
    except EngineError:
        raise
    except Exception as error:  # a client's object may raise anything from its own methods
        message = redact_exception(error)
        raise InvalidDecisionError(f"BIGHUB's reply cannot be read: {message:.80}") from error


def _parse(response: object) -> Decision:
    if not isinstance(response, MAPPING):
        raise InvalidDecisionError(
            f"BIGHUB's reply is not a JSON object but {short_repr(response)}"
        )
    if not any(response.get(name) is not None for name in VERDICT_FIELDS):
        raise InvalidDecisionError(
            f"BIGHUB's reply says nothing about the call: {short_repr(response)}"
        )
    # A JSON-compatible copy: the response is the client's object and may change later.
    reply = to_jsonable(response)
    if not _is_equal(reply, response):  # the copy has text in place of NaN and infinities
        _refuse_non_finite(response)
    intelligence = reply.get("decision_intelligence")
    return Decision(
        reply=reply,
        recommendation=_parse_term(
            reply.get("recommendation"), _RECOMMENDATIONS, Recommendation.UNKNOWN
        ),
        mode=_parse_term(reply.get("enforcement_mode"), _MODES, Mode.REVIEW),
        request_id=_parse_request_id(response),
        risk_score=_parse_risk(response),
        intelligence=intelligence if isinstance(intelligence, dict) else {},
    )


def fallback_decision(error: EngineError, fail_mode: FailMode) -> Decision:
    """Return the decision for a call that BIGHUB did not decide; its reason says so.

    `fail_mode` applies only while BIGHUB is unreachable. A request that it refused and a response
    that cannot be parsed block in every mode.
    """
    is_unavailable = isinstance(error, EngineUnavailable)
    mode = fail_mode if is_unavailable else FailMode.CLOSED
    recommendation, prefix = _FALLBACKS[mode]
    reply: dict[str, Any] = {
        "recommendation": recommendation.value,
        "enforcement_mode": Mode.ADVISORY.value,
        "reason": f"{prefix if is_unavailable else 'Blocked'}: {error}",
    }
    if mode is FailMode.REVIEW:
        reply["requires_approval"] = True
    fault = "unavailable" if is_unavailable else "refused"
    return Decision(reply=reply, recommendation=recommendation, fault=fault)


_FALLBACKS = {
    FailMode.CLOSED: (Recommendation.STOP, "Blocked without an answer (fail_mode closed)"),
    FailMode.REVIEW: (Recommendation.REVIEW, "A person decides (fail_mode review)"),
    FailMode.OPEN: (Recommendation.PROCEED, "Executed without an answer (fail_mode open)"),
}


_TERMS = frozenset(Recommendation) - {Recommendation.UNKNOWN, Recommendation.MISSING}
_RECOMMENDATIONS: dict[str | None, Recommendation] = {
    None: Recommendation.MISSING,
    **{term.value: term for term in _TERMS},
}
_MODES: dict[str | None, Mode] = {None: Mode.ADVISORY, **{mode.value: mode for mode in Mode}}


def _parse_term(value: object, terms: Mapping[str | None, Term], unknown: Term) -> Term:
    return terms.get(value, unknown) if value is None or isinstance(value, str) else unknown


def _parse_request_id(response: Mapping[str, Any]) -> str:
    value = response.get("request_id")
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    # Without it no outcome can be reported, so the service could never learn of this call.
    raise InvalidDecisionError(f"BIGHUB's reply has no request_id: {short_repr(response)}")


def _parse_risk(response: Mapping[str, Any]) -> float | None:
    risk = response.get("risk_score", response.get("risk"))
    if risk is None:
        return None
    if isinstance(risk, bool) or not isinstance(risk, int | float):
        raise InvalidDecisionError(f"BIGHUB's risk_score is not a number but {short_repr(risk)}")
    return float(risk)


def _is_equal(copy: object, response: object) -> bool:
    try:
        return bool(copy == response)
    except Exception:  # noqa: BLE001 - a client's object may define any comparison
        return False


def _refuse_non_finite(value: object) -> None:
    """Refuse NaN and infinities anywhere in a response: comparisons with them mean nothing."""
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidDecisionError(f"BIGHUB's reply holds the number {value}")
    members: Iterable[object] = ()
    if isinstance(value, MAPPING):
        members = value.values()
    elif isinstance(value, list | tuple):
        members = value
    for member in members:
        if type(member) not in _LEAVES:
            _refuse_non_finite(member)


_LEAVES = frozenset({str, bool, int, NoneType})


# -- verdict ---------------------------------------------------------------------------------------


def resolve_verdict(
    decision: Decision, floor: Verdict = Verdict.EXECUTE, minimum_mode: Mode | None = None
) -> Verdict:
    """Return what to do about a call.

    `floor` is the loosest verdict that the tool's own policy allows, `minimum_mode` the least
    binding mode that the guard accepts: a looser response is read in this mode as well.
    """
    verdict = VERDICTS[decision.mode][decision.recommendation](decision)
    if minimum_mode is not None and _MODE_ORDER.index(minimum_mode) > _MODE_ORDER.index(
        decision.mode
    ):
        verdict = strictest(verdict, VERDICTS[minimum_mode][decision.recommendation](decision))
    return strictest(floor, verdict, minimum_verdict(decision))


_MODE_ORDER = tuple(Mode)


def strictest(*verdicts: Verdict) -> Verdict:
    """Return the strictest of some verdicts."""
    return max(verdicts, key=_STRICTNESS.__getitem__)


_STRICTNESS = {verdict: rank for rank, verdict in enumerate(Verdict)}


def minimum_verdict(decision: Decision) -> Verdict:
    """Return the loosest verdict that BIGHUB's newer fields allow; they never loosen a verdict."""
    if decision.reply.keys().isdisjoint(_TIGHTENING_FIELDS):
        return Verdict.EXECUTE
    least = Verdict.REVIEW if decision.flag("needs_review") else Verdict.EXECUTE
    if decision.flag("should_not_run") or lacks_context(decision):
        least = Verdict.BLOCK
    return strictest(least, _EXECUTION_MODES.get(_execution_mode(decision), Verdict.EXECUTE))


def _execution_mode(decision: Decision) -> str:
    """Return the execution mode in the spelling of the SDK, which ignores capitals and spaces."""
    return str(decision.reply.get("execution_mode") or "").strip().lower()


# The modes that make a verdict stricter, with the synonyms that the SDK reads.
_EXECUTION_MODES = {
    "blocked": Verdict.BLOCK,
    "denied": Verdict.BLOCK,
    "needs_context": Verdict.BLOCK,
    "review": Verdict.REVIEW,
    "review_required": Verdict.REVIEW,
}

_TIGHTENING_FIELDS = (
    *("should_not_run", "needs_review", "execution_mode"),
    *("needs_more_context", "needs_context"),
)


def block_reason(decision: Decision) -> str:
    """Return why a call with this decision is blocked, in BIGHUB's words where it gave any."""
    if decision.reason:
        return decision.reason
    says = f"BIGHUB says {decision.raw_recommendation}"
    if decision.recommendation in {Recommendation.PROCEED, Recommendation.CAUTION}:
        return f"{says}, but other fields of its response do not let the call run"
    return says


def lacks_context(decision: Decision) -> bool:
    """Whether BIGHUB needs more context before it decides."""
    is_flagged = decision.flag("needs_more_context", "needs_context")
    return is_flagged or _execution_mode(decision) == "needs_context"


def _always(verdict: Verdict) -> Callable[[Decision], Verdict]:
    return lambda _: verdict


_execute = _always(Verdict.EXECUTE)
_review = _always(Verdict.REVIEW)
_block = _always(Verdict.BLOCK)


def _review_if_required(decision: Decision) -> Verdict:
    is_required = decision.flag("requires_approval", "human_review")
    return Verdict.REVIEW if is_required else Verdict.EXECUTE


def _older_fields(decision: Decision) -> Verdict:
    if decision.reply.get("allowed") is True:
        return Verdict.EXECUTE
    is_required = decision.reply.get("result") == "requires_approval"
    return Verdict.REVIEW if is_required else Verdict.BLOCK


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
        Recommendation.REVIEW: _review_if_required,
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
