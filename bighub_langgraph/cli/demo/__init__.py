"""The `demo` command: the agent of a shop's support desk, guarded by an engine that learns."""
