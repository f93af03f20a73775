"""What engines decide and learn depends only on their store, whichever engine wrote it."""

import itertools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from bighub import BighubAPIError, RuleCreateModel
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from bighub_langgraph.local import Engine, LocalBighub
from bighub_langgraph.local.repository import DecisionRow
from bighub_langgraph.local.tables import decisions, heads
from bighub_langgraph.sql_engines import driver_connection
from tests.local_engine import Clock, live, refund

SESSION: dict[str, Any] = {"session_id": "s", "arguments": {"amount": 3, "reason": "damaged"}}


def open_clients(url: str, clients: int) -> list[LocalBighub]:
    """Return clients with an engine each over one store, which share a clock and ids."""
    clock, ids = Clock(), itertools.count()
    engines = [Engine(url, clock=clock, new_id=lambda: f"{next(ids):032x}") for _ in range(clients)]
    return [LocalBighub(url, engine=each) for each in engines]


def run_history(clients: list[LocalBighub], rounds: int = 24) -> list[Any]:
    """EvaluateRequest and report in turn; return the replies."""
    replies = []
    for number in range(rounds):
        evaluator, reporter = clients[number % len(clients)], clients[(number + 1) % len(clients)]
        reply = refund(evaluator, number % 5, context=SESSION)
        status = "FAILURE" if number % 4 == 3 else "SUCCESS"
        reporter.outcomes.report(request_id=reply["request_id"], status=status)
        replies.append(reply)
    return replies


def test_engines_that_share_a_file_decide_like_a_single_one(tmp_path: Path) -> None:
    reference = run_history(open_clients(f"sqlite:///{tmp_path / 'one.db'}", 1))
    assert run_history(open_clients(f"sqlite:///{tmp_path / 'two.db'}", 2)) == reference
    assert reference[-1]["decision_intelligence"]["trajectory_health"] != "healthy"


def test_a_transaction_that_fails_has_no_effect_on_later_decisions() -> None:
    replies = []
    for fails in (False, True):
        (bighub,) = open_clients("sqlite://", 1)
        live(bighub, 8, context=SESSION)
        if fails:
            with pytest.raises(ZeroDivisionError):
                evaluate_and_fail(bighub)
        later = Clock(1_700_001_000.0)
        bighub.engine.clock, bighub.engine.new_id = later, lambda: "f" * 32
        replies.append(refund(bighub, context=SESSION))
    assert replies[0] == replies[1]


def evaluate_and_fail(bighub: LocalBighub) -> None:
    """EvaluateRequest and report within a transaction that fails."""
    with bighub.engine.batch_transaction():
        live(bighub, 3, status="FRAUD", context=SESSION)
        raise ZeroDivisionError


def test_an_outcome_does_not_replace_an_approval() -> None:
    (bighub,) = open_clients("sqlite://", 1)
    request_id = refund(bighub)["request_id"]
    bighub.approvals.resolve(request_id, resolution="approved")
    bighub.outcomes.report(request_id=request_id, status="SUCCESS")
    (approval,) = bighub.approvals.list(status_filter="approved")
    assert approval["request_id"] == request_id


def test_a_decision_row_has_every_column_of_its_table() -> None:
    assert {*DecisionRow._fields, "id"} == {column.name for column in decisions.c}


def read_session_and_heads(bighub: LocalBighub) -> list[Any]:
    """Return the session and the sequences of a store."""
    with bighub.engine.store.transaction() as tx:
        session = bighub.engine.current_state(tx, SESSION["session_id"]).session
        return [session, tx.execute(select(heads)).all()]


def test_a_decision_on_a_file_takes_two_statements_and_one_commit(tmp_path: Path) -> None:
    (bighub,) = open_clients(f"sqlite:///{tmp_path / 'engine.db'}", 1)
    live(bighub, 2, context=SESSION)
    statements: list[str] = []
    with bighub.engine.store.transaction() as tx:
        driver_connection(tx).set_trace_callback(statements.append)
    statements.clear()
    refund(bighub, context=SESSION, idempotency_key="k")
    names = [statement.split()[0] for statement in statements]
    assert names == ["BEGIN", "SELECT", "INSERT", "COMMIT"]


@pytest.mark.parametrize("in_batch", [False, True])
def test_a_batch_of_outcomes_is_stored_like_single_reports(*, in_batch: bool) -> None:
    results = []
    for is_batch in (False, in_batch):
        (bighub,) = open_clients("sqlite://", 1)
        names = [refund(bighub, number, context=SESSION)["request_id"] for number in range(4)]
        reports = [{"request_id": name, "status": "FAILURE"} for name in names]
        reports.insert(2, {"request_id": "nobody", "status": "SUCCESS"})
        if is_batch:
            assert bighub.outcomes.report_batch(reports)["failed"] == 1
        else:
            for report in reports:
                with suppress(BighubAPIError):
                    bighub.outcomes.report(**report)
        results.append(
            (read_session_and_heads(bighub), refund(bighub, context=SESSION)["risk_score"])
        )
    assert results[0] == results[1]


def test_a_nested_transaction_that_fails_leaves_its_session_unchanged() -> None:
    results = []
    for fails in (False, True):
        (bighub,) = open_clients("sqlite://", 1)
        with bighub.engine.batch_transaction():
            live(bighub, 2, context=SESSION)
            if fails:
                with suppress(ZeroDivisionError):
                    evaluate_in_failing_part(bighub)
            later = Clock(1_700_001_000.0)
            bighub.engine.clock, bighub.engine.new_id = later, lambda: "f" * 32
            reply = refund(bighub, context=SESSION)
        results.append((read_session_and_heads(bighub), reply))
    assert results[0] == results[1]


def evaluate_in_failing_part(bighub: LocalBighub) -> None:
    """EvaluateRequest within a nested transaction that fails."""
    with bighub.engine.store.transaction():
        refund(bighub, context=SESSION)
        refund(bighub, 1, context=SESSION)
        raise ZeroDivisionError


# What a client may do, with a number that says to which call or under which key.
CALLS: dict[str, Callable[[LocalBighub, int], Any]] = {
    "evaluate": lambda bighub, number: refund(bighub, number, context=SESSION),
    "evaluate under a key": lambda bighub, number: refund(
        bighub, number % 2, idempotency_key=f"k{number % 3}"
    ),
    "report": lambda bighub, number: bighub.outcomes.report(
        request_id=f"req_{number:032x}", status="FRAUD" if number % 3 else "SUCCESS"
    ),
    "report under a key": lambda bighub, number: bighub.outcomes.report(
        request_id=f"req_{number:032x}", status="FAILURE", details={"idempotency_key": "k"}
    ),
    "resolve": lambda bighub, number: bighub.approvals.resolve(
        f"req_{number:032x}", resolution="denied"
    ),
    "ingest": lambda bighub, number: bighub.actions.ingest_memory(
        source="test", events=[{"tool": "t", "status": "executed", "event_id": f"e{number}"}]
    ),
    "add a rule": lambda bighub, number: bighub.rules.create(
        RuleCreateModel("small", "shop", 10, 21.0 + number), idempotency_key=f"rule {number % 2}"
    ),
    "read a timeline": lambda bighub, number: bighub.outcomes.timeline(f"req_{number:032x}"),
    "list": lambda bighub, _: [
        bighub.approvals.list(),
        bighub.cases.list(),
        read_session_and_heads(bighub)[:1],
    ],
}
STEPS = st.recursive(
    st.tuples(st.sampled_from(sorted(CALLS)), st.integers(0, 8)),
    lambda steps: st.tuples(st.just("together"), st.booleans(), st.lists(steps, max_size=6)),
    max_leaves=12,
)


def run_step(bighub: LocalBighub, step: Any) -> Any:
    """Return the replies to a step, or its refusals."""
    try:
        if step[0] != "together":
            return CALLS[step[0]](bighub, step[1])
        with bighub.engine.batch_transaction():
            replies = [run_step(bighub, each) for each in step[2]]
            assert not step[1]
    except BighubAPIError as refusal:
        return str(refusal)
    except AssertionError:
        return "undone"
    return replies


@settings(max_examples=12, deadline=None)
@given(st.lists(STEPS, max_size=12))
def test_an_engine_in_memory_replies_and_stores_like_one_on_a_file(steps: list[Any]) -> None:
    histories = []
    with TemporaryDirectory() as home:
        for url in ("sqlite://", f"sqlite:///{home}/engine.db"):
            (bighub,) = open_clients(url, 1)
            replies = [run_step(bighub, step) for step in [*steps, ("list", 0), ("evaluate", 1)]]
            histories.append((replies, bighub.actions.memory_context()["total_events"]))
            bighub.close()
    assert histories[0] == histories[1]


def test_an_engine_in_memory_finds_calls_and_keys_from_long_before() -> None:
    (bighub,) = open_clients("sqlite://", 1)
    first = refund(bighub, idempotency_key="first", context=SESSION)
    live(bighub, 400)
    assert refund(bighub, idempotency_key="first", context=SESSION) == first
    report = {"request_id": first["request_id"], "details": {"idempotency_key": "k"}}
    replies = [bighub.outcomes.report(**report, status="SUCCESS") for _ in range(2)]
    assert [reply["duplicate"] for reply in replies] == [False, True]
    assert bighub.actions.status()["decisions"] == 401
