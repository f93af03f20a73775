"""From a decision to a verdict: one row a mode, one column a recommendation."""

from collections.abc import Callable

from bighub_langgraph.core.decision import Decision
from bighub_langgraph.core.words import Mode, Recommendation, Verdict, tightest


def resolve(
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
        said = tightest(said, VERDICTS[least][decision.recommendation](decision))
    least_said = tightened(decision)
    return said if floor is said is least_said else tightest(floor, said, least_said)


_BINDING = tuple(Mode)


def tightened(decision: Decision) -> Verdict:
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
    return tightest(Verdict.REVIEW, _enforced_verdict(decision))


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
