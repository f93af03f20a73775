"""Whether BIGHUB's reply to a report confirms that the report has arrived."""

from collections.abc import Mapping
from typing import Any

from bighub_langgraph.core.errors import DeliveryUnconfirmed, EngineRequestError


def is_sdk_client(client: object) -> bool:
    """Whether a client is one of BIGHUB's SDK, or derived from one.

    The SDK returns `{}` for a page of HTML, an empty body or cut JSON with a status of success.
    """
    return any(kind.__module__.partition(".")[0] == "bighub" for kind in type(client).__mro__)


def check_confirmation(reply: Any, reports: int = 1) -> None:
    """Check that a reply is an object that confirms a report, or each report of a batch.

    Raises:
        DeliveryUnconfirmed: The reply says nothing, as that of a maintenance page.
        EngineRequestError: It names an error, of one report or of the whole batch.
    """
    if not isinstance(reply, Mapping) or not reply:
        raise DeliveryUnconfirmed(f"BIGHUB's reply does not confirm a report: {reply!r:.80}")
    lists = [reply[name] for name in _ITEMS if isinstance(reply.get(name), list)]
    for part in (reply, *(item for items in lists for item in items if isinstance(item, Mapping))):
        if errors := [part[name] for name in _ERRORS if part.get(name)]:
            raise EngineRequestError(f"BIGHUB refused a report: {errors!r:.200}")
        if any(part.get(name) is False for name in _SUCCESS):
            raise EngineRequestError(f"BIGHUB refused a report: {dict(part)!r:.200}")
    if any(type(reply.get(name)) is int and reply[name] < reports for name in _COUNTS):
        raise EngineRequestError(f"BIGHUB took only a part of {reports} reports: {reply!r:.200}")


_ERRORS = ("error", "errors", "failed")
_SUCCESS = ("success", "ok", "accepted")
_ITEMS = ("results", "outcomes", "items")
_COUNTS = ("accepted", "reported")
