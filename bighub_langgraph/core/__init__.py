"""Words and rules of a guarded tool call: pure modules, the ports, and the flows over them."""
