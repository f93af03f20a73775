"""Records that were read or written a moment ago, so that the next move need not read them."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from bighub_langgraph.core.models import CallRecord

MOST = 1024


class RecentRecords:
    """The newest open records. A move compares versions in the database, so old ones do no harm."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, CallRecord] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> CallRecord | None:
        """The record as it was when it was last seen here."""
        return self._records.get(key)

    def same(self, row: Mapping[str, Any]) -> CallRecord | None:
        """The record of a row, if it has not moved since."""
        known = self._records.get(row["key"])
        if known is None or known.version != row["version"]:
            return None
        return known if known.created_at == row["created_at"] else None

    def keep(self, record: CallRecord) -> None:
        """Keep a record while it is open; what a tool returned is not kept."""
        with self._lock:
            self._records.pop(record.key, None)
            if not record.is_final:
                self._records[record.key] = record
            if len(self._records) > MOST:
                self._records.popitem(last=False)
