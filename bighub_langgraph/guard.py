"""The guard: settings, clients and journal of one agent, for every host to lean on."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from bighub_langgraph.bighub.client_factory import open_clients
from bighub_langgraph.concurrency import (
    background_loop,
    call_in_thread,
    call_inline,
    gather_in_tasks,
    gather_in_threads,
    run_sync,
)
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.execution import evaluate_request
from bighub_langgraph.core.models import (
    CallRecord,
    Decision,
    EvaluationRequest,
    FailMode,
    Mode,
    ToolCall,
)
from bighub_langgraph.core.policy import (
    ApprovalPolicy,
    DecisionMode,
    GuardSettings,
    ToolPolicy,
    build_evaluation_request,
    check_choice,
)
from bighub_langgraph.core.ports import Journal, Ports
from bighub_langgraph.core.redaction import redact as redact_secrets
from bighub_langgraph.core.reporting import ReportingConfig, build_event
from bighub_langgraph.delivery_worker import DeliveryWorker

log = logging.getLogger("bighub_langgraph")

# How long a run waits at its end for what it has to tell; the rest follows in the background.
END_OF_RUN = 0.3


class BighubGuard:
    """Asks BIGHUB before a tool call runs, records what happens, and reports what came of it.

    Args:
        bighub: Whom to ask: "local" for the embedded engine, a database's URL for one that
            remembers, an https URL, a client of BIGHUB's SDK (blocking or async, or anything with
            the same methods), a pair of both, or None for BIGHUB_API_KEY and BIGHUB_BASE_URL.
        actor: Who acts, in BIGHUB's eyes.
        domain: The domain of the actions.
        tools: Policies by tool name; a tool without one is guarded with the defaults.
        fail_mode: While BIGHUB is away: "closed" blocks, "review" asks a person, "open" executes.
        minimum_mode: The least binding mode accepted: "review" reads an advisory reply as one.
        journal: A `Journal`, its URL, or None for memory.
        redact: Takes secrets out of what goes to BIGHUB, logs and traces.
        approvals: How people are asked.
        outcome_reporting: Whether outcomes are reported.
        memory_enabled: Whether tool rounds are told to BIGHUB's memory.
        on_decision: Called with each decision's event, see `bighub_langgraph.core.reporting`.
        decision_mode: "submit" or "submit_payload", for tools that say neither.
        retries: Further tries of an evaluation after a fault that may pass.
        clock: Seconds since the epoch.
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
        journal: Journal | str | None = None,
        redact: Callable[[Any], Any] = redact_secrets,
        approvals: ApprovalPolicy | None = None,
        outcome_reporting: bool = True,
        memory_enabled: bool = True,
        on_decision: Callable[[dict[str, Any]], Any] | None = None,
        decision_mode: DecisionMode = "submit",
        retries: int = 2,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_choice("fail_mode", fail_mode, tuple(FailMode))
        check_choice("decision_mode", decision_mode, ("submit", "submit_payload"))
        if minimum_mode is not None:
            check_choice("minimum_mode", minimum_mode, tuple(Mode))
        self.rules = GuardSettings(
            actor=actor,
            domain=domain,
            tools=_checked(tools or {}),
            fail_mode=FailMode(fail_mode),
            minimum_mode=None if minimum_mode is None else Mode(minimum_mode),
            decision_mode=decision_mode,
            approvals=approvals or ApprovalPolicy(),
            redact=redact,
        )
        self._on_decision = on_decision
        self._clients = open_clients(bighub, retries=retries)
        self.journal, self._own_journal = _journal(journal)
        telling = ReportingConfig(outcome_reporting, memory_enabled, redact=redact)
        self.ports = Ports(
            engine=self._clients.engine(retries),
            journal=self.journal,
            telling=telling,
            call=call_inline,
            gather=gather_in_threads,
            awaited=_on_background_loop,
            clock=clock,
            sleep=_sleep,
        )
        self.aports = Ports(
            engine=self._clients.aengine(retries),
            journal=self.journal,
            telling=telling,
            call=call_in_thread if self.journal.blocking else call_inline,
            gather=gather_in_tasks,
            awaited=_here,
            clock=clock,
            sleep=asyncio.sleep,
        )
        self.courier = DeliveryWorker(
            self.ports, self.aports, on_loop=self._clients.blocking is None
        )

    @property
    def client(self) -> Any:
        """The client of BIGHUB's SDK behind this guard, for everything else one can ask of it."""
        both = (self._clients.blocking, self._clients.asynchronous)
        return next(one for one in both if one is not None)

    def evaluate(self, tool: str, arguments: Mapping[str, Any], **about: str) -> Decision:
        """Ask BIGHUB about a call without running or recording it.

        Args:
            tool: The tool's name.
            arguments: What would be passed to it.
            about: `session` and `trajectory`, where the call belongs to some.
        """
        proposal, key = self._proposal(tool, arguments, **about)
        return run_sync(evaluate_request(proposal, key, self.rules, self.ports))

    async def aevaluate(self, tool: str, arguments: Mapping[str, Any], **about: str) -> Decision:
        """The same for a coroutine."""
        proposal, key = self._proposal(tool, arguments, **about)
        return await evaluate_request(proposal, key, self.rules, self.aports)

    @property
    def listened_to(self) -> bool:
        """Whether somebody wants to hear of decisions."""
        return self._on_decision is not None

    def announce(self, record: CallRecord) -> dict[str, Any]:
        """The event of a fresh decision, after the user's `on_decision` has seen it."""
        told = build_event("decision", record)
        if self._on_decision is not None:
            try:
                self._on_decision(told)
            except Exception:
                log.exception("on_decision raised; the call %s goes on", record.key[:12])
        return told

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """For `ToolNode(tools, wrap_tool_call=guard.wrap_tool_call, awrap_tool_call=...)`.

        Evaluates the call, runs it once or blocks it. A person is asked only where the task can be
        paused safely: one call in it, and a checkpointer. Anywhere else such a call is blocked, and
        `add_guard` is what to use. Pass both methods: LangGraph skips a missing one silently.
        """
        return _wrapping().wrap(self, request, handler)

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """The same for a coroutine."""
        return await _wrapping().awrap(self, request, handler)

    def flush(self, timeout: float | None = None) -> int:
        """Deliver what waits in the outbox; returns how many entries still wait.

        With a timeout it goes on trying for so many seconds, without one it tries everything once.
        """
        return self.courier.flush(timeout)

    async def aflush(self, timeout: float | None = None) -> int:  # noqa: ASYNC109 - as `flush`
        """The same for a coroutine."""
        return await self.courier.aflush(timeout)

    def close(self) -> None:
        """Deliver what waits, for a few seconds, and close what this guard opened."""
        self.courier.close()
        self._clients.close()
        if self._own_journal:
            self.journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _proposal(
        self, tool: str, arguments: Mapping[str, Any], **about: str
    ) -> tuple[EvaluationRequest, str]:
        # A question of its own each time: nothing ties two of them to one call.
        call = ToolCall("", "", uuid4().hex, tool, arguments)
        return build_evaluation_request(call, self.rules, **about), call.key


def _wrapping() -> Any:
    """The host for ToolNodes; a guard by itself loads no LangGraph."""
    return import_module("bighub_langgraph.graph.wrapping")


def _checked(tools: Mapping[str, ToolPolicy]) -> Mapping[str, ToolPolicy]:
    for name, policy in tools.items():
        if not isinstance(policy, ToolPolicy):
            raise ConfigurationError(f"tools[{name!r}] is a ToolPolicy, not {policy!r}")
    return dict(tools)


def _journal(journal: Journal | str | None) -> tuple[Journal, bool]:
    """The journal to use, and whether it is ours to close."""
    if journal is None:
        from bighub_langgraph.journal.memory import MemoryJournal

        return MemoryJournal(), True
    if isinstance(journal, str):
        from bighub_langgraph.journal.sql import SqlJournal

        return SqlJournal(journal), True
    return journal, False


async def _here(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


async def _on_background_loop(awaitable: Awaitable[Any]) -> Any:
    return background_loop().run(_here(awaitable))


async def _sleep(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251 - the blocking side has no loop to keep waiting
