"""BIGHUB's responses are parsed in one place; an unparsable one is never a permission."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bighub_langgraph.core.decision import (
    VERDICTS,
    block_reason,
    fallback_decision,
    parse_decision,
    resolve_verdict,
)
from bighub_langgraph.core.errors import EngineRequestError, EngineUnavailable, InvalidDecisionError
from bighub_langgraph.core.models import FailMode, Mode, Recommendation, Verdict
from tests.calls import decision, reply

EXECUTE, REVIEW, BLOCK = Verdict.EXECUTE, Verdict.REVIEW, Verdict.BLOCK

# The newer shape, reduced to the fields for the verdict and its explanation.
NEWER = {
    "request_id": "VAL_1010",
    "allowed": False,
    "result": "requires_approval",
    "requires_approval": True,
    "risk_score": 0.68,
    "human_review": True,
    "recommendation": "review_recommended",
    "recommendation_confidence": "high",
    "better_action": "Grant it to three users for four hours.",
    "execution_mode": "review",
    "needs_review": True,
    "should_not_run": False,
    "decision_intelligence": {
        "rationale": "The scope is broader than necessary.",
        "alternatives": [
            {"action": "Grant it to three users for four hours.", "rationale": "Less"}
        ],
    },
}


def test_a_response_of_the_newer_sdk_is_parsed() -> None:
    parsed = parse_decision(NEWER)
    assert (parsed.recommendation, parsed.mode) == (Recommendation.REVIEW, Mode.ADVISORY)
    assert (parsed.request_id, parsed.risk_score, parsed.confidence) == ("VAL_1010", 0.68, "high")
    assert parsed.reason == "The scope is broader than necessary."
    assert [row["action"] for row in parsed.alternatives] == [NEWER["better_action"]]
    assert resolve_verdict(parsed) is REVIEW


def test_a_response_of_the_older_sdk_is_parsed() -> None:
    older = {"allowed": True, "result": "allowed", "reason": "ok", "request_id": "req_1"}
    parsed = parse_decision(older)
    assert (parsed.recommendation, parsed.reason) == (Recommendation.MISSING, "ok")
    assert resolve_verdict(parsed) is EXECUTE


@pytest.mark.parametrize(
    "response",
    [
        None,
        [],
        "proceed",
        42,
        {},
        {"detail": "not found"},
        {"recommendation": "proceed"},
        {"recommendation": "proceed", "request_id": ""},
        {"recommendation": "proceed", "request_id": None},
        {"recommendation": "proceed", "request_id": True},
        reply(risk_score=float("nan")),
        reply(risk_score=float("inf")),
        reply(risk_score="low"),
        reply(risk_score=True),
        reply(intelligence={"deep": [{"score": float("-inf")}]}),
    ],
)
def test_an_unparsable_response_is_an_error(response: Any) -> None:
    with pytest.raises(InvalidDecisionError, match="BIGHUB's"):
        parse_decision(response)


class RaisingResponse(dict[str, Any]):
    """A client's response whose methods raise an exception without a text."""

    def get(self, *_: Any) -> Any:
        raise ErrorWithoutText

    def __repr__(self) -> str:
        raise ErrorWithoutText


class ErrorWithoutText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "response", [RaisingResponse(), {"recommendation": None, "x": RaisingResponse()}]
)
def test_a_response_that_raises_is_an_unparsable_one(response: Any) -> None:
    with pytest.raises(
        InvalidDecisionError, match="BIGHUB's reply cannot be read: ErrorWithoutText"
    ):
        parse_decision(response)


@pytest.mark.parametrize("word", ["PROCEED", "proceed ", "allow", "", "yes", 1, True, ["proceed"]])
@pytest.mark.parametrize("mode", [None, "advisory", "review", "enforced", "strict", 7])
def test_an_unknown_recommendation_is_never_a_permission(word: Any, mode: Any) -> None:
    parsed = parse_decision(
        reply(word, enforcement_mode=mode, enforced_verdict="allowed", allowed=True)
    )
    assert resolve_verdict(parsed) in {REVIEW, BLOCK}


@pytest.mark.parametrize("mode", ["strict", "ADVISORY", "", 3, ["advisory"]])
def test_an_unknown_mode_counts_as_review(mode: Any) -> None:
    assert decision(enforcement_mode=mode).mode is Mode.REVIEW


def test_every_mode_has_a_rule_for_every_recommendation() -> None:
    assert set(VERDICTS) == set(Mode)
    for row in VERDICTS.values():
        assert set(row) == set(Recommendation)


TABLE = [
    # mode, recommendation, further fields, verdict
    ("advisory", "proceed", {}, EXECUTE),
    ("advisory", "proceed_with_caution", {}, EXECUTE),
    ("advisory", "review_recommended", {}, EXECUTE),
    ("advisory", "review_recommended", {"requires_approval": True}, REVIEW),
    ("advisory", "review_recommended", {"human_review": True}, REVIEW),
    ("advisory", "do_not_proceed", {}, BLOCK),
    ("advisory", None, {"allowed": True}, EXECUTE),
    ("advisory", None, {"allowed": "true"}, BLOCK),
    ("advisory", None, {"allowed": False, "result": "requires_approval"}, REVIEW),
    ("advisory", None, {"allowed": False, "result": "blocked"}, BLOCK),
    (None, "proceed", {}, EXECUTE),
    ("review", "proceed", {}, EXECUTE),
    ("review", "proceed_with_caution", {}, REVIEW),
    ("review", "review_recommended", {}, REVIEW),
    ("review", "do_not_proceed", {}, BLOCK),
    ("review", None, {"allowed": True}, REVIEW),
    ("enforced", "proceed", {"enforced_verdict": "allowed"}, EXECUTE),
    ("enforced", "review_recommended", {"enforced_verdict": "proceed"}, EXECUTE),
    ("enforced", "proceed", {"enforced_verdict": "requires_approval"}, REVIEW),
    ("enforced", "proceed", {"enforced_verdict": "blocked"}, BLOCK),
    ("enforced", "proceed", {"enforced_verdict": "Allowed"}, BLOCK),
    ("enforced", "proceed", {}, BLOCK),
    ("enforced", None, {"enforced_verdict": "allowed"}, BLOCK),
    ("enforced", "whatever", {"enforced_verdict": "allowed"}, REVIEW),
    ("enforced", "whatever", {"enforced_verdict": "blocked"}, BLOCK),
    ("something else", "proceed_with_caution", {}, REVIEW),
]


@pytest.mark.parametrize(("mode", "word", "fields", "verdict"), TABLE)
def test_the_table_from_decision_to_verdict(
    mode: str | None, word: str | None, fields: dict[str, Any], verdict: Verdict
) -> None:
    assert resolve_verdict(parse_decision(reply(word, enforcement_mode=mode, **fields))) is verdict


NEWER_FIELDS = [
    ({"should_not_run": True}, BLOCK),
    ({"execution_mode": "blocked"}, BLOCK),
    ({"needs_more_context": True}, BLOCK),
    ({"needs_context": True}, BLOCK),
    ({"execution_mode": "needs_context"}, BLOCK),
    ({"needs_review": True}, REVIEW),
    ({"execution_mode": "review"}, REVIEW),
    ({"execution_mode": " Blocked "}, BLOCK),
    ({"execution_mode": "DENIED"}, BLOCK),
    ({"execution_mode": "Needs_Context"}, BLOCK),
    ({"execution_mode": "review_required"}, REVIEW),
    ({"execution_mode": "autonomous"}, EXECUTE),
    ({"should_not_run": False, "needs_review": False}, EXECUTE),
]


@pytest.mark.parametrize(("fields", "verdict"), NEWER_FIELDS)
def test_newer_fields_make_the_verdict_stricter(fields: dict[str, Any], verdict: Verdict) -> None:
    assert resolve_verdict(decision("proceed", **fields)) is verdict


def test_a_blocked_call_whose_recommendation_is_to_proceed_says_why() -> None:
    assert block_reason(decision("do_not_proceed")) == "BIGHUB says do_not_proceed"
    assert "other fields" in block_reason(decision("proceed", should_not_run=True))


@given(
    st.sampled_from([*Recommendation]),
    st.sampled_from([*Mode]),
    st.fixed_dictionaries(
        {},
        optional={
            "can_run": st.booleans(),
            "should_not_run": st.booleans(),
            "needs_review": st.booleans(),
            "execution_mode": st.sampled_from(["run", "review", "blocked"]),
        },
    ),
)
def test_newer_fields_never_make_the_verdict_looser(
    word: str, mode: str, fields: dict[str, Any]
) -> None:
    order = list(Verdict)
    without = resolve_verdict(decision(word, enforcement_mode=mode))
    with_fields = resolve_verdict(decision(word, enforcement_mode=mode, **fields))
    assert order.index(with_fields) >= order.index(without)


def test_settings_of_the_guard_make_the_verdict_stricter() -> None:
    caution = decision("proceed_with_caution")
    assert resolve_verdict(caution) is EXECUTE
    assert resolve_verdict(caution, REVIEW) is REVIEW
    assert resolve_verdict(caution, minimum_mode=Mode.REVIEW) is REVIEW
    assert resolve_verdict(caution, minimum_mode=Mode.ADVISORY) is EXECUTE


def test_a_minimum_mode_that_the_response_already_has_changes_nothing() -> None:
    bound = decision("review_recommended", enforcement_mode="enforced", enforced_verdict="allowed")
    assert resolve_verdict(bound, minimum_mode=Mode.REVIEW) is EXECUTE


@pytest.mark.parametrize(
    ("mode", "verdict", "word"),
    [
        (FailMode.CLOSED, BLOCK, "do_not_proceed"),
        (FailMode.REVIEW, REVIEW, "review_recommended"),
        (FailMode.OPEN, EXECUTE, "proceed"),
    ],
)
def test_while_bighub_is_unreachable_the_fail_mode_decides_and_the_reason_names_it(
    mode: FailMode, verdict: Verdict, word: str
) -> None:
    fallback = fallback_decision(EngineUnavailable("connection refused"), mode)
    assert resolve_verdict(fallback) is verdict
    assert fallback.reply["recommendation"] == word
    assert fallback.reply["enforcement_mode"] == "advisory"
    assert "connection refused" in fallback.reason
    assert mode.value in fallback.reason
    assert fallback.request_id is None
    json.dumps(fallback.reply)


@pytest.mark.parametrize("error", [EngineRequestError("401"), InvalidDecisionError("<html>")])
@pytest.mark.parametrize("mode", list(FailMode))
def test_refused_requests_and_unparsable_responses_block_in_every_mode(
    error: Any, mode: FailMode
) -> None:
    assert resolve_verdict(fallback_decision(error, mode)) is BLOCK


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
FIELDS = [
    *("recommendation", "enforcement_mode", "enforced_verdict", "allowed", "result"),
    *("requires_approval", "human_review", "request_id", "risk_score", "should_not_run"),
    *("needs_review", "execution_mode", "decision_intelligence"),
]


@given(
    JSON | st.dictionaries(st.sampled_from(FIELDS), JSON | st.sampled_from(["proceed", "review"]))
)
def test_any_json_leads_to_a_verdict_or_an_error_and_never_to_a_crash(response: Any) -> None:
    try:
        parsed = parse_decision(response)
    except InvalidDecisionError:
        return
    assert resolve_verdict(parsed) in Verdict
    assert isinstance(parsed.reason, str)
    assert isinstance(list(parsed.alternatives), list)
