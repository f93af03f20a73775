"""`BighubOpenAI`: the client for code without an event loop."""

import inspect
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import Any, Self

from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.openai.agent_loop import run_agent
from bighub_langgraph.openai.base_client import BaseClient
from bighub_langgraph.openai.responses_api import BlockingResponsesApi
from bighub_langgraph.openai.run import RunResult
from bighub_langgraph.openai.run_state import RunState
from bighub_langgraph.openai.tool_runner import ToolRunner

Json = dict[str, Any]


class BighubOpenAI(BaseClient):
    """Runs a model of OpenAI's Responses API, and evaluates each of its tool calls with BIGHUB.

    The options of the constructor are those of
    `bighub_langgraph.openai.settings.ClientSettings`. Use it as a context manager, or call
    `close`, so that the last reports are delivered.
    """

    _api_class = BlockingResponsesApi

    def run(
        self,
        *,
        messages: Any,
        model: str,
        instructions: str | None = None,
        temperature: float | None = None,
        extra_create_args: Mapping[str, Any] | None = None,
    ) -> RunResult:
        """Run the model and its tool calls until it is done, or a person is needed.

        Args:
            messages: A text, or a list of messages and items.
            model: The model's name.
            instructions: The model's instructions, in every round.
            temperature: The sampling temperature.
            extra_create_args: Further arguments of `responses.create`, in every round.

        Raises:
            ProviderResponseError: The model's service failed; `state` of the error can be resumed.
        """
        run = self._start(messages, model, instructions, temperature, extra_create_args)
        return run_sync(self._finish(run_agent(run, self._make_context(), stream=False)))

    def run_stream(
        self,
        *,
        messages: Any = None,
        model: str = "",
        instructions: str | None = None,
        temperature: float | None = None,
        extra_create_args: Mapping[str, Any] | None = None,
        state: RunState | None = None,
    ) -> Iterator[Json]:
        """Run, and yield the events as they come, `final_response` last.

        `state=` resumes a run instead, with the headers and tools in `extra_create_args`.
        """
        if state is not None:
            parts = self._resume(state, extra_create_args, stream=True)
        else:
            run = self._start(messages, model, instructions, temperature, extra_create_args)
            parts = run_agent(run, self._make_context(), stream=True)
        return _iterate(self._stream(parts))

    def run_with_approval(
        self,
        *,
        messages: Any,
        model: str,
        instructions: str | None = None,
        temperature: float | None = None,
        extra_create_args: Mapping[str, Any] | None = None,
        on_approval_required: Callable[[Json], Any] | None = None,
    ) -> RunResult:
        """Run, and call the callback for every call that waits for a person.

        The callback gets `request_id`, `event` and `response`. It returns a mapping with
        `resolution` ("approved" or "denied") and optionally `comment`, `approver` and changed
        `arguments`; or None to leave the call pending.
        """
        run = self._start(messages, model, instructions, temperature, extra_create_args)
        return run_sync(self._run_with_approval(run, on_approval_required))

    def resume(
        self,
        state: RunState,
        *,
        extra_headers: Mapping[str, str] | None = None,
        tools: Any = None,
    ) -> RunResult:
        """Record people's answers and continue the run; a second time returns the same result.

        Args:
            state: The stopped run.
            extra_headers: The headers of its requests, since a stored run holds none.
            tools: Its hosted tools, with the keys that a stored run does not hold.
        """
        credentials = {"extra_headers": extra_headers, "tools": tools}
        return run_sync(self._finish(self._resume(state, credentials, stream=False)))

    def resume_after_approval(
        self,
        *,
        tool_name: str,
        arguments: Mapping[str, Any],
        request_id: str,
        resolution: str = "approved",
        comment: str | None = None,
    ) -> Json:
        """Resolve one of BIGHUB's approvals by its id; if it is approved, run the call once."""
        return run_sync(
            self._resume_after_approval(tool_name, arguments, request_id, resolution, comment)
        )

    def check_tool(self, tool_name: str, arguments: Mapping[str, Any]) -> Json:
        """Evaluate a call without running it; `_resolved_action` is what would happen to it."""
        return run_sync(self._check_tool(tool_name, arguments))

    def close(self) -> None:
        """Deliver pending reports for a few seconds, and close what this client opened."""
        self._close()
        if self._api.opened_client is not None:
            self._api.opened_client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make_ports(self) -> tuple[Ports, ToolRunner]:
        return self._runtime.ports, ToolRunner(self._runtime.ports)

    async def _call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        value = function(*args, **options)
        return await self._ports.wait_for(value) if inspect.isawaitable(value) else value

    async def _wait_for_delivery(self) -> None:
        self._runtime.delivery.wait(self.memory_ingest_timeout_ms / 1000)


GuardedOpenAI = BighubOpenAI


def _iterate(events: AsyncGenerator[Json, None]) -> Iterator[Json]:
    async def receive() -> Json | None:
        return await anext(events, None)

    try:
        while (event := run_sync(receive())) is not None:
            yield event
    finally:
        run_sync(events.aclose())
