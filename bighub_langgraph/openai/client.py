"""`BighubOpenAI`: the client for code without an event loop."""

import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from copy import deepcopy
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from bighub_langgraph.concurrency import background_loop, run_sync
from bighub_langgraph.core.models import CallRecord
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.openai.conversation import Ending, converse, go_on
from bighub_langgraph.openai.facade import Facade
from bighub_langgraph.openai.models import BLOCKING
from bighub_langgraph.openai.resolution import resolved
from bighub_langgraph.openai.result import RunResult
from bighub_langgraph.openai.running import Runner, blocking_runner
from bighub_langgraph.openai.runs import ended, with_approval
from bighub_langgraph.openai.state import RunState
from bighub_langgraph.openai.tools import check_tool_call

__all__ = ["BighubOpenAI", "GuardedOpenAI"]

log = logging.getLogger("bighub_langgraph")
Json = dict[str, Any]


class BighubOpenAI(Facade):
    """Runs a model of OpenAI's Responses API with tools that BIGHUB decides on, call by call."""

    _colour = BLOCKING

    def run(
        self,
        *,
        messages: Any,
        model: str,
        instructions: str | None = None,
        temperature: float | None = None,
        extra_create_args: Mapping[str, Any] | None = None,
    ) -> RunResult:
        """Ask the model and run its calls until it is done, or a person is needed.

        Args:
            messages: A text, or a list of messages and items.
            model: The model's name.
            instructions: What it is told in every round.
            temperature: How freely it speaks.
            extra_create_args: Whatever else `responses.create` takes; it goes into every round.
        """
        talk = self._begun(messages, model, instructions, temperature, extra_create_args)
        return self._finished(converse(talk, self._surroundings(), streaming=False))

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
        """The same with events as they come, `final_response` last; `state=` resumes a run."""
        if state is not None:
            talk = self._resumable(state)
            parts = go_on(talk, self._surroundings(), streaming=True, reply=state.reply)
        else:
            talk = self._begun(messages, model, instructions, temperature, extra_create_args)
            parts = converse(talk, self._surroundings(), streaming=True)
        return self._streamed(parts)

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
        """Run, and ask the callback for every call that waits for a person.

        The callback gets `request_id`, `event` and `response`, and returns a mapping with
        `resolution` ("approved" or "denied") and perhaps `comment`, `approver` and changed
        `arguments`; or None to leave the call waiting.
        """
        talk = self._begun(messages, model, instructions, temperature, extra_create_args)
        host = self._surroundings()

        async def consult(context: Json) -> Any:
            return _outcome_of(on_approval_required, context)

        asking = None if on_approval_required is None else consult
        ending, loop = run_sync(with_approval(talk, host, asking, self._result))
        return self._told(ending, approval_loop=loop)

    def resume(self, state: RunState) -> RunResult:
        """Carry out what people answered, and go on; a second time gives the same answer."""
        talk = self._resumable(state)
        going = go_on(talk, self._surroundings(), streaming=False, reply=state.reply)
        return self._finished(going)

    def resume_after_approval(
        self,
        *,
        tool_name: str,
        arguments: Mapping[str, Any],
        request_id: str,
        resolution: str = "approved",
        comment: str | None = None,
    ) -> Json:
        """Settle one of BIGHUB's approvals by its id; when it is approved, run the call once."""
        asked = self._resolution(tool_name, arguments, request_id, resolution, comment)

        async def tell() -> Any:
            resolve = self._backing.guard.client.approvals.resolve
            return _waited_for(resolve(request_id, resolution=resolution, comment=comment))

        told = run_sync(resolved(asked, self._surroundings(), tell))
        self._wait()
        return told

    def check_tool(self, tool_name: str, arguments: Mapping[str, Any]) -> Json:
        """Ask BIGHUB about a call and run nothing; `_resolved_action` says what would be done."""
        tool = self._registered(tool_name)
        return run_sync(check_tool_call(tool, dict(arguments), self._surroundings(), uuid4().hex))

    def close(self) -> None:
        """Tell BIGHUB what waits, for a few seconds, and close what this client opened."""
        self._backing.close()
        if self._own_openai:
            self._openai.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _equipped(self) -> tuple[Ports, Runner]:
        ports = self._backing.runtime.ports
        return ports, blocking_runner(ports)

    def _finished(self, parts: AsyncGenerator[Json | Ending, None]) -> RunResult:
        try:
            return self._told(run_sync(ended(parts)))
        except BaseException:
            self._wait()
            raise

    def _told(self, ending: Ending, **more: Json) -> RunResult:
        self._wait()
        result = self._result(ending)
        result.update(more)
        return result

    def _streamed(self, parts: AsyncGenerator[Json | Ending, None]) -> Iterator[Json]:
        try:
            while (part := run_sync(_next(parts))) is not None:
                if not isinstance(part, Ending):
                    yield part
                    continue
                response_id = part.reply.id
                response = self._told(part)
                yield {"type": "final_response", "response": response, "response_id": response_id}
        finally:
            run_sync(_closed(parts))
            self._wait()

    def _wait(self) -> None:
        self._backing.runtime.delivery.wait(self.settings.memory_ingest_timeout_ms / 1000)

    async def _notice(self, event: Json, record: CallRecord) -> None:
        self._backing.guard.runtime.emit_decision(record)
        if self.settings.on_decision is None:
            return
        try:
            _outcome_of(self.settings.on_decision, deepcopy(event))
        except Exception:
            log.exception("on_decision raised; the call %s goes on", record.key[:12])

    async def _deliver(self, turn: str) -> None:
        self._backing.runtime.delivery.deliver(turn)

    def _deliver_soon(self) -> None:
        self._backing.runtime.delivery.deliver()


GuardedOpenAI = BighubOpenAI


async def _next(parts: AsyncGenerator[Json | Ending, None]) -> Json | Ending | None:
    return await anext(parts, None)


async def _closed(parts: AsyncGenerator[Json | Ending, None]) -> None:
    await parts.aclose()


def _outcome_of(callback: Any, argument: Json) -> Any:
    return _waited_for(callback(argument))


def _waited_for(value: Any) -> Any:
    return background_loop().run(_awaited(value)) if inspect.isawaitable(value) else value


async def _awaited(value: Any) -> Any:
    return await value
