"""The programs that measure. Each runs in its own interpreter and prints its samples as JSON."""
