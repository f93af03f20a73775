"""Records one run of `bighub-langgraph demo` in the compact form that `replay` reads.

    python notebooks/record_sample.py notebooks/support_desk_runs.jsonl

A scripted model replaces the LLM, and the late outcomes are part of the script: the sample shows
how recordings look and lets the notebook run; it measures nothing.
"""

import json
import sys
from pathlib import Path
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver

from bighub_langgraph import BighubGuard, create_guarded_agent
from bighub_langgraph.cli.demo.scenario import REQUESTS, create_shop
from bighub_langgraph.cli.demo.scripted_model import scripted_model
from bighub_langgraph.cli.demo.shop import POLICIES, create_tools
from bighub_langgraph.cli.demo.support_desk import DemoCall, serve_request


def record_runs() -> list[dict[str, Any]]:
    """Every request of the demo with the calls it led to and their outcomes."""
    runs: list[dict[str, Any]] = []
    with BighubGuard(bighub="local", domain="shop", tools=POLICIES) as guard:
        agent = create_guarded_agent(
            scripted_model, create_tools(create_shop()), guard, checkpointer=InMemorySaver()
        )
        for number, request in enumerate(REQUESTS, start=1):
            name = f"desk-{number}"
            served = serve_request(agent, number, request, thread_id=name, approve=lambda _: True)
            # Calls of one turn end in any order: reads first, then by their fields.
            calls = sorted(
                served, key=lambda call: (call.verdict is not None, call.tool, str(call.arguments))
            )
            compact = [to_compact(call) for call in calls]
            runs.append({"trajectory_id": name, "request": request.text, "calls": compact})
    return runs


def to_compact(call: DemoCall) -> dict[str, Any]:
    """One call with its labels."""
    state_changing = call.verdict is not None
    return {
        "tool": call.tool,
        "arguments": dict(call.arguments),
        "state_changing": state_changing,
        "error": call.outcome == "FAILURE",
        "as_intended": not call.is_bad if state_changing else None,
    }


if __name__ == "__main__":
    lines = [json.dumps(run) for run in record_runs()]
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n", encoding="utf-8")
