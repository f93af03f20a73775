"""What this process knows of its store, so that it need not read what it has just written."""

from collections import OrderedDict
from typing import Generic, TypeVar

from bighub_langgraph.local.store import Store

Known = TypeVar("Known")


class Remembered(Generic[Known]):
    """The latest things under their names, while nobody else can have changed them.

    Used within transactions only: what an undone one wrote is forgotten with everything else.
    """

    def __init__(self, store: Store, most: int) -> None:
        self._store = store
        self._most = most
        self._epoch = store.epoch
        self._known: OrderedDict[object, Known] = OrderedDict()

    def get(self, name: object) -> Known | None:
        """What is known under a name, if it still holds."""
        return self._known.get(name) if self._holds() else None

    def put(self, name: object, what: Known) -> None:
        """Remember something that the store has, or has when this transaction commits."""
        if not self._holds():
            return
        self._known[name] = what
        self._known.move_to_end(name)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def drop(self, name: object) -> None:
        """Forget one thing, which has changed."""
        self._known.pop(name, None)

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()

    def _holds(self) -> bool:
        epoch = self._store.epoch
        if epoch != self._epoch:
            self._known.clear()
            self._epoch = epoch
        return epoch is not None
