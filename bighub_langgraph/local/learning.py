"""The model in this process, kept level with the evidence in the store."""

import json
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, select

from bighub_langgraph.local.labelled import ADDED, Labelled, good, newer, stored_action
from bighub_langgraph.local.numbers import Numbers
from bighub_langgraph.local.remembered import Remembered
from bighub_langgraph.local.scoring.action import Action
from bighub_langgraph.local.scoring.evidence import Evidence, Label
from bighub_langgraph.local.scoring.features import Traits
from bighub_langgraph.local.scoring.model import Assessment, Model
from bighub_langgraph.local.settings import Settings
from bighub_langgraph.local.store import KEEPING, Store
from bighub_langgraph.local.tables import snapshots

_BETWEEN_SNAPSHOTS = 2_000
_IN_MIND = 256
_FORM = 1  # of what a snapshot holds; another one is not read


class Learned:
    """What was learned up to some point of the evidence; it reads on when there is more.

    Evidence is numbered without gaps, so processes that share a store fold the same evidence in the
    same order. Good outcomes are believed when they are older than the domain's correction delay;
    until then they stay in the store, so that waiting takes no memory.
    """

    def __init__(self, store: Store, settings: Settings, numbers: Numbers) -> None:
        self._store = store
        self._numbers = numbers
        self._settings = settings
        self._mark = sha256(f"{_FORM} {settings!r}".encode()).hexdigest()
        self.model = Model(settings)
        # The number of the last evidence in the model; None while it is not whole.
        self._read: int | None = None
        # By request id; such a thing never changes.
        self._decided: OrderedDict[str, _Decided] = OrderedDict()
        self._at_hand: Remembered[Labelled] = Remembered(store, _IN_MIND)  # by its number
        self._believed: dict[str, int] = {}  # domain -> number of the last good outcome believed
        self._due: dict[str, float] = {}  # domain -> when the first one that waits came

    def assess(self, tx: Connection, newest: int, action: Action, at: float) -> Assessment:
        """Judge an action by everything known up to the newest evidence."""
        with self._store.alone:
            self._catch_up(tx, newest, at)
            return self.model.assess(action, at)

    @contextmanager
    def reading(self, tx: Connection, newest: int, at: float) -> Iterator[Model]:
        """The model with everything known up to the newest evidence; it stands still meanwhile."""
        with self._store.alone:
            self._catch_up(tx, newest, at)
            yield self.model

    def keep(self, tx: Connection, at: float) -> None:
        """Keep what was learned, before some of what taught it is forgotten."""
        with self._store.alone:
            if self._read is not None:
                self._keep(tx, self._read, at)

    def remember(self, request_id: str, action: Action, seen: Assessment) -> None:
        """Keep in mind what was decided: mostly its outcome comes soon."""
        with self._store.alone:
            self._decided[request_id] = _Decided(action, seen.parts, seen.traits)
            if len(self._decided) > _IN_MIND:
                self._decided.popitem(last=False)

    def add(self, tx: Connection, decision: Any, label: Label, at: float) -> dict[str, object]:
        """Write down a label for a decision; the result is what changes in the decision's row."""
        seq = self._numbers.draw(tx, "evidence")
        row: dict[str, Any] = {
            "seq": seq,
            "request_id": decision.request_id,
            "domain": decision.domain,
            "at": at,
            "label": int(label),
            "replaces": decision.label,
            "replaced_at": decision.label_at,
            "replaced_seq": decision.label_seq,
        }
        ADDED.write(tx, **row)
        if decision.request_id in self._decided:
            labelled = Labelled(
                **row,
                decided_at=decision.at,
                risk=decision.risk,
                parts="",  # in mind, as is what follows
                seen="",
                action="",
                actor="",
                target=None,
                value=None,
                approval=decision.approval,
                resolved_at=decision.resolved_at,
                label_seq=seq,
            )
            self._at_hand.put(seq, labelled)
        return {"label": int(label), "label_at": at, "label_seq": seq}

    def _catch_up(self, tx: Connection, newest: int, at: float) -> None:
        start = self._restore(tx) if self._read is None else self._read
        # What was interrupted half way is no model any more: it is begun anew from the store.
        self._read = None
        read = self._read_on(tx, start, newest)
        self._believe(tx, read, at)
        due = start // _BETWEEN_SNAPSHOTS < read // _BETWEEN_SNAPSHOTS
        if due and not self._store.in_memory:  # which nobody opens again
            self._keep(tx, read, at)
        self._read = read

    def _read_on(self, tx: Connection, read: int, newest: int) -> int:
        """Learn from what came after `read`; the number of the last."""
        while read < newest and (rows := self._newer(tx, read, newest)):
            for row in rows:
                # Whoever reads later believes in the same order as who was there when it came.
                self._believe(tx, read, row.at)
                self._take_in(row)
                read = row.seq
        return read

    def _newer(self, tx: Connection, read: int, newest: int) -> "list[Labelled]":
        """What comes after what was read, as far as it is at hand, or else from the store."""
        row = self._at_hand.get(read + 1)
        if row is not None and row.request_id in self._decided:
            return [row]
        return newer(tx, after=read, newest=newest)

    def _take_in(self, row: Labelled) -> None:
        domain, label = row.domain, Label(row.label)
        if label is not Label.GOOD:
            self.model.learn(
                self._corrected(row) if row.replaces == Label.GOOD else self._evidence(row)
            )
        elif domain not in self._due and not self.model.delay(domain):
            self.model.learn(self._evidence(row))
            self._believed[domain] = row.seq
        else:
            self._due.setdefault(domain, row.at)

    def _corrected(self, row: Labelled) -> Evidence:
        """A good outcome that turned bad; one that was not believed yet replaces nothing."""
        read = self._evidence(row)
        self.model.corrected(row.domain, row.at - read.replaced_at)
        if (row.replaced_seq or 0) <= self._believed.get(row.domain, 0):
            return read
        approved = row.approval == "approved" and (row.resolved_at or 0) <= read.replaced_at
        return read._replace(replaces=Label.APPROVED if approved else None)

    def _evidence(self, row: Labelled) -> Evidence:
        known = self._decided.get(row.request_id) or _Decided(
            stored_action(row), json.loads(row.parts), None
        )
        return Evidence(
            request_id=row.request_id,
            action=known.action,
            decided_at=row.decided_at,
            at=row.at,
            label=Label(row.label),
            replaces=None if row.replaces is None else Label(row.replaces),
            replaced_at=row.at if row.replaced_at is None else row.replaced_at,
            risk=row.risk,
            parts=known.parts,
            traits=known.traits,
        )

    def _believe(self, tx: Connection, read: int, at: float) -> None:
        """Believe the good outcomes that are old enough by then and stand uncorrected."""
        ripe = [name for name, came in self._due.items() if came <= at - self.model.delay(name)]
        if not ripe:
            return
        with ExitStack() as stack:
            waiting = {
                name: good(tx, name, after=self._believed.get(name, 0), newest=read)
                for name in ripe
            }
            for rows in waiting.values():
                stack.callback(rows.close)
            first = {name: next(rows, None) for name, rows in waiting.items()}
            while row := min(filter(None, first.values()), key=self._ripens, default=None):
                if self._ripens(row)[0] > at:
                    break
                # A correction that is not read yet does not count yet.
                if row.label_seq == row.seq or (row.label_seq or 0) > read:
                    self.model.learn(self._evidence(row))
                self._believed[row.domain] = row.seq
                first[row.domain] = next(waiting[row.domain], None)
        for name, row in first.items():
            if row is None:
                del self._due[name]
            else:
                self._due[name] = row.at

    def _ripens(self, row: Labelled) -> tuple[float, int]:
        return row.at + self.model.delay(row.domain), row.seq

    def _restore(self, tx: Connection) -> int:
        """Begin with the model that was kept last, or with an empty one."""
        self.model, self._believed, self._due = Model(self._settings), {}, {}
        kept = tx.execute(_SNAPSHOT.where(snapshots.c.settings == self._mark)).first()
        if kept is None:
            return 0
        state = json.loads(zlib.decompress(kept.state))
        self.model.restored(state["model"])
        self._believed, self._due = state["believed"], state["due"]
        return int(kept.seq)

    def _keep(self, tx: Connection, read: int, at: float) -> None:
        """Keep the model, so that a new process need not read everything again."""
        if not self._store.sqlite and not tx.execute(_ALONE).scalar_one():
            return  # another process keeps one just now; its row may be locked for longer
        state = {"model": self.model.state(), "believed": self._believed, "due": self._due}
        packed = zlib.compress(json.dumps(state).encode(), 1)
        row = {"seq": read, "settings": self._mark, "at": at, "state": packed}
        insert = self._store.insert(snapshots)
        changed = {name: insert.excluded[name] for name in ("settings", "at", "state")}
        tx.execute(insert.on_conflict_do_update(index_elements=["seq"], set_=changed), row)
        tx.execute(delete(snapshots).where(snapshots.c.seq < read))


class _Decided(NamedTuple):
    """What was decided on, and what was thought of it."""

    action: Action
    parts: Mapping[str, float]
    traits: Traits | None


_ALONE = select(func.pg_try_advisory_xact_lock(KEEPING))
_SNAPSHOT = select(snapshots.c.seq, snapshots.c.state).order_by(snapshots.c.seq.desc()).limit(1)
