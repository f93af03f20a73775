"""The `replay` command: evaluate recorded agent runs in shadow mode."""
