"""Recommendations change with outcomes: first review, then proceed, then stop."""

from collections.abc import Iterator

import pytest

from bighub_langgraph.core.models import Mode
from bighub_langgraph.local import LocalBighub, Settings
from bighub_langgraph.local.settings import DomainSettings
from tests.local_engine import DAY, Clock, engine, live, refund

SEVERITY = ["proceed", "proceed_with_caution", "review_recommended", "do_not_proceed"]


@pytest.fixture
def bighub() -> Iterator[LocalBighub]:
    with engine() as client:
        yield client


def test_a_new_engine_recommends_a_review(bighub: LocalBighub) -> None:
    reply = refund(bighub)
    assert reply["recommendation"] == "review_recommended"
    assert reply["requires_approval"] is reply["human_review"] is True
    assert reply["decision_intelligence"]["evidence_status"] == "none"


def test_good_outcomes_lead_to_proceed(bighub: LocalBighub) -> None:
    live(bighub, 60)
    reply = refund(bighub)
    assert reply["recommendation"] == "proceed"
    assert reply["allowed"] is True
    assert reply["requires_approval"] is False
    assert reply["risk_score"] < 0.1


def test_a_short_history_goes_to_review_with_the_number_of_outcomes_needed(
    bighub: LocalBighub,
) -> None:
    live(bighub, 20)
    reply = refund(bighub)
    assert reply["recommendation"] == "review_recommended"
    reason = "not enough history to run without approval: 20 of about 48 good outcomes needed"
    assert reason in reply["reason"]


def test_bad_outcomes_lead_to_a_stop(bighub: LocalBighub) -> None:
    live(bighub, 15, status="FRAUD")
    reply = refund(bighub)
    assert reply["recommendation"] == "do_not_proceed"
    assert reply["result"] == "blocked"


def test_a_fraud_reported_later_lowers_the_next_recommendation(bighub: LocalBighub) -> None:
    requests = live(bighub, 60)
    before = refund(bighub)
    for request_id in requests[:10]:
        bighub.outcomes.report(request_id=request_id, status="FRAUD")
    after = refund(bighub)
    assert after["risk_score"] > before["risk_score"]
    assert SEVERITY.index(after["recommendation"]) > SEVERITY.index(before["recommendation"])
    assert bighub.outcomes.get(requests[0])["status"] == "FRAUD"


def test_a_later_milder_report_does_not_replace_a_fraud(bighub: LocalBighub) -> None:
    request_id = refund(bighub)["request_id"]
    for status in ("FRAUD", "SUCCESS"):
        bighub.outcomes.report(request_id=request_id, status=status)
    assert bighub.outcomes.get(request_id)["status"] == "FRAUD"


def test_good_outcomes_of_an_action_do_not_count_for_another(bighub: LocalBighub) -> None:
    live(bighub, 60)
    reply = refund(bighub, action="delete_account", value=None)
    assert reply["recommendation"] == "review_recommended"
    assert "delete_account has 0" in reply["reason"]


def test_a_value_far_above_all_good_ones_goes_to_review(bighub: LocalBighub) -> None:
    live(bighub, 60)
    reply = refund(bighub, value=5_000.0)
    assert reply["recommendation"] == "review_recommended"
    assert reply["recommendation_confidence"] == "low"
    assert reply["intelligence"]["confidence"]["novel_situation"] is True


def test_a_target_that_went_bad_is_riskier_than_its_neighbours(bighub: LocalBighub) -> None:
    live(bighub, 60, target="alice")
    live(bighub, 6, target="mallory", status="FRAUD")
    alice, mallory = (refund(bighub, target=name)["risk_score"] for name in ("alice", "mallory"))
    assert mallory > 2 * alice


def test_outcomes_of_a_domain_do_not_count_for_another(bighub: LocalBighub) -> None:
    live(bighub, 60)
    assert refund(bighub, domain="bank")["recommendation"] == "review_recommended"


def test_denials_count_as_evidence(bighub: LocalBighub) -> None:
    for number in range(15):
        request_id = refund(bighub, number)["request_id"]
        bighub.approvals.resolve(request_id, resolution="denied")
        bighub.outcomes.report(request_id=request_id, status="BLOCKED")
    assert refund(bighub)["recommendation"] == "do_not_proceed"


def test_approvals_lower_the_risk_but_are_no_outcomes(bighub: LocalBighub) -> None:
    first = refund(bighub)
    for number in range(40):
        bighub.approvals.resolve(refund(bighub, number)["request_id"], resolution="approved")
    reply = refund(bighub)
    assert reply["risk_score"] < first["risk_score"] / 2
    assert reply["recommendation"] == "review_recommended"


def test_a_blocked_call_changes_no_risk(bighub: LocalBighub) -> None:
    first = refund(bighub)
    live(bighub, 30, status="BLOCKED")
    assert refund(bighub)["risk_score"] == first["risk_score"]


def test_a_success_counts_only_when_it_is_older_than_the_label_delay() -> None:
    clock = Clock()
    with engine(clock=clock, label_delay=DAY) as bighub:
        live(bighub, 60)
        assert refund(bighub)["recommendation"] == "review_recommended"
        clock.now += 2 * DAY
        assert refund(bighub)["recommendation"] == "proceed"


def test_a_success_that_is_corrected_within_the_label_delay_never_counts() -> None:
    clock = Clock()
    with engine(clock=clock, label_delay=DAY) as bighub:
        requests = live(bighub, 60)
        for request_id in requests:
            bighub.outcomes.report(request_id=request_id, status="CHARGEBACK")
        clock.now += 2 * DAY
        assert refund(bighub)["recommendation"] == "do_not_proceed"


def test_the_label_delay_is_learned_from_corrections() -> None:
    clock = Clock()
    with engine(clock=clock) as bighub:
        requests = live(bighub, 60)
        clock.now += 3 * DAY
        for request_id in requests[:6]:
            bighub.outcomes.report(request_id=request_id, status="FRAUD")
        (domain,) = bighub.calibration.drift()["domains"]
        assert domain["label_delay_s"] == pytest.approx(3 * DAY, abs=DAY)


def test_old_evidence_fades() -> None:
    clock = Clock()
    with engine(clock=clock, half_life=10 * DAY) as bighub:
        live(bighub, 15, status="FRAUD")
        assert refund(bighub)["recommendation"] == "do_not_proceed"
        clock.now += 200 * DAY
        assert refund(bighub)["recommendation"] == "review_recommended"


def test_a_stopped_action_goes_to_review_again_after_a_while() -> None:
    clock = Clock()
    with engine(clock=clock, reevaluate_after=7 * DAY) as bighub:
        live(bighub, 15, status="FRAUD")
        assert refund(bighub)["recommendation"] == "do_not_proceed"
        clock.now += 8 * DAY
        again = refund(bighub)
        assert again["recommendation"] == "review_recommended"
        assert "some time ago" in again["reason"]


def test_a_few_bad_first_outcomes_do_not_stop_everything() -> None:
    with engine() as bighub:
        live(bighub, 3, status="FRAUD")
        assert refund(bighub)["recommendation"] == "review_recommended"


def test_drift_is_detected_and_part_of_the_warnings() -> None:
    with engine() as bighub:
        live(bighub, 200)
        assert bighub.calibration.drift()["drift_detected"] is False
        live(bighub, 20, status="INCIDENT")
        assert bighub.calibration.drift(domain="shop")["drift_detected"] is True
        assert "outcomes have become worse lately" in refund(bighub)["warnings"]


def test_a_session_with_errors_goes_to_review() -> None:
    with engine() as bighub:
        live(bighub, 60)
        session = {"session_id": "s1", "arguments": {"amount": 20, "reason": "damaged"}}
        healthy = refund(bighub, context=session)
        assert healthy["decision_intelligence"]["trajectory_health"] == "healthy"
        for number in range(3):
            failed = refund(bighub, number, context=session)["request_id"]
            bighub.outcomes.report(request_id=failed, status="FAILURE")
        reply = refund(bighub, context=session)
        assert reply["decision_intelligence"]["trajectory_health"] == "poor"
        assert reply["recommendation"] in {"review_recommended", "do_not_proceed"}


def test_the_rationale_has_numbers_and_precedents(bighub: LocalBighub) -> None:
    requests = live(bighub, 12, target="bob")
    reply = refund(bighub, target="bob")
    intelligence = reply["decision_intelligence"]
    assert "0 of 12 known outcomes of refund went wrong" in intelligence["rationale"]
    assert {each["request_id"] for each in intelligence["precedents"]} <= set(requests)
    assert intelligence["precedents"][0]["similarity"] > 0.9


def test_a_smaller_value_with_good_outcomes_is_an_alternative(bighub: LocalBighub) -> None:
    live(bighub, 20, value=20.0)
    live(bighub, 20, value=900.0, status="FRAUD")
    reply = refund(bighub, value=900.0)
    (smaller, *_) = reply["decision_intelligence"]["alternatives"]
    assert smaller["action"].startswith("refund of at most ")
    assert smaller["estimated_risk"] < reply["risk_score"]


def test_an_enforced_domain_has_a_verdict() -> None:
    settings = Settings(domains={"bank": DomainSettings(enforcement_mode=Mode.ENFORCED)})
    with LocalBighub(settings=settings) as bighub:
        reply = refund(bighub, domain="bank")
        assert (reply["enforcement_mode"], reply["enforced_verdict"]) == (
            "enforced",
            "requires_approval",
        )
        assert refund(bighub)["enforcement_mode"] == "advisory"


def test_the_bad_rate_of_calls_executed_without_approval_stays_below_its_limit() -> None:
    with engine(max_bad_rate=0.05, label_delay=0.0) as bighub:
        executed: list[bool] = []
        for number in range(600):
            bad = number % 10 == 0 and number % 3 == 0
            risky = "rush" if bad or number % 7 == 0 else "usual"
            reply = refund(bighub, number, context={"arguments": {"kind": risky}})
            if reply["recommendation"] in SEVERITY[:2]:
                executed.append(bad)
            status = "FRAUD" if bad else "SUCCESS"
            bighub.outcomes.report(request_id=reply["request_id"], status=status)
        assert len(executed) > 200
        assert sum(executed) <= 0.05 * len(executed)
