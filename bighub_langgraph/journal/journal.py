"""The journal a user names: a database's URL, or memory."""

from bighub_langgraph.journal.memory import MemoryJournal
from bighub_langgraph.journal.sql import SqlJournal


class Journal(SqlJournal):
    """What we ran and what is not yet told, in a database.

    `Journal("sqlite:///calls.db")` serves the processes of one machine,
    `Journal("postgresql+psycopg://user@host/name")` those of many.
    """

    @staticmethod
    def in_memory() -> MemoryJournal:
        """A journal that ends with the process: no crash safety, chosen in so many words."""
        return MemoryJournal(chosen=True)
