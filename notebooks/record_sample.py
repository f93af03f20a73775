"""Records requests of `bighub-langgraph demo` in the compact form that `replay` reads.

    python notebooks/record_sample.py notebooks/support_desk_runs.jsonl

A scripted model replaces the LLM, and the customers are simulated.
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver

from bighub_langgraph import BighubGuard, create_guarded_agent
from bighub_langgraph.cli.demo.scripted_model import scripted_model
from bighub_langgraph.cli.demo.shop import create_policies, create_tools
from bighub_langgraph.cli.demo.support_desk import (
    DemoCall,
    SimulatedPerson,
    decide_each,
    serve_request,
)
from bighub_langgraph.cli.demo.world import create_world

DAYS = 2


def record_runs(days: int = DAYS) -> list[dict[str, Any]]:
    """Record the requests of some days of the demo's world, with the calls they led to.

    Every call is approved, so each one has an outcome.
    """
    runs: list[dict[str, Any]] = []
    world = create_world(seed=0, days=days)
    policies, tools = create_policies(world.shop), create_tools(world.shop)
    respond = partial(decide_each, SimulatedPerson(None, approves_all=True))
    with BighubGuard(bighub="local", domain="shop", tools=policies) as guard:
        agent = create_guarded_agent(scripted_model, tools, guard, checkpointer=InMemorySaver())
        for request in world.requests:
            world.shop.now = request.at
            name = f"desk-{request.number}"
            calls = serve_request(agent, request, thread_id=name, respond=respond)
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
        "error": call.status == "tool_error",
        "as_intended": not call.is_bad if state_changing else None,
    }


if __name__ == "__main__":
    lines = [json.dumps(run) for run in record_runs()]
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n", encoding="utf-8")
