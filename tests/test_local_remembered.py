"""What an engine keeps in mind is never more than what its store says."""

import itertools
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from bighub import BighubAPIError
from sqlalchemy import select, update

from bighub_langgraph.local import Engine, LocalBighub
from bighub_langgraph.local.tables import heads, sessions
from tests.local_engine import Clock, live, refund

SESSION = {"session_id": "s", "arguments": {"amount": 3, "reason": "damaged"}}


def shared(url: str, clients: int) -> list[LocalBighub]:
    """Clients with engines of their own over one store; together they count ids and seconds."""
    clock, ids = Clock(), itertools.count()
    engines = [Engine(url, clock=clock, new_id=lambda: f"{next(ids):032x}") for _ in range(clients)]
    return [LocalBighub(url, engine=each) for each in engines]


def lived(clients: list[LocalBighub], rounds: int = 24) -> list[Any]:
    """Decide and report in turn; what was answered."""
    told = []
    for number in range(rounds):
        decides, reports = clients[number % len(clients)], clients[(number + 1) % len(clients)]
        reply = refund(decides, number % 5, context=SESSION)
        status = "FAILURE" if number % 4 == 3 else "SUCCESS"
        reports.outcomes.report(request_id=reply["request_id"], status=status)
        told.append(reply)
    return told


def test_engines_that_share_a_file_decide_as_one(tmp_path: Path) -> None:
    alone = lived(shared(f"sqlite:///{tmp_path / 'one.db'}", 1))
    assert lived(shared(f"sqlite:///{tmp_path / 'two.db'}", 2)) == alone
    assert alone[-1]["decision_intelligence"]["trajectory_health"] != "healthy"


def test_what_is_undone_is_forgotten() -> None:
    answers = []
    for fails in (False, True):
        (bighub,) = shared("sqlite://", 1)
        live(bighub, 8, context=SESSION)
        if fails:
            with pytest.raises(ZeroDivisionError):
                undone(bighub)
        later = Clock(1_700_001_000.0)
        bighub.engine.clock, bighub.engine.new_id = later, lambda: "f" * 32
        answers.append(refund(bighub, context=SESSION))
    assert answers[0] == answers[1]


def undone(bighub: LocalBighub) -> None:
    """Decide and report within a transaction that fails."""
    with bighub.engine.together():
        live(bighub, 3, status="FRAUD", context=SESSION)
        raise ZeroDivisionError


def test_what_is_written_past_the_engine_is_noticed() -> None:
    (bighub,) = shared("sqlite://", 1)
    live(bighub, 3)
    store, numbers = bighub.engine.store, bighub.engine.numbers
    with store.transaction() as tx:
        known = numbers.latest(tx)["evidence"]
        tx.execute(update(heads).where(heads.c.name == "evidence").values(number=known + 5))
        assert numbers.latest(tx)["evidence"] == known + 5
        assert numbers.draw(tx, "evidence") == numbers.latest(tx)["evidence"] == known + 6


def test_an_outcome_knows_what_a_person_answered_meanwhile() -> None:
    (bighub,) = shared("sqlite://", 1)
    name = refund(bighub)["request_id"]
    bighub.approvals.resolve(name, resolution="approved")
    bighub.outcomes.report(request_id=name, status="SUCCESS")
    assert [each["request_id"] for each in bighub.approvals.list(status_filter="approved")] == [
        name
    ]


def stored(bighub: LocalBighub) -> list[Any]:
    """What a store has that is written once for a turn, whatever else was."""
    with bighub.engine.store.transaction() as tx:
        return [tx.execute(select(table)).all() for table in (sessions, heads)]


@pytest.mark.parametrize("together", [False, True])
def test_outcomes_told_in_a_batch_are_kept_as_if_told_one_by_one(*, together: bool) -> None:
    kept = []
    for at_once in (False, together):
        (bighub,) = shared("sqlite://", 1)
        names = [refund(bighub, number, context=SESSION)["request_id"] for number in range(4)]
        told = [{"request_id": name, "status": "FAILURE"} for name in names]
        told.insert(2, {"request_id": "nobody", "status": "SUCCESS"})
        if at_once:
            assert bighub.outcomes.report_batch(told)["failed"] == 1
        else:
            for one in told:
                with suppress(BighubAPIError):
                    bighub.outcomes.report(**one)
        kept.append((stored(bighub), refund(bighub, context=SESSION)["risk_score"]))
    assert kept[0] == kept[1]


def test_a_part_that_fails_leaves_its_session_as_it_was() -> None:
    kept = []
    for fails in (False, True):
        (bighub,) = shared("sqlite://", 1)
        with bighub.engine.together():
            live(bighub, 2, context=SESSION)
            if fails:
                with suppress(ZeroDivisionError):
                    failing_part(bighub)
            later = Clock(1_700_001_000.0)
            bighub.engine.clock, bighub.engine.new_id = later, lambda: "f" * 32
            reply = refund(bighub, context=SESSION)
        kept.append((stored(bighub), reply))
    assert kept[0] == kept[1]


def failing_part(bighub: LocalBighub) -> None:
    """Decide within a part of a transaction that fails."""
    with bighub.engine.store.transaction():
        refund(bighub, context=SESSION)
        refund(bighub, 1, context=SESSION)
        raise ZeroDivisionError


Read = Callable[[LocalBighub, str], Any]


@pytest.mark.parametrize(
    "read",
    [
        lambda bighub, name: bighub.actions.verify_validation(name),
        lambda bighub, name: bighub.cases.get(name),
        lambda bighub, name: bighub.events.list(),
        lambda bighub, name: bighub.approvals.list(),
        lambda bighub, name: refund(bighub, 1, idempotency_key="k"),
    ],
    ids=["verify", "case", "events", "approvals", "again"],
)
def test_a_decision_that_was_stored_whole_reads_the_same(tmp_path: Path, read: Read) -> None:
    url = f"sqlite:///{tmp_path / 'bighub.db'}"
    (bighub,) = shared(url, 1)
    live(bighub, 3)
    told = refund(bighub, 1, idempotency_key="k")
    assert told["requires_approval"]
    before = read(bighub, told["request_id"])
    with bighub.engine.store.transaction() as tx:
        change = "UPDATE bighub_decisions SET reply = :reply WHERE request_id = :name"
        name = {"name": told["request_id"]}
        tx.exec_driver_sql(change, {"reply": json.dumps(told, separators=(",", ":")), **name})
    assert read(bighub, told["request_id"]) == before


def test_an_action_that_was_stored_whole_teaches_the_same(tmp_path: Path) -> None:
    learned = []
    for whole in (False, True):
        url = f"sqlite:///{tmp_path / f'{whole}.db'}"
        (bighub,) = shared(url, 1)
        lived([bighub])
        if whole:
            store_whole(bighub)
        (again,) = shared(url, 1)
        with again.engine.knowledge() as model:
            learned.append(model.state())
    assert learned[0] == learned[1]


def store_whole(bighub: LocalBighub) -> None:
    """Store every action as earlier versions did, with an index that they had."""
    names = "id, domain, action, actor, target, value, seen"
    change = "UPDATE bighub_decisions SET seen = :seen WHERE id = :id"
    with bighub.engine.store.transaction() as tx:
        for row in tx.exec_driver_sql(f"SELECT {names} FROM bighub_decisions").all():
            facts, past = json.loads(row.seen)
            known = dict(zip(PAST, past, strict=True))
            action = {"domain": row.domain, "name": row.action, "actor": row.actor}
            whole = {**action, "target": row.target, "value": row.value}
            seen = json.dumps({**whole, "facts": facts, "past": known})
            tx.exec_driver_sql(change, {"seen": seen, "id": row.id})
        tx.exec_driver_sql(
            "CREATE INDEX bighub_decisions_by_domain ON bighub_decisions (domain, at)"
        )


PAST = (
    *("calls", "outcomes", "errors", "errors_in_a_row", "repeats", "same_action"),
    *("same_action_errors", "total_value", "seconds_since_last", "new_words", "known_words"),
    *("last_action", "known"),
)


def test_an_index_of_earlier_versions_goes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bighub.db'}"
    (bighub,) = shared(url, 1)
    lived([bighub], 2)
    store_whole(bighub)
    (again,) = shared(url, 1)
    with again.engine.store.transaction() as tx:
        names = tx.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'index'").all()
    assert "bighub_decisions_by_domain" not in {name for (name,) in names}
