"""Records one run of `bighub-langgraph demo` in the compact form that `replay` reads.

    python notebooks/record_sample.py notebooks/support_desk_runs.jsonl

A scripted model stands in for an LLM there, and the troubles are part of the script: the sample
shows how recordings look and lets the notebook run; it measures nothing.
"""

import json
import sys
from pathlib import Path
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver

from bighub_langgraph import BighubGuard, create_guarded_agent
from bighub_langgraph.cli.demo.models import chat_model
from bighub_langgraph.cli.demo.requests import REQUESTS
from bighub_langgraph.cli.demo.seen import Seen
from bighub_langgraph.cli.demo.stock import open_shop
from bighub_langgraph.cli.demo.story import story
from bighub_langgraph.cli.demo.tools import POLICIES, shop_tools


def recorded() -> list[dict[str, Any]]:
    """Every request of the demo with the calls it led to and how they ended."""
    runs: list[dict[str, Any]] = [
        {"trajectory_id": f"desk-{number}", "request": request.text, "calls": []}
        for number, request in enumerate(REQUESTS, start=1)
    ]
    with BighubGuard(bighub="local", domain="shop", tools=POLICIES) as guard:
        saver = InMemorySaver()
        agent = create_guarded_agent(
            chat_model(None), shop_tools(open_shop()), guard, checkpointer=saver
        )
        # A call comes out when it has ended; those of one turn in an order of their own.
        told = story(REQUESTS, agent=agent, guard=guard, approve=lambda *_: True, run="sample")
        seen = [step for step in told if isinstance(step, Seen)]
    for call in sorted(seen, key=lambda one: (one.request, one.verdict is not None, str(one))):
        runs[call.request - 1]["calls"].append(compact(call))
    return runs


def compact(call: Seen) -> dict[str, Any]:
    """One call with its labels."""
    changes = call.verdict is not None
    return {
        "tool": call.tool,
        "arguments": dict(call.arguments),
        "state_changing": changes,
        "error": call.outcome == "FAILURE",
        "as_intended": not call.bad if changes else None,
    }


if __name__ == "__main__":
    lines = [json.dumps(run) for run in recorded()]
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n", encoding="utf-8")
