"""The embedded engine: a store, what was learned from it, and the limits set on it."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Self

from sqlalchemy import Connection

from bighub_langgraph.local.controls import Controls, load_controls
from bighub_langgraph.local.decided import Decisions
from bighub_langgraph.local.learning import Learned
from bighub_langgraph.local.numbers import Numbers
from bighub_langgraph.local.retention import EVERY, forget_oldest, is_crowded
from bighub_langgraph.local.scoring.model import Model
from bighub_langgraph.local.sessions import Sessions
from bighub_langgraph.local.settings import Settings
from bighub_langgraph.local.store import Store


def _new_id() -> str:
    return secrets.token_hex(16)


class Present(NamedTuple):
    """What holds at the moment of a decision."""

    controls: Controls
    newest_evidence: int


class Engine:
    """Decides and learns over one store; threads and processes may share the store."""

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
        self.numbers = Numbers(self.store)
        self.learned = Learned(self.store, self.settings, self.numbers)
        self.decisions = Decisions(self.store)
        self.sessions = Sessions(self.store)
        self._controls = Controls()
        self._decided = 0

    def present(self, tx: Connection) -> Present:
        """Look up what holds now; the limits are read again only when they changed."""
        numbers = self.numbers.latest(tx)
        if numbers["controls"] != self._controls.revision:
            self._controls = load_controls(tx, numbers["controls"])
        return Present(self._controls, numbers["evidence"])

    @contextmanager
    def knowledge(self) -> Iterator[Model]:
        """Everything learned up to now, to look things up in."""
        with self.store.transaction() as tx:
            newest = self.present(tx).newest_evidence
            with self.learned.reading(tx, newest, self.clock()) as model:
                yield model

    @contextmanager
    def together(self) -> Iterator[Connection]:
        """One transaction for several requests; each of theirs becomes a part of it."""
        try:
            with self.store.transaction() as tx, self.sessions.held(tx):
                yield tx
        except BaseException:
            # What was learned may be undone now, and its numbers given to something else.
            self.learned = Learned(self.store, self.settings, self.numbers)
            self._controls = Controls()
            raise

    def decided(self, tx: Connection) -> None:
        """Count a decision; now and then, an engine in memory makes room."""
        self._decided += 1
        if self._decided % EVERY == 0:
            if is_crowded(self.store, tx):
                self.learned.keep(tx, self.clock())  # whoever begins anew finds it there
                forget_oldest(self.store, tx)
            self.sessions.clear()

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
