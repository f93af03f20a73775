"""Processes that are killed, databases and services that go away: what the promises stand on."""
