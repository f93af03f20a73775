"""The journal: a record of every call, and the outbox of what is not delivered yet."""
