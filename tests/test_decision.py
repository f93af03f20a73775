"""What BIGHUB says is read in one place; what cannot be read is never a permission."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bighub_langgraph.core.decision import (
    VERDICTS,
    fallback_decision,
    parse_decision,
    resolve_verdict,
)
from bighub_langgraph.core.errors import EngineRequestError, EngineUnavailable, InvalidDecisionError
from bighub_langgraph.core.models import FailMode, Mode, Recommendation, Verdict
from tests.calls import decision, reply

EXECUTE, REVIEW, BLOCK = Verdict.EXECUTE, Verdict.REVIEW, Verdict.BLOCK

# The newer shape, cut down to what decides and what explains.
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


def test_a_reply_of_the_newer_sdk_is_read() -> None:
    read = parse_decision(NEWER)
    assert (read.recommendation, read.mode) == (Recommendation.REVIEW, Mode.ADVISORY)
    assert (read.request_id, read.risk_score, read.confidence) == ("VAL_1010", 0.68, "high")
    assert read.reason == "The scope is broader than necessary."
    assert [one["action"] for one in read.alternatives] == [NEWER["better_action"]]
    assert resolve_verdict(read) is REVIEW


def test_a_reply_of_the_older_sdk_is_read() -> None:
    older = {"allowed": True, "result": "allowed", "reason": "ok", "request_id": "req_1"}
    read = parse_decision(older)
    assert (read.recommendation, read.reason) == (Recommendation.MISSING, "ok")
    assert resolve_verdict(read) is EXECUTE


@pytest.mark.parametrize(
    "said",
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
def test_what_cannot_be_read_is_an_error(said: Any) -> None:
    with pytest.raises(InvalidDecisionError, match="BIGHUB's"):
        parse_decision(said)


class Unreadable(dict[str, Any]):
    """A client's reply whose methods raise what cannot even be put in words."""

    def get(self, *_: Any) -> Any:
        raise Mute

    def __repr__(self) -> str:
        raise Mute


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("said", [Unreadable(), {"recommendation": None, "x": Unreadable()}])
def test_a_reply_that_raises_is_an_error_like_any_other(said: Any) -> None:
    with pytest.raises(InvalidDecisionError, match="BIGHUB's reply cannot be read: Mute"):
        parse_decision(said)


@pytest.mark.parametrize("word", ["PROCEED", "proceed ", "allow", "", "yes", 1, True, ["proceed"]])
@pytest.mark.parametrize("mode", [None, "advisory", "review", "enforced", "strict", 7])
def test_a_recommendation_that_is_none_of_the_four_words_is_never_a_permission(
    word: Any, mode: Any
) -> None:
    read = parse_decision(
        reply(word, enforcement_mode=mode, enforced_verdict="allowed", allowed=True)
    )
    assert resolve_verdict(read) in {REVIEW, BLOCK}


@pytest.mark.parametrize("mode", ["strict", "ADVISORY", "", 3, ["advisory"]])
def test_a_mode_we_do_not_know_is_read_as_review(mode: Any) -> None:
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
    ({"should_not_run": False, "needs_review": False}, EXECUTE),
]


@pytest.mark.parametrize(("fields", "verdict"), NEWER_FIELDS)
def test_newer_fields_tighten(fields: dict[str, Any], verdict: Verdict) -> None:
    assert resolve_verdict(decision("proceed", **fields)) is verdict


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
def test_newer_fields_never_loosen(word: str, mode: str, fields: dict[str, Any]) -> None:
    order = list(Verdict)
    without = resolve_verdict(decision(word, enforcement_mode=mode))
    within = resolve_verdict(decision(word, enforcement_mode=mode, **fields))
    assert order.index(within) >= order.index(without)


def test_the_guards_own_settings_tighten_too() -> None:
    caution = decision("proceed_with_caution")
    assert resolve_verdict(caution) is EXECUTE
    assert resolve_verdict(caution, REVIEW) is REVIEW
    assert resolve_verdict(caution, minimum_mode=Mode.REVIEW) is REVIEW
    assert resolve_verdict(caution, minimum_mode=Mode.ADVISORY) is EXECUTE


def test_a_minimum_mode_that_the_reply_already_has_changes_nothing() -> None:
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
def test_while_bighub_is_away_the_fail_mode_decides_and_says_so(
    mode: FailMode, verdict: Verdict, word: str
) -> None:
    stand_in = fallback_decision(EngineUnavailable("connection refused"), mode)
    assert resolve_verdict(stand_in) is verdict
    assert stand_in.reply["recommendation"] == word
    assert stand_in.reply["enforcement_mode"] == "advisory"
    assert "connection refused" in stand_in.reason
    assert mode.value in stand_in.reason
    assert stand_in.request_id is None
    json.dumps(stand_in.reply)


@pytest.mark.parametrize("error", [EngineRequestError("401"), InvalidDecisionError("<html>")])
@pytest.mark.parametrize("mode", list(FailMode))
def test_our_own_mistakes_and_unreadable_replies_block_in_every_mode(
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
def test_any_json_is_a_verdict_or_an_error_and_never_a_crash(said: Any) -> None:
    try:
        read = parse_decision(said)
    except InvalidDecisionError:
        return
    assert resolve_verdict(read) in Verdict
    assert isinstance(read.reason, str)
    assert isinstance(list(read.alternatives), list)
