"""How the embedded engine judges: pure functions and state, without clock, SQL or network."""
