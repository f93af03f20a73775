"""BIGHUB's SDK, and whatever has the same methods, behind the engine's port."""
