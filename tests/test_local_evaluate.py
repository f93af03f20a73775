"""Recommendations change with outcomes: first review, then proceed, then stop."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from bighub_langgraph.core.models import Mode
from bighub_langgraph.local import LocalBighub, Settings
from bighub_langgraph.local.scoring.regression import logit
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
    reason = "not enough history to run without approval: 20 of about 33 good outcomes needed"
    assert reason in reply["reason"]


def test_with_bad_outcomes_no_number_of_good_outcomes_is_called_enough(
    bighub: LocalBighub,
) -> None:
    live(bighub, 28)
    live(bighub, 1, status="FRAUD", target="mallory", value=24.0)
    reason = refund(bighub)["reason"]
    assert "1 of 29 known outcomes" in reason
    assert "good outcomes needed" not in reason


def test_with_the_defaults_33_good_outcomes_let_a_call_run_without_approval(
    bighub: LocalBighub,
) -> None:
    for _ in range(33):
        reply = refund(bighub)
        assert reply["recommendation"] == "review_recommended"
        bighub.outcomes.report(request_id=reply["request_id"], status="SUCCESS")
    assert refund(bighub)["recommendation"] == "proceed"


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


@pytest.mark.parametrize("last", ["SUCCESS", "FRAUD", "DISPUTE", "CANCELLED", "UNKNOWN"])
@pytest.mark.parametrize("first", ["SUCCESS", "FRAUD", "DISPUTE"])
def test_the_last_report_counts_as_if_it_had_been_the_only_one(first: str, last: str) -> None:
    replies = []
    for statuses in ([first, last], [last]):
        with engine(clock=Clock(step=0.0), label_delay=0.0) as bighub:
            live(bighub, 10)
            requests = [refund(bighub, number)["request_id"] for number in range(10)]
            for status in statuses:
                for request_id in requests:
                    view = bighub.outcomes.report(request_id=request_id, status=status)
                    assert view["accepted"] is True
            assert bighub.outcomes.get(requests[0])["status"] == last
            replies.append(refund(bighub))
    reply_after_correction, at_once = replies
    assert reply_after_correction["recommendation"] == at_once["recommendation"]
    assert abs(logit(reply_after_correction["risk_score"]) - logit(at_once["risk_score"])) < 0.5
    for name in ("evidence_count", "drift"):
        intelligence = [reply["decision_intelligence"][name] for reply in replies]
        assert intelligence[0] == intelligence[1]


def test_what_an_adapter_reports_of_the_execution_replaces_nothing_that_was_found_out(
    bighub: LocalBighub,
) -> None:
    request_id = refund(bighub)["request_id"]
    bighub.outcomes.report(request_id=request_id, status="FRAUD")
    view = bighub.outcomes.report(
        request_id=request_id,
        status="SUCCESS",
        production_action="refund",
        details={"idempotency_key": "k"},
    )
    assert view["accepted"] is False
    assert view["warning"] == "FRAUD was reported before and stays"
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


NOVEL_CALLS: dict[str, tuple[dict[str, Any], str]] = {
    "a value above the largest": ({"value": 27.0}, "the largest refund so far 26.00"),
    "a value far above": ({"value": 1_000_000.0}, "the largest refund so far 26.00"),
    "a target": ({"target": "mallory"}, "first time to this recipient"),
    "a recipient among the arguments": (
        {"context": {"arguments": {"to": "mallory", "amount": 20}}},
        "first time with to 'mallory'",
    ),
    "another argument": (
        {"context": {"arguments": {"to": "bob", "amount": 20, "express": 1}}},
        "first time with these arguments",
    ),
    "a number in the arguments": (
        {"context": {"arguments": {"to": "bob", "amount": 20_000}}},
        "amount of 20000 is new",
    ),
}


def live_with_few_recipients(client: LocalBighub, times: int) -> None:
    for number in range(times):
        person = ("bob", "carol", "dave")[number % 3]
        arguments = {"to": person, "amount": 20 + number % 7}
        live(client, 1, target=person, value=20.0 + number % 7, context={"arguments": arguments})


@pytest.mark.parametrize(("changes", "reason"), list(NOVEL_CALLS.values()), ids=list(NOVEL_CALLS))
def test_what_is_new_about_a_call_goes_to_review_however_well_the_others_went(
    bighub: LocalBighub, changes: dict[str, Any], reason: str
) -> None:
    live_with_few_recipients(bighub, 80)
    usual: dict[str, Any] = {"target": "bob", "context": {"arguments": {"to": "bob", "amount": 20}}}
    assert refund(bighub, **usual)["recommendation"] == "proceed"
    reply = refund(bighub, **{**usual, **changes})
    assert reply["recommendation"] == "review_recommended"
    assert reason in reply["reason"]
    assert reply["risk_score"] >= 0.1


@pytest.mark.parametrize(
    "changes", [call for call, _ in NOVEL_CALLS.values()], ids=list(NOVEL_CALLS)
)
def test_what_was_new_and_went_wrong_is_not_familiar(
    bighub: LocalBighub, changes: dict[str, Any]
) -> None:
    live_with_few_recipients(bighub, 80)
    usual = {"target": "bob", "context": {"arguments": {"to": "bob", "amount": 20}}}
    before = refund(bighub, **{**usual, **changes})
    bighub.outcomes.report(request_id=before["request_id"], status="FRAUD")
    after = refund(bighub, **{**usual, **changes})
    assert after["intelligence"]["confidence"]["novel_situation"] is True
    assert after["recommendation"] == "review_recommended"
    assert after["risk_score"] > before["risk_score"]
    assert "first time" not in after["reason"]


def test_a_bad_outcome_extends_no_range_of_a_number(bighub: LocalBighub) -> None:
    live_with_few_recipients(bighub, 80)  # with amounts up to 26

    def pay(amount: int) -> dict[str, Any]:
        context = {"arguments": {"to": "bob", "amount": amount}}
        return refund(bighub, target="bob", context=context)

    bighub.outcomes.report(request_id=pay(43)["request_id"], status="FRAUD")
    assert "amount of 60 is new: the largest so far 26" in pay(60)["reason"]


def test_calls_that_are_new_in_one_way_run_when_enough_of_them_went_well(
    bighub: LocalBighub,
) -> None:
    live_with_few_recipients(bighub, 150)
    for number in range(60):
        arguments = {"to": "bob", "amount": 20}
        live(bighub, 1, target=f"new {number}", context={"arguments": arguments})
    context = {"arguments": {"to": "bob", "amount": 20}}
    assert refund(bighub, target="another", context=context)["recommendation"] == "proceed"
    large = refund(bighub, value=900.0, target="bob", context=context)
    assert large["recommendation"] == "review_recommended"


@pytest.mark.parametrize("step", [1.0, 3_600.0])
def test_calls_that_go_wrong_only_when_nobody_watches_are_paused(step: float) -> None:
    with engine(label_delay=0.0, clock=Clock(step=step)) as bighub:
        executions = 0
        for number in range(600):
            reply = refund(bighub, number, target=None)
            alone = reply["recommendation"] in SEVERITY[:2]
            executions += alone
            if not alone:
                bighub.approvals.resolve(reply["request_id"], resolution="approved")
            status = "FRAUD" if alone else "SUCCESS"
            bighub.outcomes.report(request_id=reply["request_id"], status=status)
        assert 0 < executions <= 10
        reply = refund(bighub, target=None)
        assert "calls that ran without approval went wrong: paused" in reply["reason"]
        feedback = bighub.calibration.feedback()["message"]
        assert f"of {executions} that ran without approval {executions} went wrong" in feedback
        (domain,) = bighub.calibration.drift()["domains"]
        assert (domain["automatic_good"], domain["automatic_bad"]) == (0, executions)
        assert domain["paused_until"] is not None
        assert executions <= 4 or step > 1


@pytest.mark.parametrize(("delay", "warns"), [(None, True), (0.0, False), (DAY, False)])
def test_calls_with_a_value_warn_while_no_label_delay_is_set(
    delay: float | None, *, warns: bool
) -> None:
    with engine(label_delay=delay) as bighub:
        texts = [" ".join(refund(bighub, value=value)["warnings"]) for value in (20.0, None)]
        assert ["label_delay is not set" in text for text in texts] == [warns, False]


def test_calls_without_an_outcome_that_should_be_known_are_counted_as_pending() -> None:
    clock = Clock()
    with engine(clock=clock, label_delay=DAY) as bighub:
        live(bighub, 60)
        clock.now += 2 * DAY
        assert [refund(bighub, number)["result"] for number in range(3)] == ["allowed"] * 3
        pending = [bighub.calibration.drift()["domains"][0]["pending_labels"]]
        clock.now += 2 * DAY
        pending.append(bighub.calibration.drift()["domains"][0]["pending_labels"])
        assert pending == [0, 3]


def test_some_calls_of_a_stopped_action_go_to_a_person_the_same_ones_all_day() -> None:
    with engine() as bighub:
        live(bighub, 40, status="FRAUD")
        replies = [
            [refund(bighub, number, target=f"t{number}")["recommendation"] for number in range(200)]
            for _ in range(2)
        ]
        assert replies[0] == replies[1]
        assert 1 <= replies[0].count("review_recommended") <= 30
        assert replies[0].count("do_not_proceed") >= 170
        bighub.kill_switch.activate({"reason": "stop"})
        results = {refund(bighub, number, target=f"t{number}")["result"] for number in range(200)}
        assert results == {"blocked"}


def test_no_alternative_names_another_target(bighub: LocalBighub) -> None:
    live(bighub, 30, target="alice@example.com", value=900.0)
    live(bighub, 30, target="mallory", value=900.0, status="FRAUD")
    reply = refund(bighub, target="mallory", value=900.0)
    assert "alice" not in str(reply["decision_intelligence"]["alternatives"])
    assert "alice" not in str([reply["better_action"], reply["decision_packet"]])


def test_other_domains_change_nothing_but_the_rate_a_new_one_starts_with() -> None:
    risks = []
    for corrections in (0, 40):
        with engine(clock=Clock(step=0.0), label_delay=0.0) as bighub:
            live(bighub, 30, action="pay")
            live(bighub, 20, action="wire", status="FAILURE")
            requests = live(bighub, corrections, domain="bank")
            for request_id in requests:
                bighub.outcomes.report(request_id=request_id, status="FRAUD")
            risks.append([refund(bighub, action=name)["risk_score"] for name in ("pay", "wire")])
    assert risks[0] == risks[1]


def test_a_target_that_went_bad_is_riskier_than_its_neighbours(bighub: LocalBighub) -> None:
    live(bighub, 60, target="alice")
    live(bighub, 6, target="mallory", status="FRAUD")
    alice, mallory = (refund(bighub, target=name)["risk_score"] for name in ("alice", "mallory"))
    assert mallory > 2 * alice


def test_outcomes_of_a_domain_do_not_count_for_another(bighub: LocalBighub) -> None:
    live(bighub, 60)
    assert refund(bighub, domain="bank")["recommendation"] == "review_recommended"


@pytest.mark.parametrize("answer", ["approved", "denied"])
def test_answers_of_people_are_no_outcomes_and_never_stop_an_action(
    bighub: LocalBighub, answer: str
) -> None:
    first = refund(bighub)
    for number in range(40):
        request_id = refund(bighub, number)["request_id"]
        bighub.approvals.resolve(request_id, resolution=answer)
        bighub.outcomes.report(request_id=request_id, status="BLOCKED")
    reply = refund(bighub)
    assert reply["recommendation"] == "review_recommended"
    assert reply["risk_score"] == first["risk_score"]
    rationale = reply["decision_intelligence"]["rationale"]
    assert "went wrong" not in rationale
    assert ("40 denials" in rationale) is (answer == "denied")


def test_refused_calls_lead_to_reviews_of_calls_like_them_for_a_while() -> None:
    clock = Clock()
    with engine(clock=clock) as bighub:
        live(bighub, 60)
        for number in range(20):
            request_id = refund(bighub, number)["request_id"]
            bighub.approvals.resolve(request_id, resolution="denied")
        reply = refund(bighub)
        assert reply["recommendation"] == "review_recommended"
        assert "people have refused calls like it" in reply["reason"]
        assert "0 of 60 known outcomes of refund went wrong" in reply["reason"]
        clock.now += 60 * DAY
        assert refund(bighub)["recommendation"] == "proceed"


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
            failed_id = refund(bighub, number, context=session)["request_id"]
            bighub.outcomes.report(request_id=failed_id, status="FAILURE")
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
        executions: list[bool] = []
        for number in range(600):
            bad = number % 10 == 0 and number % 3 == 0
            risky = "rush" if bad or number % 7 == 0 else "usual"
            reply = refund(bighub, number, context={"arguments": {"kind": risky}})
            if reply["recommendation"] in SEVERITY[:2]:
                executions.append(bad)
            status = "FRAUD" if bad else "SUCCESS"
            bighub.outcomes.report(request_id=reply["request_id"], status=status)
        assert len(executions) > 200
        assert sum(executions) <= 0.05 * len(executions)


@pytest.mark.parametrize("matters_together", [False, True])
def test_precedents_count_as_much_as_they_foretell(*, matters_together: bool) -> None:
    """Similar calls decide where only they can, and chance among them does not move the risk."""
    chance, risks = random.Random(0), dict[str, list[float]]()
    with engine(label_delay=0.0) as bighub:
        for number in range(600):
            x, y = chance.choice("ab"), chance.choice("cd")
            arguments = {"x": x, "y": y} if matters_together else {}
            reply = bighub.actions.evaluate(
                action="pay", value=chance.uniform(10, 100), context={"arguments": arguments}
            )
            if number >= 500:
                risks.setdefault(x + y if matters_together else "", []).append(reply["risk_score"])
            likely = (x == "a") != (y == "c") if matters_together else number % 5 == 0
            status = "FAILURE" if likely and chance.random() < 0.5 else "SUCCESS"
            bighub.outcomes.report(request_id=reply["request_id"], status=status)
    if matters_together:
        mean = {pair: sum(each) / len(each) for pair, each in risks.items()}
        assert max(mean["ac"], mean["bd"]) < 0.25 < min(mean["ad"], mean["bc"])
    else:
        assert max(risks[""]) - min(risks[""]) < 0.1
