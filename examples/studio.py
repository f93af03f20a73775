"""The demo's agent as a graph for a LangGraph server: `langgraph dev` finds it in langgraph.json.

Importing this module opens the journal: `calls.db` in the working directory, or the database in
BIGHUB_JOURNAL. BIGHUB_DEMO_MODEL selects a real model instead of the scripted one. The server
provides the checkpointer.
"""

import os

from bighub_langgraph import BighubGuard, Journal, create_guarded_agent
from bighub_langgraph.cli.demo.scripted_model import scripted_model
from bighub_langgraph.cli.demo.shop import create_policies, create_tools
from bighub_langgraph.cli.demo.world import create_world

shop = create_world(seed=0).shop
guard = BighubGuard(
    bighub="local",
    actor="support_desk",
    domain="support",
    tools=create_policies(shop),
    journal=Journal(os.environ.get("BIGHUB_JOURNAL", "sqlite:///calls.db")),
)
model = os.environ.get("BIGHUB_DEMO_MODEL")
chat_model = f"openai:{model}" if model else scripted_model
graph = create_guarded_agent(chat_model, create_tools(shop), guard, name="desk")
