"""The guard in LangGraph: nodes, routing, a ready graph, and one line for graphs that exist."""
