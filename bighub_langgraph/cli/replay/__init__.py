"""Shadow mode over recorded runs: `bighub-langgraph replay`."""
