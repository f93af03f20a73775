"""Programs that measure: each runs in an interpreter of its own and prints its samples as JSON."""
