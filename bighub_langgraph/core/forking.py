"""Locks that a fork waits for: a child that inherits what is half done could never end it."""

import os
import threading
from contextlib import suppress
from weakref import WeakSet

_AT_MOST = 30.0  # seconds; whoever forks while holding one itself would wait for ever
_locks: WeakSet[threading.Lock] = WeakSet()
_taken: list[threading.Lock] = []
_known = threading.Lock()


def awaited_by_forks() -> threading.Lock:
    """A lock that no other thread holds while this process forks."""
    lock = threading.Lock()
    with _known:
        _locks.add(lock)
    return lock


def _take() -> None:
    _known.acquire()
    _taken[:] = [lock for lock in _locks if lock.acquire(timeout=_AT_MOST)]


def _give_back() -> None:
    for lock in _taken:
        lock.release()
    _taken.clear()
    _known.release()


with suppress(AttributeError):  # Windows does not fork
    os.register_at_fork(before=_take, after_in_parent=_give_back, after_in_child=_give_back)
