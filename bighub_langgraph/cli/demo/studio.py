"""The demo's agent as a graph for a LangGraph server: `langgraph dev` finds it in langgraph.json.

Importing this module opens the journal: `calls.db` in the working directory, or the database that
BIGHUB_JOURNAL names. BIGHUB_DEMO_MODEL names a real model; else the demo's script plays its part.
The server brings the checkpointer.
"""

import os

from bighub_langgraph import BighubGuard, Journal, create_guarded_agent
from bighub_langgraph.cli.demo.models import chat_model
from bighub_langgraph.cli.demo.stock import open_shop
from bighub_langgraph.cli.demo.tools import POLICIES, shop_tools

guard = BighubGuard(
    bighub="local",
    actor="support_desk",
    domain="support",
    tools=POLICIES,
    journal=Journal(os.environ.get("BIGHUB_JOURNAL", "sqlite:///calls.db")),
)
graph = create_guarded_agent(
    chat_model(os.environ.get("BIGHUB_DEMO_MODEL")), shop_tools(open_shop()), guard, name="desk"
)
