"""A support desk that learns: `bighub-langgraph demo`."""
