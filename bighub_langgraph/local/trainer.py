"""The trainer: keeps the model of this process up to date with the labels in the store."""

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from sqlalchemy import Connection, delete, func, select

from bighub_langgraph.local.engine_store import KEEPING, Store
from bighub_langgraph.local.repository import LabelRow, iterate_good_labels, list_labels
from bighub_langgraph.local.scoring.evidence import Evidence, Label
from bighub_langgraph.local.scoring.features import Action
from bighub_langgraph.local.scoring.model import Assessment, Model
from bighub_langgraph.local.settings import Settings
from bighub_langgraph.local.tables import snapshots

SNAPSHOT_INTERVAL = 2_000  # labels
_SNAPSHOT_VERSION = 1  # a snapshot of another version is ignored


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

    def assess(self, tx: Connection, newest: int, action: Action, at: float) -> Assessment:
        """Assess an action with the labels up to the newest."""
        with self._store.alone:
            self._catch_up(tx, newest, at)
            return self._model.assess(action, at)

    @contextmanager
    def current_model(self, tx: Connection, newest: int, at: float) -> Iterator[Model]:
        """Give the model with the labels up to the newest; it does not change meanwhile."""
        with self._store.alone:
            self._catch_up(tx, newest, at)
            yield self._model

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
                self._learn_delayed(tx, last, row.at)
                self._learn_label(row)
                last = row.seq
        self._learn_delayed(tx, last, at)
        is_due = start // SNAPSHOT_INTERVAL < last // SNAPSHOT_INTERVAL
        if is_due and not self._store.in_memory:
            self._save_snapshot(tx, last, at)
        self._last_seq = last

    def _learn_label(self, row: LabelRow) -> None:
        domain = row.domain
        if row.label != Label.GOOD:
            evidence = row.to_evidence()
            self._model.learn(self._correct(row, evidence))
        elif domain not in self._waiting_since and not self._model.label_delay(domain):
            self._model.learn(row.to_evidence())
            self._last_counted[domain] = row.seq
        else:
            self._waiting_since.setdefault(domain, row.at)

    def _correct(self, row: LabelRow, evidence: Evidence) -> Evidence:
        """Record the correction of a good outcome; one that did not count yet replaces nothing."""
        if evidence.replaces is not Label.GOOD:
            return evidence
        self._model.record_correction(row.domain, row.at - evidence.replaced_at)
        if (row.replaced_seq or 0) <= self._last_counted.get(row.domain, 0):
            return evidence
        decision = row.decision
        is_approved = (
            decision.approval == "approved" and (decision.resolved_at or 0) <= evidence.replaced_at
        )
        return evidence._replace(replaces=Label.APPROVED if is_approved else None)

    def _learn_delayed(self, tx: Connection, last: int, at: float) -> None:
        """Learn the good outcomes that are old enough by a moment and were not corrected."""
        queues = {
            domain: iterate_good_labels(
                tx, domain, after=self._last_counted.get(domain, 0), newest=last
            )
            for domain, since in self._waiting_since.items()
            if since <= at - self._model.label_delay(domain)
        }
        if not queues:
            return
        first = {domain: next(queue, None) for domain, queue in queues.items()}
        while row := min(filter(None, first.values()), key=self._counts_from, default=None):
            if self._counts_from(row)[0] > at:
                break
            label_seq = row.decision.label_seq or 0
            if label_seq == row.seq or label_seq > last:  # a correction that is not read yet
                self._model.learn(row.to_evidence())
            self._last_counted[row.domain] = row.seq
            first[row.domain] = next(queues[row.domain], None)
        for domain, row in first.items():
            if row is None:
                del self._waiting_since[domain]
            else:
                self._waiting_since[domain] = row.at

    def _counts_from(self, row: LabelRow) -> tuple[float, int]:
        return row.at + self._model.label_delay(row.domain), row.seq

    def _load_snapshot(self, tx: Connection) -> int:
        """Start from the last snapshot, or with an empty model; return the last label in it."""
        self._model, self._last_counted, self._waiting_since = Model(self._settings), {}, {}
        row = tx.execute(_SNAPSHOT.where(snapshots.c.settings == self._fingerprint)).first()
        if row is None:
            return 0
        state = json.loads(zlib.decompress(row.state))
        self._model.load_state(state["model"])
        self._last_counted, self._waiting_since = state["last_counted"], state["waiting_since"]
        return int(row.seq)

    def _save_snapshot(self, tx: Connection, last: int, at: float) -> None:
        """Save the model, so that a new process need not learn everything again."""
        if not self._store.sqlite and not tx.execute(_TRY_LOCK).scalar_one():
            return  # another process saves one now, and may hold its row for longer
        state = {
            "model": self._model.dump_state(),
            "last_counted": self._last_counted,
            "waiting_since": self._waiting_since,
        }
        packed = zlib.compress(json.dumps(state).encode(), 1)
        tx.execute(delete(snapshots).where(snapshots.c.seq <= last))
        row = {"seq": last, "settings": self._fingerprint, "at": at, "state": packed}
        tx.execute(snapshots.insert(), row)


_TRY_LOCK = select(func.pg_try_advisory_xact_lock(KEEPING))
_SNAPSHOT = select(snapshots.c.seq, snapshots.c.state).order_by(snapshots.c.seq.desc()).limit(1)
