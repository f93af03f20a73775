"""An OpenAI client and a BIGHUB client that answer at once, or after a set time, in both colours.

The model asks for a number of calls, and is content when it sees their results.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

Waits = Mapping[str, float]
Json = dict[str, Any]

REPLY = {
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


def coloured(colour: str, seconds: float, does: Callable[..., Any]) -> Callable[..., Any]:
    """A function, or a coroutine function, that takes its time and then answers."""

    def blocking(*given: Any, **named: Any) -> Any:
        if seconds:
            time.sleep(seconds)
        return does(*given, **named)

    async def coroutine(*given: Any, **named: Any) -> Any:
        if seconds:
            await asyncio.sleep(seconds)
        return does(*given, **named)

    return coroutine if colour == "async" else blocking


class Model:
    """OpenAI's client as far as adapters use it; counts the calls it wished for."""

    def __init__(self, colour: str, calls: int, waits: Waits) -> None:
        self.wished = self._answers = 0
        self._calls = [_call(number) for number in range(calls)]
        self.responses = SimpleNamespace(create=coloured(colour, waits["model"], self._answer))

    def _answer(self, **asked: Any) -> Any:
        last = asked["input"][-1]
        done = isinstance(last, dict) and last.get("type") == "function_call_output"
        self._answers += 1
        self.wished += 0 if done else len(self._calls)
        return SimpleNamespace(
            id=f"response-{self._answers}",
            output=[] if done else list(self._calls),
            output_text="done" if done else "",
            status="completed",
            usage=None,
        )


def _call(number: int) -> Any:
    return SimpleNamespace(
        type="function_call",
        id=f"item-{number}",
        call_id=f"call-{number}",
        name="refund",
        arguments=json.dumps({"order": str(number), "amount": 2.0 + number}),
        status="completed",
    )


class Bighub:
    """BIGHUB's client as far as adapters use it; counts the outcomes it is told."""

    def __init__(self, colour: str, waits: Waits) -> None:
        self.told = 0
        evaluate = coloured(colour, waits["evaluate"], lambda *_, **__: dict(REPLY))
        self.actions = SimpleNamespace(
            submit=evaluate,
            submit_payload=evaluate,
            evaluate=evaluate,
            ingest_memory=coloured(colour, waits["ingest"], lambda **_: {"accepted": 1}),
            memory_context=coloured(colour, 0, lambda **_: {}),
        )
        self.outcomes = SimpleNamespace(report=coloured(colour, waits["report"], self._report))
        self.approvals = SimpleNamespace()
        self.close = self.aclose = coloured(colour, 0, lambda: None)

    def _report(self, **_: Any) -> Json:
        self.told += 1
        return {"ok": True}
