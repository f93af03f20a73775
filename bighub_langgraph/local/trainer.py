"""The trainer: keeps the model of this process up to date with the labels in the store."""

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256

from sqlalchemy import Connection, delete, func, select

from bighub_langgraph.local.engine_store import SNAPSHOT_LOCK, Store
from bighub_langgraph.local.repository import (
    LabelRow,
    find_replaced,
    iterate_good_labels,
    list_labels,
)
from bighub_langgraph.local.scoring.codec import dump_model, load_model
from bighub_langgraph.local.scoring.features import Label
from bighub_langgraph.local.scoring.risk_model import Model
from bighub_langgraph.local.settings import Settings
from bighub_langgraph.local.tables import snapshots

SNAPSHOT_INTERVAL = 2_000  # labels
_SNAPSHOT_VERSION = 11  # a snapshot of another version is ignored


class Trainer:
    """The model of everything learned so far, and how it learns the labels that were added since.

    Labels are numbered without gaps, so processes that share a store learn them in the same order.
    A good outcome counts when it is older than the domain's label delay; until then it stays in
    the store, so waiting takes no memory.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._fingerprint = sha256(f"{_SNAPSHOT_VERSION} {settings!r}".encode()).hexdigest()
        self._model = Model(settings)
        # The number of the last label that was read; None while the model is not complete.
        self._last_seq: int | None = None
        # By domain: the last good outcome that counted, and the time of the first that waits.
        self._last_counted: dict[str, int] = {}
        self._waiting_since: dict[str, float] = {}

    @contextmanager
    def current_model(self, tx: Connection, newest: int, at: float) -> Iterator[Model]:
        """Give the model with the labels up to the newest; it does not change meanwhile."""
        with self._store.alone:
            self._catch_up(tx, newest, at)
            yield self._model

    def learn_next(self, labels: Sequence[LabelRow]) -> bool:
        """Learn labels if they follow the last one and the store is not needed for it."""
        with self._store.alone:
            for row in labels:
                is_next = self._last_seq == row.seq - 1 and row.evidence.replaces is None
                is_due = row.seq % SNAPSHOT_INTERVAL == 0 and not self._store.in_memory
                if self._waiting_since or is_due or not is_next:
                    return False
                self._last_seq = None
                self._learn_label(None, row)
                self._last_seq = row.seq
        return True

    def save_snapshot(self, tx: Connection, at: float) -> None:
        """Save the model before labels are deleted."""
        with self._store.alone:
            if self._last_seq is not None:
                self._save_snapshot(tx, self._last_seq, at)

    def _catch_up(self, tx: Connection, newest: int, at: float) -> None:
        start = self._load_snapshot(tx) if self._last_seq is None else self._last_seq
        # After an interrupt the model is incomplete and is built again from the store.
        self._last_seq, last = None, start
        while last < newest and (rows := list_labels(tx, after=last, newest=newest)):
            for row in rows:
                # A process that reads later learns in the same order as one that reads at once.
                self._learn_delayed(tx, last, row.evidence.at)
                self._learn_label(tx, row)
                last, at = row.seq, max(at, row.evidence.at)
        self._learn_delayed(tx, last, at)
        is_due = start // SNAPSHOT_INTERVAL < last // SNAPSHOT_INTERVAL
        if is_due and not self._store.in_memory:
            self._save_snapshot(tx, last, at)
        self._last_seq = last

    def _learn_label(self, tx: Connection | None, row: LabelRow) -> None:
        evidence, domain = row.evidence, row.decision.domain
        # A bad outcome that is withdrawn has been looked into, so it need not age.
        if evidence.label is Label.GOOD and evidence.replaces is not Label.BAD:
            if domain in self._waiting_since or self._model.label_delay(domain):
                self._waiting_since.setdefault(domain, evidence.at)
                if evidence.replaces is None:
                    return
                evidence = evidence._replace(label=Label.NOTHING)
            else:
                self._last_counted[domain] = row.seq
        elif evidence.replaces is Label.GOOD:
            if evidence.label is Label.BAD:
                delay = evidence.at - evidence.replaced_at
                self._model.record_correction(domain, delay, evidence.at)
            replaced_seq = row.replaced_seq or 0
            is_waiting = replaced_seq > self._last_counted.get(domain, 0)
            if is_waiting and tx and find_replaced(tx, replaced_seq) is not Label.BAD:
                evidence = evidence._replace(replaces=None)  # it did not count yet
        self._model.learn(evidence)

    def _learn_delayed(self, tx: Connection, last: int, at: float) -> None:
        """Learn the good outcomes that are old enough by a moment and were not corrected."""
        queues = {
            domain: iterate_good_labels(
                tx, domain, after=self._last_counted.get(domain, 0), newest=last
            )
            for domain, since in self._waiting_since.items()
            if since <= at - self._model.label_delay(domain)
        }
        first = {domain: next(queue, None) for domain, queue in queues.items()}
        while row := min(filter(None, first.values()), key=self._counts_from, default=None):
            if self._counts_from(row)[0] > at:
                break
            label_seq, domain = row.decision.label_seq or 0, row.decision.domain
            is_current = label_seq == row.seq or label_seq > last  # a correction not read yet
            if is_current and row.evidence.replaces is not Label.BAD:
                # What it replaced was taken out when it was read.
                self._model.learn(row.evidence._replace(replaces=None))
            self._last_counted[domain] = row.seq
            first[domain] = next(queues[domain], None)
        self._waiting_since |= {domain: row.evidence.at for domain, row in first.items() if row}
        for domain in [domain for domain, row in first.items() if row is None]:
            del self._waiting_since[domain]

    def _counts_from(self, row: LabelRow) -> tuple[float, int]:
        return row.evidence.at + self._model.label_delay(row.decision.domain), row.seq

    def _load_snapshot(self, tx: Connection) -> int:
        """Start from the last snapshot, or with an empty model; return the last label in it."""
        self._model, self._last_counted, self._waiting_since = Model(self._settings), {}, {}
        row = tx.execute(_SNAPSHOT.where(snapshots.c.settings == self._fingerprint)).first()
        if row is None:
            return 0
        model, self._last_counted, self._waiting_since = json.loads(zlib.decompress(row.state))
        self._model = load_model(self._settings, model)
        return int(row.seq)

    def _save_snapshot(self, tx: Connection, last: int, at: float) -> None:
        """Save the model, so that a new process need not learn everything again."""
        if not self._store.sqlite and not tx.execute(_TRY_LOCK).scalar_one():
            return  # another process saves one now, and may hold its row for longer
        state = [dump_model(self._model), self._last_counted, self._waiting_since]
        blob = zlib.compress(json.dumps(state).encode(), 1)
        tx.execute(delete(snapshots).where(snapshots.c.seq <= last))
        row = {"seq": last, "settings": self._fingerprint, "at": at, "state": blob}
        tx.execute(snapshots.insert(), row)


_TRY_LOCK = select(func.pg_try_advisory_xact_lock(SNAPSHOT_LOCK))
_SNAPSHOT = select(snapshots.c.seq, snapshots.c.state).order_by(snapshots.c.seq.desc()).limit(1)
