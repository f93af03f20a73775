"""What the blocking and the async client share: what they open, and each method as one flow."""

import logging
import time
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from copy import deepcopy
from dataclasses import replace
from functools import partial
from secrets import token_hex
from typing import Any, ClassVar
from uuid import uuid4

from bighub_langgraph.bighub.client_factory import open_clients
from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.context import log_fields
from bighub_langgraph.core.errors import ConfigurationError, InvalidCall
from bighub_langgraph.core.models import CallRecord, FailMode
from bighub_langgraph.core.policy import GuardSettings
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.reporting import ReportingConfig
from bighub_langgraph.guard_runtime import GuardRuntime, open_journal
from bighub_langgraph.openai.agent_loop import (
    NO_RESPONSE,
    Parts,
    build_request_settings,
    parse_messages,
    run_agent,
    run_to_end,
    run_with_approvals,
)
from bighub_langgraph.openai.errors import AdapterConfigurationError, InvalidRunState
from bighub_langgraph.openai.resilience import RetryPolicy, ServiceBreaker
from bighub_langgraph.openai.response_parsing import ModelResponse
from bighub_langgraph.openai.responses_api import ResponsesApi
from bighub_langgraph.openai.run import Run, RunContext, RunEnding, RunResult
from bighub_langgraph.openai.run_approvals import PendingRequest, resolve_request
from bighub_langgraph.openai.run_state import PickledRunState, RunState
from bighub_langgraph.openai.run_verification import (
    check_against_journal,
    check_tools_unchanged,
    fingerprint_tools,
    parse_state,
)
from bighub_langgraph.openai.settings import ClientSettings
from bighub_langgraph.openai.tool_runner import ToolRunner
from bighub_langgraph.openai.tools import Tool, ToolRegistration, check_tool_call
from bighub_langgraph.telemetry import Telemetry

log = logging.getLogger("bighub_langgraph")
Json = dict[str, Any]


class BaseClient(ClientSettings, ToolRegistration):
    """What `BighubOpenAI` and `AsyncBighubOpenAI` have in common.

    Each method of theirs is written once here, as a coroutine that only waits in functions which
    the subclass provides.
    """

    _api_class: ClassVar[type[ResponsesApi]]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.session_id: str = self.session_id or str(uuid4())
        key = self.signing_key
        self._signing_key = key.encode() if isinstance(key, str) else key
        breaker = ServiceBreaker(
            self.provider_circuit_breaker_failures, self.provider_circuit_breaker_reset_seconds
        )
        self._api = self._api_class(
            self.openai_client,
            api_key=self.openai_api_key,
            timeout=self.provider_timeout_seconds,
            max_retries=self.provider_max_retries,
            retry=RetryPolicy(
                first_delay=self.provider_retry_backoff_seconds,
                max_delay=self.provider_retry_max_backoff_seconds,
                jitter=self.provider_retry_jitter_seconds,
            ),
            breaker=breaker,
        )
        self._runtime, self._owned_resources = _open_runtime(self)
        ToolRegistration.__init__(self, self._runtime.settings)
        self.actor, self.domain = self._runtime.settings.actor, self._runtime.settings.domain
        self._ports, self._tool_runner = self._make_ports()

    @abstractmethod
    def _make_ports(self) -> tuple[Ports, ToolRunner]:
        """Return the ports, and a runner of tools with them."""

    @abstractmethod
    async def _call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a user's function, which may be a coroutine function."""

    @abstractmethod
    async def _wait_for_delivery(self) -> None:
        """Wait a short time until the reports of a run are delivered."""

    def state_from_json(self, blob: Any) -> RunState:
        """Load a run that `RunState.to_json` stored, here or in another process.

        Raises:
            InvalidRunState: It is not a stored run, or a newer one; its tools have changed; its
                calls are not those of the journal; or it is not signed with `signing_key`.
        """
        blob = blob.to_json() if isinstance(blob, PickledRunState) else blob
        run, response = parse_state(blob, self._tools, self._signing_key)
        context = self._make_context()._replace(ports=self._runtime.ports)
        is_signed = self._signing_key is not None
        run = run_sync(check_against_journal(run, context, is_signed=is_signed))
        return self._make_state(run, response)

    # -- flows -------------------------------------------------------------------------------------

    def _start(
        self,
        messages: Any,
        model: str,
        instructions: str | None,
        temperature: float | None,
        extra: Mapping[str, Any] | None,
    ) -> Run:
        settings = build_request_settings(model, instructions, temperature, extra)
        if not self._tools and not settings.get("tools"):
            raise AdapterConfigurationError("no tools are registered: call tool(name, fn) first")
        items = parse_messages(messages)
        return Run(token_hex(16), self.session_id, settings, items=items, new_items=items)

    def _resume(
        self, state: RunState, credentials: Mapping[str, Any] | None, *, stream: bool
    ) -> Parts:
        if isinstance(state, PickledRunState):
            state = self.state_from_json(state)
        if not isinstance(state, RunState):
            raise InvalidRunState(
                f"resume a RunState, such as state_from_json returns, not {state!r:.80}"
            )
        if not state.run.calls and not state.run.new_items:
            raise InvalidRunState("this run has ended; there is nothing to resume")
        check_tools_unchanged(state.run, state.fingerprints, self._tools)
        self._ports.schedule_delivery()  # of what the stopped run has not delivered
        context = self._make_context()
        run = state.run.with_credentials(credentials or {})
        return run_agent(run, context, stream=stream, response=state.response, once=True)

    async def _finish(self, parts: Parts) -> RunResult:
        try:
            ending = await run_to_end(parts)
        except Exception:
            await self._wait_for_delivery()
            raise
        await self._wait_for_delivery()
        return self._make_result(ending)

    async def _stream(self, parts: Parts) -> AsyncGenerator[Json, None]:
        try:
            async with aclosing(parts):
                async for part in parts:
                    if not isinstance(part, RunEnding):
                        yield part
                        continue
                    await self._wait_for_delivery()
                    response, response_id = self._make_result(part), part.response.id
                    yield {
                        "type": "final_response",
                        "response": response,
                        "response_id": response_id,
                    }
        finally:
            await self._wait_for_delivery()

    async def _run_with_approval(
        self, run: Run, callback: Callable[[Json], Any] | None
    ) -> RunResult:
        ask = None if callback is None else partial(self._call, callback)
        context = self._make_context()
        ending, loop = await run_with_approvals(run, context, ask, self._make_result)
        await self._wait_for_delivery()
        result = self._make_result(ending)
        result["approval_loop"] = loop
        return result

    async def _resume_after_approval(
        self,
        tool_name: str,
        arguments: Mapping[str, Any],
        request_id: str,
        resolution: str,
        comment: str | None,
    ) -> Json:
        validated_arguments = self._get_tool(tool_name).parameters.check(arguments)
        request = PendingRequest(
            tool_name, validated_arguments, request_id, resolution, comment or ""
        )
        resolve = partial(
            self._call,
            self._runtime.clients.primary.approvals.resolve,
            request_id,
            resolution=resolution,
            comment=comment,
        )
        result = await resolve_request(request, self._make_context(), resolve)
        await self._wait_for_delivery()
        return result

    async def _check_tool(self, tool_name: str, arguments: Mapping[str, Any]) -> Json:
        tool = self._get_tool(tool_name)
        return await check_tool_call(tool, arguments, self._make_context(), uuid4().hex)

    # -- parts -------------------------------------------------------------------------------------

    def _get_tool(self, name: str) -> Tool:
        try:
            return self._tools[name]
        except InvalidCall as error:
            raise AdapterConfigurationError(str(error)) from error

    def _make_context(self) -> RunContext:
        has_callback = self.on_decision is not None or self._runtime.on_decision is not None
        return RunContext(
            api=self._api,
            tools=self._tools,
            settings=self._tools.settings,
            ports=self._ports,
            tool_runner=self._tool_runner,
            session_id=self.session_id,
            max_rounds=self.max_tool_rounds,
            emit_decision=self._emit_decision if has_callback else None,
            create_state=lambda run: self._make_state(run, NO_RESPONSE),
        )

    async def _emit_decision(self, event: Json, record: CallRecord) -> None:
        self._runtime.emit_decision(record)
        if self.on_decision is None:
            return
        try:
            await self._call(self.on_decision, deepcopy(event))
        except Exception:
            log.exception(
                "on_decision raised; the call %s goes on", record.key[:12], extra=log_fields(record)
            )

    def _make_result(self, ending: RunEnding) -> RunResult:
        return RunResult(ending, self._make_state(ending.run, ending.response))

    def _make_state(self, run: Run, response: ModelResponse) -> RunState:
        return RunState(
            run,
            response,
            self._tools,
            clock=self._runtime.ports.clock,
            # Taken now: a tool that is registered again later is not the one asked about.
            fingerprints=fingerprint_tools(run.pending_calls, self._tools),
            signing_key=self._signing_key,
        )

    def _close(self) -> None:
        self._runtime.delivery.close()
        for resource in self._owned_resources:
            resource.close()


def _open_runtime(client: ClientSettings) -> tuple[GuardRuntime, list[Any]]:
    """Return a runtime with the client's settings, and what was opened for it, to be closed."""
    if client.guard is not None:
        shared_runtime = client.guard.runtime
        _refuse_contradictions(client, shared_runtime.settings)
        return shared_runtime.derive(
            *_merge_settings(client, shared_runtime.settings, shared_runtime.ports.reporting)
        ), []
    engine = client.bighub if client.bighub_client is None else client.bighub_client
    retries = client.evaluate_retries
    try:
        clients = open_clients(
            engine,
            api_key=client.bighub_api_key,
            retries=retries,
            evaluate_timeout=client.evaluate_timeout,
        )
        journal, is_opened = open_journal(client.journal)
    except ConfigurationError as error:
        raise AdapterConfigurationError(str(error)) from error
    settings = GuardSettings(
        domain="it_actions",
        fail_mode=FailMode(client.fail_mode),
        decision_mode=client.decision_mode,  # type: ignore[arg-type]  # checked by the settings
    )
    settings, reporting = _merge_settings(client, settings, ReportingConfig())
    telemetry = client.telemetry or Telemetry()
    runtime = GuardRuntime.build(
        settings,
        clients,
        journal,
        reporting,
        retries=retries,
        clock=time.time,
        telemetry=telemetry,
    )
    return runtime, [clients, telemetry, *([journal] if is_opened else [])]


def _merge_settings(
    client: ClientSettings, settings: GuardSettings, reporting: ReportingConfig
) -> tuple[GuardSettings, ReportingConfig]:
    settings = replace(
        settings,
        actor=client.actor or settings.actor,
        domain=client.domain or settings.domain,
        objective=client.decision_objective,
        model_selection=client.model_selection,
    )
    reporting = replace(
        reporting,
        outcomes=reporting.outcomes and client.outcome_reporting,
        memory=reporting.memory and client.memory_enabled,
        source=client.memory_source,
        source_version=client.memory_source_version,
    )
    return settings, reporting


def _refuse_contradictions(client: ClientSettings, shared_settings: GuardSettings) -> None:
    for name, default in (("fail_mode", "closed"), ("decision_mode", "submit")):
        value, guards = getattr(client, name), str(getattr(shared_settings, name))
        if value not in {default, guards}:
            raise AdapterConfigurationError(
                f"guard= has {name}={guards!r}: set {name} there, and not {value!r} here"
            )
