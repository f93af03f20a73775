"""The examples of the published adapter's page, as they stand there but for the import."""

import asyncio
import json
import textwrap
from collections.abc import Iterator
from typing import Any

import openai
import pytest

import bighub_langgraph
from bighub_langgraph.core.errors import EngineAuthError
from tests.openai_answers import Answer, calls, says
from tests.openai_bighub import PROCEED, REVIEW, BighubServer, ScriptedBighub
from tests.openai_runtime import runtime
from tests.openai_server import ResponsesServer

Json = dict[str, Any]

REPLY: Json = {
    **PROCEED,
    "recommendation_confidence": "medium",
    "decision_intelligence": {"rationale": "like others", "trajectory_health": "healthy"},
}

BEFORE = """
import os
from bighub_langgraph import AsyncBighubOpenAI, BighubOpenAI

def refund_payment(order_id: str, amount: float) -> dict:
    return {"ok": True, "order_id": order_id, "amount": amount}
"""

QUICKSTART = """
runtime = BighubOpenAI(
    openai_api_key=os.getenv("OPENAI_API_KEY"),
    bighub_api_key=os.getenv("BIGHUB_API_KEY"),
    actor="AI_AGENT_001",
    domain="customer_transactions",
)

runtime.tool(
    "refund_payment",
    refund_payment,
    value_from_args=lambda a: a["amount"],
)
"""

RUN = """
response = runtime.run(
    messages=[{"role": "user", "content": "Refund order ord_123 for 199.99"}],
    model="gpt-4.1",
)

last = response["execution"]["last"]
print(last["decision"]["recommendation"])             # proceed, proceed_with_caution, ...
print(last["decision"]["recommendation_confidence"])   # high, medium, low
print(last["decision"]["risk_score"])                  # 0.0 - 1.0
print(last["status"])                                  # executed, blocked, approval_required
"""

CONSTRUCTOR = """
runtime = BighubOpenAI(
    # Required
    bighub_api_key="bh_live_xxx",
    actor="AI_AGENT_001",
    domain="customer_transactions",

    # OpenAI (one of these is required)
    openai_api_key="sk-xxx",           # or pass your own client:
    openai_client=my_openai_client,    # pre-configured OpenAI() instance

    # Decision behavior
    decision_mode="submit",            # "submit" (default) or "submit_payload"
    fail_mode="closed",                # "closed" = block on BIGHUB errors, "open" = allow on errors
    max_tool_rounds=8,                 # max consecutive tool call rounds

    # Outcome & memory (automatic)
    outcome_reporting=True,            # auto-report tool execution results
    memory_enabled=True,               # ingest decision memory events
    on_decision=my_callback,           # called after each BIGHUB decision

    # Provider resilience
    provider_timeout_seconds=30.0,
    provider_max_retries=2,
    provider_retry_backoff_seconds=0.25,
    provider_circuit_breaker_failures=0,   # 0 = disabled
    evaluate_retries=2,
)
"""

TOOLS = """
runtime.tool("send_email", send_email)

runtime.tool(
    "transfer_funds",
    transfer_funds,
    value_from_args=lambda a: a["amount"],
    target_from_args=lambda a: a["recipient_id"],
)

runtime.tool(
    "delete_account",
    delete_account,
    domain="account_management",       # override adapter-level domain
    actor="admin_agent",               # override adapter-level actor
    action_name="account_deletion",    # custom action name for BIGHUB
    decision_mode="submit_payload",    # per-tool decision mode
    metadata_from_args=lambda a: {"priority": "high"},
)

runtime.tool(
    "approve_loan",
    approve_loan,
    parameters_schema={
        "type": "object",
        "properties": {
            "loan_id": {"type": "string"},
            "amount": {"type": "number", "minimum": 0},
        },
        "required": ["loan_id", "amount"],
        "additionalProperties": False,
    },
    strict=True,
)

runtime.register_tool(
    name="refund_payment",
    fn=refund_payment,
    description="Process a customer refund",
    parameters_schema=SCHEMA,  # the page has an ellipsis here
    value_from_args=lambda a: a["amount"],
    target_from_args=lambda a: a["order_id"],
    action_name="refund",
    domain="payments",
    actor="refund_bot",
    metadata_from_args=lambda a: {"source": "support_ticket"},
    decision_mode="submit",
    strict=True,
)
"""

STREAM_SCRIPT = """
for event in runtime.run_stream(
    messages=[{"role": "user", "content": "Refund order ord_123 for 199.99"}],
    model="gpt-4.1",
):
    if event["type"] == "llm_delta":
        print(event["delta"], end="")
    elif event["type"] == "execution_event":
        print("\\n[decision]", event["event"]["tool"], event["event"]["status"])
    elif event["type"] == "final_response":
        print("\\nDone:", event["response"]["output_text"])
"""

ASYNC = """
async with AsyncBighubOpenAI(
    openai_api_key=os.getenv("OPENAI_API_KEY"),
    bighub_api_key=os.getenv("BIGHUB_API_KEY"),
    actor="AI_AGENT_001",
    domain="customer_transactions",
) as runtime:
    runtime.tool("refund_payment", refund_payment, value_from_args=lambda a: a["amount"])

    response = await runtime.run(
        messages=[{"role": "user", "content": "Refund order ord_123 for 199.99"}],
        model="gpt-4.1",
    )

    # Async streaming
    async for event in runtime.run_stream(
        messages=[{"role": "user", "content": "Refund order ord_456"}],
        model="gpt-4.1",
    ):
        if event["type"] == "llm_delta":
            print(event["delta"], end="")
"""

APPROVAL = """
result = runtime.run_with_approval(
    messages=[{"role": "user", "content": "Refund order ord_123 for 5000"}],
    model="gpt-4.1",
    on_approval_required=lambda ctx: {
        "resolution": "approved",
        "comment": "approved by on-call",
    },
)
"""

CONTEXT_MANAGER = """
with BighubOpenAI(
    openai_api_key=os.getenv("OPENAI_API_KEY"), bighub_api_key=os.getenv("BIGHUB_API_KEY")
) as runtime:
    runtime.tool("refund_payment", refund_payment)
    response = runtime.run(messages="Refund order ord_123 for 12", model="gpt-4.1")
"""


def refund_answer(body: Json) -> Answer:
    """A model that asks for a refund once and then says so."""
    if body["input"][-1].get("type") == "function_call_output":
        return says("Refunded.")
    return calls(("refund_payment", {"order_id": "ord_123", "amount": 199.99}))


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ResponsesServer]:
    with ResponsesServer() as server:
        server.otherwise = refund_answer
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server


@pytest.fixture
def bighub(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedBighub]:
    with BighubServer(ScriptedBighub(REPLY)) as server:
        monkeypatch.setenv("BIGHUB_API_KEY", "bh-test")
        monkeypatch.setenv("BIGHUB_BASE_URL", server.url)
        yield server.bighub


def run_parts(*parts: str, **names: Any) -> Json:
    scope: Json = dict(names)
    for part in (BEFORE, *parts):
        exec(part, scope)  # the page's own words
    if (runtime := scope.get("runtime")) is not None and not hasattr(runtime, "__aenter__"):
        runtime.close()
    return scope


def test_quickstart(
    model: ResponsesServer, bighub: ScriptedBighub, capsys: pytest.CaptureFixture[str]
) -> None:
    response = run_parts(QUICKSTART, RUN)["response"]
    assert capsys.readouterr().out.split() == ["proceed", "medium", "0.1", "executed"]
    assert response["output_text"] == "Refunded."
    [request] = bighub.evaluations
    assert (request["action"], request["value"], request["actor"], request["domain"]) == (
        "refund_payment",
        199.99,
        "AI_AGENT_001",
        "customer_transactions",
    )
    assert [outcome["status"] for outcome in bighub.reports] == ["SUCCESS"]
    assert [memory["source"] for memory in bighub.memories] == ["openai_adapter"]


def test_response_shape(model: ResponsesServer, bighub: ScriptedBighub) -> None:
    response = run_parts(QUICKSTART, RUN)["response"]
    assert {"llm_response", "execution"} <= response.keys()
    last = response["execution"]["last"]
    intelligence = {**INTELLIGENCE, **REPLY["decision_intelligence"]}
    expected = {
        **REPLY,
        "request_id": "req_1",
        "reason": None,
        "decision_intelligence": intelligence,
    }
    assert last["decision"] == expected
    assert json.loads(json.dumps(response)) == response


def test_constructor_parameters(model: ResponsesServer, bighub: ScriptedBighub) -> None:
    events: list[Json] = []
    client = openai.OpenAI()
    register = 'runtime.tool("refund_payment", refund_payment)'
    run_parts(CONSTRUCTOR, register, RUN, my_openai_client=client, my_callback=events.append)
    assert [event["status"] for event in events] == ["executed"]
    client.close()


def send_email(to: str, body: str) -> str:
    """Send an email."""
    return "sent"


def transfer_funds(recipient_id: str, amount: float) -> str:
    """Transfer funds."""
    return "transferred"


def delete_account(account_id: str) -> str:
    """Delete an account."""
    return "deleted"


def approve_loan(loan_id: str, amount: float) -> str:
    """Approve a loan."""
    return "approved"


SCHEMA = {
    "type": "object",
    "properties": {"order_id": {"type": "string"}, "amount": {"type": "number"}},
    "required": ["order_id", "amount"],
    "additionalProperties": False,
}


def test_registering_tools(model: ResponsesServer, bighub: ScriptedBighub) -> None:
    model.script(
        calls(
            ("send_email", {"to": "ann", "body": "hi"}),
            ("transfer_funds", {"recipient_id": "bob", "amount": 5}),
            ("delete_account", {"account_id": "a1"}),
            ("approve_loan", {"loan_id": "l1", "amount": 9}),
            ("refund_payment", {"order_id": "o1", "amount": 3}),
        )
    )
    tools = [send_email, transfer_funds, delete_account, approve_loan]
    names = {tool.__name__: tool for tool in tools}
    response = run_parts(QUICKSTART, TOOLS, RUN, SCHEMA=SCHEMA, **names)["response"]
    assert [event["output"] for event in response["execution"]["events"]][:4] == [
        "sent",
        "transferred",
        "deleted",
        "approved",
    ]
    by_action = {request["action"]: request for request in bighub.evaluations}
    assert by_action["transfer_funds"]["target"] == "bob"
    assert by_action["account_deletion"]["domain"] == "account_management"
    assert by_action["account_deletion"]["context"]["priority"] == "high"
    assert by_action["refund"]["actor"] == "refund_bot"
    assert "value" not in by_action["send_email"]


def test_streaming(
    model: ResponsesServer, bighub: ScriptedBighub, capsys: pytest.CaptureFixture[str]
) -> None:
    run_parts(QUICKSTART, STREAM_SCRIPT)
    output = capsys.readouterr().out
    assert output == "\n[decision] refund_payment executed\nRefunded.\nDone: Refunded.\n"


def test_async(
    model: ResponsesServer, bighub: ScriptedBighub, capsys: pytest.CaptureFixture[str]
) -> None:
    scope = run_parts(f"async def main():\n{textwrap.indent(ASYNC, '    ')}\n    return response")
    assert asyncio.run(scope["main"]())["execution"]["last"]["status"] == "executed"
    assert capsys.readouterr().out == "Refunded."
    assert [outcome["status"] for outcome in bighub.reports] == ["SUCCESS", "SUCCESS"]


def test_approvals(model: ResponsesServer, bighub: ScriptedBighub) -> None:
    bighub._reply = REVIEW
    result = run_parts(QUICKSTART, APPROVAL)["result"]
    assert result["output_text"] == "Refunded."
    assert result["approval_loop"]["resumed"] is True
    assert result["approval_loop"]["approval"]["comment"] == "approved by on-call"
    assert [(item["request_id"], item["resolution"]) for item in bighub.resolutions] == [
        ("req_1", "approved")
    ]
    assert [outcome["status"] for outcome in bighub.reports] == ["SUCCESS"]


def test_context_manager(model: ResponsesServer, bighub: ScriptedBighub) -> None:
    assert run_parts(CONTEXT_MANAGER)["response"].status == "completed"


DOCUMENTED_KEYS = {
    *("recommendation", "recommendation_confidence", "risk_score", "enforcement_mode"),
    *("decision_intelligence", "request_id", "reason"),
}
INTELLIGENCE = dict.fromkeys(("rationale", "evidence_status", "trajectory_health", "alternatives"))


def refuse_key(_: Json) -> Json:
    raise EngineAuthError("the key is refused")


@pytest.mark.parametrize(
    ("reply", "tool"),
    [
        (PROCEED, "pay"),
        (REVIEW, "pay"),
        ({"allowed": True, "result": "allowed", "confidence": 0.9, "risk": 0.2}, "pay"),
        ({**PROCEED, "decision_intelligence": "none"}, "pay"),
        (refuse_key, "pay"),
        (PROCEED, "look"),
        (PROCEED, "unknown"),
    ],
)
def test_a_decision_has_all_documented_keys_whatever_became_of_the_call(
    reply: Any, tool: str
) -> None:
    with ResponsesServer() as server, runtime("blocking", server, reply) as client:
        server.script(calls((tool, {})))
        client.tool("pay", lambda: None)
        client.tool("look", lambda: None, read_only=True)
        decision = client.run()["execution"]["last"]["decision"]
        check = client.client.check_tool("pay", {})
    for part in (decision, check):
        assert part.keys() >= DOCUMENTED_KEYS
        assert part["decision_intelligence"].keys() >= INTELLIGENCE.keys()
    if reply is refuse_key:
        assert decision["recommendation"] == "do_not_proceed"
        assert decision["recommendation_confidence"] is None
    if isinstance(reply, dict) and "confidence" in reply:
        assert (decision["recommendation_confidence"], decision["risk_score"]) == (0.9, 0.2)


def test_every_public_name_of_the_published_package_can_be_imported() -> None:
    names = """
        AdapterConfigurationError AsyncBighubOpenAI AsyncGuardedOpenAI BighubOpenAI GuardedOpenAI
        GuardedToolResult ProviderResponseError ToolExecutionEvent ToolResult __version__
    """
    for name in names.split():
        assert getattr(bighub_langgraph, name)
