"""Guard an agent's tool calls with BIGHUB: in LangGraph, in LangChain and for plain OpenAI agents."""

__version__ = "0.1.0"
