"""The calls that a page lists: the filters in its address, and readings that pages share."""

import math
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastapi import Request

from bighub_langgraph.approvals.cards import ApprovalCard
from bighub_langgraph.approvals.inbox import MAX_CARDS, ApprovalInbox

FILTERS = ("agent", "tool", "actor", "domain", "thread")
LARGEST = 1e9  # of a number in a filter
RELOAD_HEADER = "X-Bighub-Reload"  # of a page that reloads by itself
RELOAD_AGE = 1.0  # seconds for which such pages share a snapshot


class _Snapshot(NamedTuple):
    """Calls, the newest change number before they were read, and when that was."""

    cards: Sequence[ApprovalCard] = ()
    change: int = 0
    at: float = -math.inf


class WaitingCalls:
    """The calls that wait. What many open pages ask for at the same time is read once."""

    def __init__(self, inbox: ApprovalInbox) -> None:
        self._inbox = inbox
        self._lock = threading.Lock()
        self._snapshots: dict[str, _Snapshot] = {}  # by the filters

    def read(self, request: Request) -> tuple[Sequence[ApprovalCard], int]:
        """Return the calls that a page lists, and a change number that they are no older than.

        They are the newest ones, except for a page that reloads by itself.
        """
        filters = read_filters(request)
        key, is_reload = repr(filters), RELOAD_HEADER in request.headers
        with self._lock:
            change, now = self._inbox.newest_change(), time.monotonic()
            snapshot = self._snapshots.get(key, _Snapshot())
            if now - snapshot.at > RELOAD_AGE or not (is_reload or snapshot.change == change):
                snapshot = _Snapshot(self._inbox.list(**filters, limit=MAX_CARDS), change, now)
                recent = {k: v for k, v in self._snapshots.items() if now - v.at <= RELOAD_AGE}
                self._snapshots = {**recent, key: snapshot}
        return snapshot.cards, snapshot.change


def read_filters(request: Request) -> dict[str, Any]:
    """Return the filters of a page's address, as `ApprovalInbox.list` takes them."""
    query = request.query_params
    filters: dict[str, Any] = {name: query[name] for name in FILTERS if query.get(name)}
    if risk := read_number(request, "min_risk"):
        filters["min_risk"] = risk
    if minutes := read_number(request, "minutes"):
        filters["longer_than"] = minutes * 60
    return filters


def read_number(request: Request, name: str) -> float | None:
    """Return a number of a page's address, if it has a sensible one."""
    try:
        number = float(request.query_params.get(name, ""))
    except ValueError:
        return None
    return number if 0 < number < LARGEST else None
