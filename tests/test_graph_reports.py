"""What is told of a call arrives, whatever the client, the values and the end of the program."""

import json
import subprocess
import sys
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from bighub_langgraph import BighubGuard, Journal, ToolPolicy, create_guarded_agent
from bighub_langgraph.core.jsonable import to_jsonable
from tests.agents import ScriptedModel, asks_for, call
from tests.calls import reply
from tests.engines import ScriptedBighub


class Sparse(ScriptedBighub):
    """A client that has neither an approval queue nor a memory."""

    approvals = None  # type: ignore[assignment]  # what a look-alike may lack
    ingest_memory = None  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        del self.approvals


def pay(amount: float, notes: list[str] | None = None) -> str:
    """Pay."""
    return f"paid {amount} {notes}"


def run_payments(guard: BighubGuard, rounds: int = 1, **arguments: Any) -> Any:
    """Let an agent pay, once a round."""
    turns = [asks_for(call("pay", f"call-{n}", amount=n, **arguments)) for n in range(rounds)]
    agent = create_guarded_agent(
        ScriptedModel(script=[*turns, "Done."]), [pay], guard, checkpointer=False
    )
    return agent.invoke({"messages": [HumanMessage("pay")]})["messages"]


def test_a_client_without_a_memory_gets_the_outcomes_all_the_same() -> None:
    bighub = Sparse()
    with BighubGuard(bighub=bighub) as guard:
        run_payments(guard, rounds=2)
        assert guard.flush() == 0
    assert bighub.statuses == ["SUCCESS", "SUCCESS"]


def test_a_redaction_that_raises_hides_everything_and_loses_nothing() -> None:
    def broken(value: Any) -> Any:
        if isinstance(value, str):
            raise TypeError("no texts, please")
        return value

    bighub = ScriptedBighub()
    with BighubGuard(bighub=bighub, redact=broken) as guard:
        run_payments(guard)
        guard.flush()
    [outcome] = bighub.reported_outcomes
    assert (outcome["status"], outcome["description"]) == ("SUCCESS", "[redacted]")


def test_a_reply_that_is_not_quite_json_is_kept_as_json(tmp_path: Path) -> None:
    bighub = ScriptedBighub({"pay": reply(at=datetime(2026, 11, 1, tzinfo=UTC))})
    journal = Journal(f"sqlite:///{tmp_path / 'calls.db'}")
    with BighubGuard(bighub=bighub, journal=journal) as guard:
        run_payments(guard)
        guard.flush()
    journal.close()
    assert bighub.statuses == ["SUCCESS"]
    assert bighub.rounds[0]["events"][0]["decision"]["at"] == "2026-11-01T00:00:00+00:00"


def test_a_slow_bighub_hears_everything_before_the_guard_is_closed() -> None:
    class Slow(ScriptedBighub):
        def report(self, **outcome: Any) -> None:
            time.sleep(0.2)
            super().report(**outcome)

    bighub = Slow()
    with BighubGuard(bighub=bighub) as guard:
        run_payments(guard, rounds=3)
    assert bighub.statuses == ["SUCCESS"] * 3


FORGOTTEN = """
import time
from tests.engines import ScriptedBighub
from tests.test_graph_reports import run_payments
from bighub_langgraph import BighubGuard

class Slow(ScriptedBighub):
    report_batch = None  # one by one, however many wait

    def report(self, **outcome):
        time.sleep(0.3)
        print("told", outcome["status"], flush=True)

def forgetful():
    run_payments(BighubGuard(bighub=Slow()), rounds=2)

forgetful()
"""


def test_a_guard_that_nobody_closed_tells_the_rest_when_the_program_ends() -> None:
    root = Path(__file__).parent.parent
    ran = subprocess.run(
        [sys.executable, "-c", FORGOTTEN], capture_output=True, text=True, check=True, cwd=root
    )
    assert ran.stdout.splitlines() == ["told SUCCESS", "told SUCCESS"]


def test_what_the_engine_says_in_an_exception_keeps_no_secrets() -> None:
    bighub = ScriptedBighub(
        ConnectionError("https://user:hunter2pw@host key sk-live-abcdefghijklmnop")
    )
    with BighubGuard(bighub=bighub, retries=0) as guard:
        messages = run_payments(guard)
    text = str([message.content for message in messages])
    assert "hunter2pw" not in text
    assert "sk-live" not in text


def test_a_policy_that_only_looks_cannot_change_what_the_tool_is_given() -> None:
    policy = ToolPolicy(value_from_args=lambda a: float(len(a["notes"].pop())))
    with BighubGuard(bighub=ScriptedBighub(), tools={"pay": policy}) as guard:
        messages = run_payments(guard, notes=["a", "bb"])
    assert messages[2].content == "paid 0.0 ['a', 'bb']"


class Unsayable(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("closed")


@pytest.mark.parametrize(
    "value", [10**5000, "half \udcff", {"k\udcff": 1}, [Unsayable(a=1)]], ids=range(4)
)
def test_any_value_can_be_said_in_json_and_utf_8(value: Any) -> None:
    json.dumps(to_jsonable(value), ensure_ascii=False).encode()


HIDE: ContextVar[str] = ContextVar("HIDE", default="")


def test_a_redaction_hides_what_is_to_be_hidden_where_the_call_was_made() -> None:
    def hide(value: Any) -> Any:
        name = HIDE.get()
        if isinstance(value, dict):
            return {key: hide(item) for key, item in value.items()}
        if isinstance(value, list):
            return [hide(item) for item in value]
        return value.replace(name, "***") if isinstance(value, str) and name else value

    bighub = ScriptedBighub()
    with BighubGuard(bighub=bighub, redact=hide) as guard:
        token = HIDE.set("Ada")
        run_payments(guard, notes=["Ada"])
        HIDE.reset(token)
    assert len(bighub.reported_outcomes) == 1
    assert "Ada" not in str([bighub.reported_outcomes, bighub.rounds])
