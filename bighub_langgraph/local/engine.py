"""The embedded engine: a store, what was learned from it, and the limits set on it."""

import math
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, Self

from sqlalchemy import Connection

from bighub_langgraph.local.constraints import ActiveConstraints, load_constraints
from bighub_langgraph.local.engine_store import Store
from bighub_langgraph.local.errors import store_unavailable
from bighub_langgraph.local.repository import (
    RETENTION_INTERVAL,
    DecisionRepository,
    LabelRow,
    Sequences,
)
from bighub_langgraph.local.scoring.risk_model import Model
from bighub_langgraph.local.scoring.session import Session
from bighub_langgraph.local.settings import Settings
from bighub_langgraph.local.trainer import Trainer


def _new_id() -> str:
    return secrets.token_hex(16)


class CurrentState(NamedTuple):
    """The limits, the newest evidence and a session at the moment of a decision."""

    constraints: ActiveConstraints
    newest_evidence: int
    session: Session


class Engine:
    """Decides and learns over one store. Threads and processes may share the store."""

    def __init__(
        self,
        url: str = "sqlite://",
        *,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = _new_id,
    ) -> None:
        self.settings = settings or Settings()
        self.clock = clock
        self.new_id = new_id
        self.store = Store(url)
        self.sequences = Sequences(self.store)
        self.trainer = Trainer(self.store, self.settings)
        self.decisions = DecisionRepository(self.store, self.sequences)
        self._constraints = ActiveConstraints()
        self._decision_count = 0

    def current_state(self, tx: Connection, session_id: str | None = None) -> CurrentState:
        """Return what holds now. The limits are read again only after they changed."""
        state = self.decisions.read_state(tx, session_id)
        if state.controls != self._constraints.revision:
            self._constraints = load_constraints(tx, state.controls)
        return CurrentState(self._constraints, state.evidence, state.session)

    @contextmanager
    def current_model(self) -> Iterator[Model]:
        """Give read access to everything learned up to now."""
        with self.store.transaction() as tx:
            newest = self.current_state(tx).newest_evidence
            with self.trainer.current_model(tx, newest, self.clock()) as model:
                yield model

    def learn(self, labels: Sequence[LabelRow | None] = ()) -> None:
        """Learn what was reported, after its commit, so that the next decision need not.

        What fails here is learned before the next decision.
        """
        new = [label for label in labels if label is not None]
        if not self.store.in_transaction and not (new and self.trainer.learn_next(new)):
            with suppress(*self.store.faults), self.store.transaction() as tx:
                newest = self.current_state(tx).newest_evidence
                with self.trainer.current_model(tx, newest, -math.inf):
                    pass

    @contextmanager
    def batch_transaction(self) -> Iterator[Connection]:
        """Open one transaction for several requests; each request's own becomes a part of it."""
        try:
            with self.store.transaction() as tx:
                yield tx
        except BaseException:
            # What was learned in it is undone, and its sequence numbers are used again.
            self.trainer = Trainer(self.store, self.settings)
            self._constraints = ActiveConstraints()
            raise

    def run_batch(
        self, operations: Sequence[Callable[[Connection], Any]], *, lock_sequences: bool = False
    ) -> list[Any]:
        """Run operations in order, with one commit, and return their results or exceptions.

        If the commit fails, the result of each is an `ApiError`.
        """
        try:
            with self.batch_transaction() as tx:
                if lock_sequences:
                    self.sequences.lock(tx)
                results = [_run_or_catch(operation, tx) for operation in operations]
        except self.store.faults as error:
            return [store_unavailable("a commit", error)] * len(operations)
        self.learn()
        return results

    def count_decision(self, tx: Connection) -> None:
        """Count a decision. An engine in memory drops its oldest ones now and then."""
        self._decision_count += 1
        if self._decision_count % RETENTION_INTERVAL == 0 and self.decisions.has_surplus(tx):
            self.trainer.save_snapshot(tx, self.clock())  # before its labels are deleted
            self.decisions.delete_surplus(tx)

    def close(self) -> None:
        """Close the store's connections."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _run_or_catch(operation: Callable[[Connection], Any], tx: Connection) -> Any:
    try:
        return operation(tx)
    except Exception as error:  # noqa: BLE001 - the other operations run all the same
        return error
