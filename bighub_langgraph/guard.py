"""`BighubGuard`: the settings, clients and journal of one agent."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from os import PathLike
from typing import Any, Self, TypeVar
from uuid import uuid4

from bighub_langgraph.bighub.client_factory import open_clients
from bighub_langgraph.bighub.limits import EVALUATE_TIMEOUT
from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.evaluation import evaluate_request
from bighub_langgraph.core.models import Decision, FailMode, Mode, ToolCall
from bighub_langgraph.core.policy import (
    ApprovalPolicy,
    DecisionMode,
    GuardSettings,
    ToolPolicy,
    build_evaluation_request,
    check_choice,
)
from bighub_langgraph.core.ports import JournalPort, NotificationsPort, Ports, schedule_nothing
from bighub_langgraph.core.redaction import redact as redact_secrets
from bighub_langgraph.core.reporting import ReportingConfig
from bighub_langgraph.guard_runtime import DecisionCallback, GuardRuntime, open_journal
from bighub_langgraph.telemetry import Telemetry

Choice = TypeVar("Choice", bound=StrEnum)


class BighubGuard:
    """Evaluates tool calls with BIGHUB, records what happens, and reports the outcomes.

    Args:
        bighub: The engine: "local" for the embedded one, the URL of its database, an https URL, a
            client of BIGHUB's SDK (blocking or async, or anything with the same methods), a pair of
            both, or None for BIGHUB_API_KEY and BIGHUB_BASE_URL.
        actor: The actor that BIGHUB sees.
        domain: The domain of the actions.
        tools: Policies by tool name; a tool without one is guarded with the defaults.
        fail_mode: While BIGHUB is unreachable: "closed" blocks, "review" asks a person, "open"
            executes.
        minimum_mode: The least binding enforcement mode accepted: "review" treats an advisory
            response as one in review mode.
        journal: A `Journal`, its path or URL, or None for one in memory.
        name: The agent's name, which no other agent of the journal has; see `ApprovalWorker`.
        redact: Removes secrets from what goes to BIGHUB, logs and traces.
        approvals: How people are asked.
        notifications: Who is notified of calls that wait, as `Notifications(SlackNotifier(...))`.
        outcome_reporting: Whether outcomes are reported.
        memory_enabled: Whether the calls of each turn are sent to BIGHUB's memory.
        on_decision: Called with the event of each decision, see `bighub_langgraph.core.reporting`.
        telemetry: What OpenTelemetry is shown, where the application has set a provider.
        decision_mode: "submit" or "submit_payload", for tools whose policy names neither.
        retries: Further tries of an evaluation after a fault that may pass.
        evaluate_timeout: How many seconds an evaluation may take, with all its tries; the embedded
            engine is not limited.
        clock: Returns seconds since the epoch.

    Raises:
        ConfigurationError: A setting cannot work; the message says what to pass instead.
    """

    def __init__(
        self,
        *,
        bighub: Any = None,
        actor: str = "AI_AGENT",
        domain: str | None = None,
        tools: Mapping[str, ToolPolicy] | None = None,
        fail_mode: FailMode | str = "closed",
        minimum_mode: Mode | str | None = None,
        journal: JournalPort | str | PathLike[str] | None = None,
        name: str = "",
        redact: Callable[[Any], Any] = redact_secrets,
        approvals: ApprovalPolicy | None = None,
        notifications: NotificationsPort | None = None,
        outcome_reporting: bool = True,
        memory_enabled: bool = True,
        on_decision: DecisionCallback | None = None,
        telemetry: Telemetry | None = None,
        decision_mode: DecisionMode = "submit",
        retries: int = 2,
        evaluate_timeout: float = EVALUATE_TIMEOUT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_choice("decision_mode", decision_mode, ("submit", "submit_payload"))
        settings = GuardSettings(
            name=name,
            actor=actor,
            domain=domain,
            tools=_check_policies(tools or {}),
            fail_mode=_to_choice("fail_mode", fail_mode, FailMode),
            minimum_mode=(
                None if minimum_mode is None else _to_choice("minimum_mode", minimum_mode, Mode)
            ),
            decision_mode=decision_mode,
            approvals=approvals or ApprovalPolicy(),
            redact=redact,
        )
        clients = open_clients(bighub, retries=retries, evaluate_timeout=evaluate_timeout)
        self.journal, self._owns_journal = open_journal(journal)
        self.notifications = notifications.start(self.journal) if notifications else None
        self.telemetry = telemetry or Telemetry()
        notify = self.notifications.schedule if self.notifications else schedule_nothing
        self.runtime = GuardRuntime.build(
            settings,
            clients,
            self.journal,
            ReportingConfig(outcome_reporting, memory_enabled, redact=redact),
            retries=retries,
            clock=clock,
            on_decision=on_decision,
            schedule_notification=notify,
            telemetry=self.telemetry,
        )

    @property
    def client(self) -> Any:
        """The client of BIGHUB's SDK behind this guard, for its other methods."""
        return self.runtime.clients.primary

    def evaluate(self, tool: str, arguments: Mapping[str, Any], **context: str) -> Decision:
        """Evaluate a call without running or recording it.

        Args:
            tool: The tool's name.
            arguments: The arguments it would get.
            context: `session` and `trajectory`, where the call belongs to some.
        """
        return run_sync(self._evaluate(tool, arguments, self.runtime.ports, **context))

    async def aevaluate(self, tool: str, arguments: Mapping[str, Any], **context: str) -> Decision:
        """Async variant of `evaluate`."""
        return await self._evaluate(tool, arguments, self.runtime.async_ports, **context)

    async def _evaluate(
        self, tool: str, arguments: Mapping[str, Any], ports: Ports, **context: str
    ) -> Decision:
        # Each evaluation has a key of its own: two of them are never one call.
        call, settings = ToolCall("", "", uuid4().hex, tool, arguments), self.runtime.settings
        request = build_evaluation_request(call, settings, **context)
        return await evaluate_request(request, call.key, settings, ports)

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Guard a `ToolNode`: `ToolNode(tools, wrap_tool_call=guard.wrap_tool_call, ...)`.

        Evaluates the call, then runs it once or blocks it. A person is asked only where the task
        can be paused safely: one call in it, and a checkpointer. Elsewhere such a call is blocked;
        use `add_guard` there. Pass `awrap_tool_call` as well: LangGraph silently skips a missing
        one.
        """
        from bighub_langgraph.graph.tool_wrapper import guard_tool_call

        return guard_tool_call(self.runtime, request, handler)

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """Async variant of `wrap_tool_call`."""
        from bighub_langgraph.graph.tool_wrapper import aguard_tool_call

        return await aguard_tool_call(self.runtime, request, handler)

    def wrap_tools(self, tools: Sequence[Any]) -> list[Any]:
        """Return LangChain tools that carry the guard with them, wherever they are executed.

        For builders that drop middleware or wrap a ToolNode anew. Each call is evaluated, runs at
        most once and is reported; a person is asked where a ToolNode runs the call alone in a task
        of a graph with a checkpointer, else a call that needs a person is blocked. Under a guard
        around it, in nodes or middleware, a call is evaluated once.

        Args:
            tools: Functions and `BaseTool`s, also those of MCP servers.
        """
        from bighub_langgraph.graph.guarded_tools import guard_tool

        return [guard_tool(self.runtime, tool) for tool in tools]

    def flush(self, timeout: float | None = None) -> int:
        """End overdue calls and deliver the pending reports; return how many are still pending.

        With a timeout, tries for that many seconds; without one, tries each report once.
        """
        return self.runtime.delivery.flush(timeout)

    async def aflush(self, timeout: float | None = None) -> int:  # noqa: ASYNC109 - as `flush`
        """Async variant of `flush`."""
        return await self.runtime.delivery.aflush(timeout)

    def close(self) -> None:
        """Deliver pending reports for a few seconds, and close what this guard opened."""
        self.runtime.delivery.close()
        self.runtime.clients.close()
        self.telemetry.close()
        if self.notifications:
            self.notifications.close()
        if self._owns_journal:
            self.journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _to_choice(name: str, value: str, choices: type[Choice]) -> Choice:
    check_choice(name, value, tuple(choices))
    return choices(value)


def _check_policies(tools: Mapping[str, ToolPolicy]) -> Mapping[str, ToolPolicy]:
    for name, policy in tools.items():
        if not isinstance(policy, ToolPolicy):
            raise ConfigurationError(f"tools[{name!r}] is a ToolPolicy, not {policy!r}")
    return dict(tools)
