"""Guard an agent's tool calls with BIGHUB: in LangGraph, in LangChain and for OpenAI agents.

The public names are imported on first use, so that `BighubOpenAI` loads no LangGraph and a guard
no OpenAI.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# The public names, and the modules that define them: each is imported on first use.
_HOMES = {
    "AdapterConfigurationError": "openai.errors",
    "ApprovalPolicy": "core.policy",
    "AsyncBighubOpenAI": "openai.async_client",
    "AsyncGuardedOpenAI": "openai.async_client",
    "AsyncLocalBighub": "local",
    "BighubGuard": "guard",
    "BighubMiddleware": "middleware",
    "BighubOpenAI": "openai.client",
    "EmailNotifier": "approvals.notifiers",
    "GuardedOpenAI": "openai.client",
    "GuardedToolResult": "openai.events",
    "Journal": "journal.sql",
    "LocalBighub": "local",
    "Notifications": "approvals.notifications",
    "ProviderResponseError": "openai.errors",
    "RunResult": "openai.run",
    "RunState": "openai.run_state",
    "SlackNotifier": "approvals.notifiers",
    "Telemetry": "telemetry",
    "ToolExecutionEvent": "openai.events",
    "ToolPolicy": "core.policy",
    "ToolResult": "openai.events",
    "WebhookNotifier": "approvals.notifiers",
    "add_guard": "graph.builder",
    "approval_node": "graph.nodes",
    "create_guarded_agent": "graph.builder",
    "current_call": "core.context",
    "evaluate_node": "graph.nodes",
    "model_node": "graph.builder",
    "outcome_node": "graph.nodes",
    "route_by_recommendation": "graph.nodes",
    "tools_node": "graph.tool_node",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - type checkers read the imports below

if TYPE_CHECKING:
    from bighub_langgraph.approvals.notifications import Notifications as Notifications
    from bighub_langgraph.approvals.notifiers import EmailNotifier as EmailNotifier
    from bighub_langgraph.approvals.notifiers import SlackNotifier as SlackNotifier
    from bighub_langgraph.approvals.notifiers import WebhookNotifier as WebhookNotifier
    from bighub_langgraph.core.context import current_call as current_call
    from bighub_langgraph.core.policy import ApprovalPolicy as ApprovalPolicy
    from bighub_langgraph.core.policy import ToolPolicy as ToolPolicy
    from bighub_langgraph.graph.builder import add_guard as add_guard
    from bighub_langgraph.graph.builder import create_guarded_agent as create_guarded_agent
    from bighub_langgraph.graph.builder import model_node as model_node
    from bighub_langgraph.graph.nodes import approval_node as approval_node
    from bighub_langgraph.graph.nodes import evaluate_node as evaluate_node
    from bighub_langgraph.graph.nodes import outcome_node as outcome_node
    from bighub_langgraph.graph.nodes import route_by_recommendation as route_by_recommendation
    from bighub_langgraph.graph.tool_node import tools_node as tools_node
    from bighub_langgraph.guard import BighubGuard as BighubGuard
    from bighub_langgraph.journal.sql import Journal as Journal
    from bighub_langgraph.local import AsyncLocalBighub as AsyncLocalBighub
    from bighub_langgraph.local import LocalBighub as LocalBighub
    from bighub_langgraph.middleware import BighubMiddleware as BighubMiddleware
    from bighub_langgraph.openai.async_client import AsyncBighubOpenAI as AsyncBighubOpenAI
    from bighub_langgraph.openai.async_client import AsyncGuardedOpenAI as AsyncGuardedOpenAI
    from bighub_langgraph.openai.client import BighubOpenAI as BighubOpenAI
    from bighub_langgraph.openai.client import GuardedOpenAI as GuardedOpenAI
    from bighub_langgraph.openai.errors import (
        AdapterConfigurationError as AdapterConfigurationError,
    )
    from bighub_langgraph.openai.errors import ProviderResponseError as ProviderResponseError
    from bighub_langgraph.openai.events import GuardedToolResult as GuardedToolResult
    from bighub_langgraph.openai.events import ToolExecutionEvent as ToolExecutionEvent
    from bighub_langgraph.openai.events import ToolResult as ToolResult
    from bighub_langgraph.openai.run import RunResult as RunResult
    from bighub_langgraph.openai.run_state import RunState as RunState
    from bighub_langgraph.telemetry import Telemetry as Telemetry


# Public names that need an extra, and what to say where it is missing.
_EXTRAS = {
    "BighubMiddleware": (
        "BighubMiddleware needs LangChain 1.4.7 or newer: pip install 'bighub-langgraph[langchain]'"
    ),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ImportError as error:
        if name not in _EXTRAS:
            raise
        value = _build_placeholder(name, error)
    globals()[name] = value
    return value


def _build_placeholder(name: str, error: ImportError) -> Any:
    """A class in the place of one whose extra is missing, which says so when it is used.

    With it `import *` and `help` work without the extras.
    """
    message = _EXTRAS[name]

    class Placeholder(type):
        def __call__(cls, *_: Any, **__: Any) -> Any:
            raise ImportError(message) from error

    def refuse_subclass(*_: Any, **__: Any) -> None:
        raise ImportError(message) from error

    body = {"__doc__": message, "__module__": __name__, "__init_subclass__": refuse_subclass}
    return Placeholder(name, (), body)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
