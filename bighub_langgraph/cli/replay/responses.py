"""OpenAI Responses items: `function_call`, answered by `function_call_output`."""

from collections.abc import Mapping, Sequence
from typing import Any

from bighub_langgraph.cli.replay.recording import Flaw, Steps
from bighub_langgraph.cli.replay.results import CallsById, name_of
from bighub_langgraph.cli.replay.trajectory import Trajectory

CALLS = ("function_call", "function_call_output")


def is_responses(record: Any) -> bool:
    """Tell a conversation by its items: one of them calls a function or answers a call."""
    return any(isinstance(item, Mapping) and item.get("type") in CALLS for item in _items(record))


def read_responses(record: Any, name: str) -> Steps:
    """Read a list of items, or an object with items under `input`, `output` or both."""
    items = _items(record)
    if not items:
        yield Flaw('expected a list of items, or an object with a list "input" or "output"')
        return
    trajectory = Trajectory(name_of(record) or name)
    calls = CallsById(trajectory)
    for number, item in enumerate(items, start=1):
        if not isinstance(item, Mapping):
            yield Flaw(f"item {number}: not an object")
        elif item.get("type") == "function_call":
            yield from calls.propose(item.get("call_id"), item.get("name"), item.get("arguments"))
        elif item.get("type") == "function_call_output":
            yield from calls.settle(item.get("call_id"), item, item.get("output"))
    yield from trajectory.end()


def _items(record: Any) -> Sequence[Any]:
    if isinstance(record, list):
        return record
    if not isinstance(record, Mapping):
        return ()
    # `input` is what the model was given, so it comes before what it answered.
    parts = (record.get(key) for key in ("input", "output"))
    return [item for part in parts if isinstance(part, list) for item in part]
