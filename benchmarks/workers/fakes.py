"""Sync and async fakes of the OpenAI and BIGHUB clients that respond after a set time, or at once.

The model requests a number of tool calls, and finishes when it sees their results.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

Waits = Mapping[str, float]
Json = dict[str, Any]

RESPONSE = {
    "request_id": "request",
    "validation_id": "validation",
    "recommendation": "proceed",
    "recommendation_confidence": 0.9,
    "risk_score": 0.1,
    "enforcement_mode": "advisory",
    "decision_signal": 0.9,
    "confidence": 0.9,
    "rationale": "fine",
    "allowed": True,
    "result": "allowed",
    "reason": "ok",
    "warnings": [],
}


def make_method(api: str, seconds: float, respond: Callable[..., Any]) -> Callable[..., Any]:
    """A function, or a coroutine function for "async", that waits and then responds."""

    def blocking(*args: Any, **kwargs: Any) -> Any:
        if seconds:
            time.sleep(seconds)
        return respond(*args, **kwargs)

    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        if seconds:
            await asyncio.sleep(seconds)
        return respond(*args, **kwargs)

    return coroutine if api == "async" else blocking


class FakeOpenAI:
    """The part of OpenAI's client that adapters use; counts the tool calls that it requests."""

    def __init__(self, api: str, calls: int, waits: Waits) -> None:
        self.requested = self._responses = 0
        self._calls = [_build_call(number) for number in range(calls)]
        self.responses = SimpleNamespace(create=make_method(api, waits["model"], self._respond))

    def _respond(self, **request: Any) -> Any:
        last = request["input"][-1]
        done = isinstance(last, dict) and last.get("type") == "function_call_output"
        self._responses += 1
        self.requested += 0 if done else len(self._calls)
        return SimpleNamespace(
            id=f"response-{self._responses}",
            output=[] if done else list(self._calls),
            output_text="done" if done else "",
            status="completed",
            usage=None,
        )


def _build_call(number: int) -> Any:
    return SimpleNamespace(
        type="function_call",
        id=f"item-{number}",
        call_id=f"call-{number}",
        name="refund",
        arguments=json.dumps({"order": str(number), "amount": 2.0 + number}),
        status="completed",
    )


class FakeBighub:
    """The part of BIGHUB's client that adapters use."""

    def __init__(self, api: str, waits: Waits) -> None:
        evaluate = make_method(api, waits["evaluate"], lambda *_, **__: dict(RESPONSE))
        self.actions = SimpleNamespace(
            submit=evaluate,
            submit_payload=evaluate,
            evaluate=evaluate,
            ingest_memory=make_method(api, waits["ingest"], lambda **_: {"accepted": 1}),
            memory_context=make_method(api, 0, lambda **_: {}),
        )
        self.outcomes = SimpleNamespace(
            report=make_method(api, waits["report"], lambda **_: {"ok": True})
        )
        self.approvals = SimpleNamespace()
        self.close = self.aclose = make_method(api, 0, lambda: None)
