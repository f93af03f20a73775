"""The blocking and the async client behind one set of blocking methods, for tests of both."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import openai

from bighub_langgraph import AsyncBighubOpenAI, BighubOpenAI, RunResult, RunState
from tests.openai_bighub import PROCEED, AsyncScriptedBighub, ScriptedBighub
from tests.openai_server import ResponsesServer

Json = dict[str, Any]
CLIENT_KINDS = ("blocking", "async")


class Runtime(Protocol):
    """What tests ask of either client."""

    client: Any
    bighub: Any

    def tool(self, name: str, fn: Any, **options: Any) -> None: ...
    def run(self, messages: Any = "Go.", model: str = "gpt-5", **options: Any) -> RunResult: ...
    def stream(self, messages: Any = "Go.", **options: Any) -> list[Json]: ...
    def run_with_approval(self, callback: Any, **options: Any) -> RunResult: ...
    def resume(self, state: RunState, **credentials: Any) -> RunResult: ...
    def resume_after_approval(self, tool: str, arguments: Json, request_id: str) -> Json: ...


@contextmanager
def runtime(
    client_kind: str, server: ResponsesServer, reply: Any = PROCEED, **options: Any
) -> Iterator[Runtime]:
    """A client of that kind, over the server and a BIGHUB that always replies the same."""
    guarded_client = (_Blocking if client_kind == "blocking" else _Async)(server, reply, options)
    try:
        yield guarded_client
    finally:
        guarded_client.close()


class _Blocking:
    def __init__(self, server: ResponsesServer, reply: Any, options: Json) -> None:
        self.bighub = ScriptedBighub(reply)
        self._model = openai.OpenAI(api_key="key", base_url=server.url)
        settings = {"bighub": self.bighub, **options}
        self.client = BighubOpenAI(openai_client=self._model, **settings)

    def tool(self, name: str, fn: Any, **options: Any) -> None:
        self.client.tool(name, fn, **options)

    def run(self, messages: Any = "Go.", model: str = "gpt-5", **options: Any) -> RunResult:
        return self.client.run(messages=messages, model=model, **options)

    def stream(self, messages: Any = "Go.", model: str = "gpt-5", **options: Any) -> list[Json]:
        return list(self.client.run_stream(messages=messages, model=model, **options))

    def run_with_approval(self, callback: Any, **options: Any) -> RunResult:
        return self.client.run_with_approval(
            messages="Go.", model="gpt-5", on_approval_required=callback, **options
        )

    def resume(self, state: RunState, **credentials: Any) -> RunResult:
        return self.client.resume(state, **credentials)

    def resume_after_approval(self, tool: str, arguments: Json, request_id: str) -> Json:
        return self.client.resume_after_approval(
            tool_name=tool, arguments=arguments, request_id=request_id
        )

    def close(self) -> None:
        self.client.close()
        self._model.close()


class _Async:
    def __init__(self, server: ResponsesServer, reply: Any, options: Json) -> None:
        self._loop = asyncio.Runner()
        self.bighub = AsyncScriptedBighub(reply)
        self._model = openai.AsyncOpenAI(api_key="key", base_url=server.url)
        settings = {"bighub": self.bighub, **options}
        self.client = AsyncBighubOpenAI(openai_client=self._model, **settings)

    def tool(self, name: str, fn: Any, **options: Any) -> None:
        self.client.tool(name, fn, **options)

    def run(self, messages: Any = "Go.", model: str = "gpt-5", **options: Any) -> RunResult:
        return self._loop.run(self.client.run(messages=messages, model=model, **options))

    def stream(self, messages: Any = "Go.", model: str = "gpt-5", **options: Any) -> list[Json]:
        async def collect_events() -> list[Json]:
            events = self.client.run_stream(messages=messages, model=model, **options)
            return [event async for event in events]

        return self._loop.run(collect_events())

    def run_with_approval(self, callback: Any, **options: Any) -> RunResult:
        return self._loop.run(
            self.client.run_with_approval(
                messages="Go.", model="gpt-5", on_approval_required=callback, **options
            )
        )

    def resume(self, state: RunState, **credentials: Any) -> RunResult:
        return self._loop.run(self.client.resume(state, **credentials))

    def resume_after_approval(self, tool: str, arguments: Json, request_id: str) -> Json:
        return self._loop.run(
            self.client.resume_after_approval(
                tool_name=tool, arguments=arguments, request_id=request_id
            )
        )

    def close(self) -> None:
        self._loop.run(self.client.close())
        self._loop.run(self._model.close())
        self._loop.close()
