"""LangGraph: nodes, the ready graph, `add_guard`, guarded tools.

Importing it lets journals store the outputs of LangGraph's tools.
"""

from bighub_langgraph.graph import journal_codec as journal_codec
