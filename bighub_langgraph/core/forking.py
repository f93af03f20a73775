"""Locks that a fork waits for: a child that inherits what is half done could never end it."""

import os
import threading
from contextlib import suppress
from itertools import compress
from operator import methodcaller
from weakref import WeakSet

_AT_MOST = 30.0  # seconds; whoever forks while holding one itself would wait for ever
_locks: WeakSet[threading.Lock] = WeakSet()
_taken: list[threading.Lock] = []
_known = threading.Lock()


def awaited_by_forks() -> threading.Lock:
    """A lock that no other thread holds while this process forks; nobody holds two of them."""
    lock = threading.Lock()
    with _known:
        _locks.add(lock)
    return lock


def _take() -> None:
    _take_all([_known])  # the first, so that none is added meanwhile and no other thread forks
    _take_all(list(_locks))


def _take_all(locks: list[threading.Lock]) -> None:
    # In one call: where a signal's handler raises behind `acquire`, nobody would know of it.
    _taken.extend(compress(locks, map(_ACQUIRE, locks)))


def _give_back() -> None:
    taken = _taken[::-1]
    _taken.clear()
    for lock in taken:
        lock.release()


_ACQUIRE = methodcaller("acquire", timeout=_AT_MOST)

with suppress(AttributeError):  # Windows does not fork
    os.register_at_fork(before=_take, after_in_parent=_give_back, after_in_child=_give_back)
