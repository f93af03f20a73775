"""The embedded BIGHUB: the service's API and JSON, decided and learned in this process."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bighub_langgraph.local.engine import Engine
    from bighub_langgraph.local.sdk_client import AsyncLocalBighub, LocalBighub
    from bighub_langgraph.local.settings import DomainSettings, Settings

__all__ = ["AsyncLocalBighub", "DomainSettings", "Engine", "LocalBighub", "Settings"]

_MODULES = {
    "AsyncLocalBighub": "sdk_client",
    "DomainSettings": "settings",
    "Engine": "engine",
    "LocalBighub": "sdk_client",
    "Settings": "settings",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, because numpy and SQLAlchemy load slowly."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
