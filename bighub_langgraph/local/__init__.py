"""The embedded BIGHUB: the service's words and JSON, decided and learned in this process."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bighub_langgraph.local.client import AsyncLocalBighub, LocalBighub
    from bighub_langgraph.local.engine import Engine
    from bighub_langgraph.local.settings import DomainSettings, Settings

__all__ = ["AsyncLocalBighub", "DomainSettings", "Engine", "LocalBighub", "Settings"]

_HOMES = {
    "AsyncLocalBighub": "client",
    "DomainSettings": "settings",
    "Engine": "engine",
    "LocalBighub": "client",
    "Settings": "settings",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: numpy and SQLAlchemy take their time."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
