"""The journal: what was run (the ledger) and what is not yet told (the outbox)."""
