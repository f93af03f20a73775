"""Faults of the model's service, served by `llmock`: runs recover or raise; no tool runs twice."""

import importlib.util
from collections.abc import Iterator
from typing import Any, Self

import openai
import pytest

from bighub_langgraph import AsyncBighubOpenAI, BighubOpenAI, ProviderResponseError
from bighub_langgraph.openai.errors import StreamInterruptedError
from tests.openai_bighub import AsyncScriptedBighub, ScriptedBighub

if importlib.util.find_spec("llmock") is None:
    pytest.skip("llmock is not installed: pip install llmock", allow_module_level=True)

from llmock.pytest_plugin import LLMock
from llmock.testing import LLMockServer

Json = dict[str, Any]


@pytest.fixture(scope="module")
def service() -> Iterator[LLMockServer]:
    with LLMockServer() as server:
        yield server


@pytest.fixture
def faults(service: LLMockServer) -> LLMock:
    return LLMock(service).reset()


class Refunds:
    """A client with one tool, and what became of it."""

    def __init__(self, faults: LLMock, **options: Any) -> None:
        self.orders: list[str] = []
        self.bighub = ScriptedBighub()
        self._model = openai.OpenAI(api_key="key", base_url=faults.base_url())
        self.runtime = BighubOpenAI(openai_client=self._model, bighub=self.bighub, **options)
        self.runtime.tool("refund", self.refund)

    def refund(self, order: str) -> str:
        self.orders.append(order)
        return "refunded"

    @property
    def outcomes(self) -> list[str]:
        return [outcome["status"] for outcome in self.bighub.reports]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.runtime.close()
        self._model.close()


CALL = {"order": "o1"}
RUN: Json = {"messages": "Refund order o1.", "model": "gpt-5"}


@pytest.mark.parametrize("status", [429, 503])
def test_a_transient_fault_is_retried_after_the_requested_delay(
    faults: LLMock, status: int
) -> None:
    faults.fail(status, times=1, retry_after=0.2).call_tool("refund", CALL).reply("Done.")
    with Refunds(faults) as client:
        answer = client.runtime.run(**RUN)
        assert (answer["output_text"], client.orders) == ("Done.", ["o1"])
        assert client.outcomes == ["SUCCESS"]
    faults.assert_resilient()


def test_an_outage_after_a_tool_ran_loses_nothing(faults: LLMock) -> None:
    faults.call_tool("refund", CALL)
    down = {"on_decision": lambda _: faults.fail(503, times=2), "provider_max_retries": 0}
    with Refunds(faults, **down) as client:
        with pytest.raises(ProviderResponseError, match="503") as error_info:
            client.runtime.run(**RUN)
        with pytest.raises(ProviderResponseError, match="503") as again:
            client.runtime.resume(error_info.value.state)
        faults.reply("Done.")
        assert client.runtime.resume(again.value.state)["output_text"] == "Done."
        assert (client.orders, client.outcomes) == (["o1"], ["SUCCESS"])


@pytest.mark.parametrize("fault", ["disconnect", "truncate", "corrupt"])
def test_a_broken_stream_before_the_call_runs_no_tool(faults: LLMock, fault: str) -> None:
    faults.call_tool("refund", CALL)
    getattr(faults, fault)(after_chunks=3)
    with Refunds(faults, provider_max_retries=0) as client:
        with pytest.raises(StreamInterruptedError):
            list(client.runtime.run_stream(**RUN))
        assert (client.orders, client.bighub.evaluations) == ([], [])


@pytest.mark.parametrize("fault", ["disconnect", "truncate", "corrupt"])
def test_a_stream_that_breaks_after_the_call_can_be_continued(faults: LLMock, fault: str) -> None:
    with Refunds(faults, provider_max_retries=0) as client:
        faults.call_tool("refund", CALL)
        events = client.runtime.run_stream(**RUN)
        while next(events)["type"] != "execution_event":
            pass
        getattr(faults, fault)(after_chunks=2)
        with pytest.raises(StreamInterruptedError) as error_info:
            list(events)
        assert [event["status"] for event in error_info.value.events] == ["executed"]
        answer = client.runtime.resume(error_info.value.state)
        assert answer.status == "completed"
        assert (client.orders, client.outcomes) == (["o1"], ["SUCCESS"])


@pytest.mark.parametrize(
    ("kind", "message"),
    [("malformed_arguments", "not JSON"), ("unknown_tool", "there is no tool named")],
)
def test_a_broken_call_is_answered_and_the_model_tries_again(
    faults: LLMock, kind: str, message: str
) -> None:
    faults.call_tool("refund", CALL).break_tool_call(kind)
    with Refunds(faults) as client:
        answer = client.runtime.run(**RUN)
        assert answer["execution"]["events"][0]["status"] == "tool_error"
        assert message in answer["execution"]["events"][0]["error"]
        assert client.orders == []
    assert answer.status == "completed"


async def test_an_async_stream_breaks_as_typed(faults: LLMock) -> None:
    faults.call_tool("refund", CALL).truncate(after_chunks=3)
    model = openai.AsyncOpenAI(api_key="key", base_url=faults.base_url())
    bighub = AsyncScriptedBighub()
    async with AsyncBighubOpenAI(openai_client=model, bighub=bighub) as runtime:
        runtime.tool("refund", lambda order: None, parameters_schema=ORDER, strict=False)
        with pytest.raises(StreamInterruptedError):
            async for _ in runtime.run_stream(**RUN):
                pass
        assert bighub.evaluations == []
    await model.close()


ORDER = {"type": "object", "properties": {"order": {"type": "string"}}}
