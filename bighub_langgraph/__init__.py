"""Guard an agent's tool calls with BIGHUB: in LangGraph, in LangChain and for OpenAI agents.

The public names are imported on first use, so that `BighubOpenAI` loads no LangGraph and a guard
no OpenAI.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "ApprovalPolicy": "core.policy",
    "BighubGuard": "guard",
    "Journal": "journal.journal",
    "ToolPolicy": "core.policy",
    "current_call": "core.current",
}

__all__ = ["ApprovalPolicy", "BighubGuard", "Journal", "ToolPolicy", "current_call"]

if TYPE_CHECKING:
    from bighub_langgraph.core.current import current_call as current_call
    from bighub_langgraph.core.policy import ApprovalPolicy as ApprovalPolicy
    from bighub_langgraph.core.policy import ToolPolicy as ToolPolicy
    from bighub_langgraph.guard import BighubGuard as BighubGuard
    from bighub_langgraph.journal.journal import Journal as Journal


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
