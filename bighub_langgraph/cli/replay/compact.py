"""The compact form: one trajectory a line, each call with its labels."""

from collections.abc import Mapping
from typing import Any

from bighub_langgraph.cli.replay.recording import Flaw, Proposed, Steps
from bighub_langgraph.cli.replay.trajectory import Trajectory


def is_compact(record: Any) -> bool:
    """Tell a trajectory by its list of calls."""
    return isinstance(record, Mapping) and isinstance(record.get("calls"), list)


def read_compact(record: Any, name: str) -> Steps:
    """Read one trajectory: `{"trajectory_id": ..., "calls": [{"tool", "arguments", ...}]}`."""
    if not is_compact(record):
        yield Flaw('expected an object with a list "calls"')
        return
    trajectory = Trajectory(str(record.get("trajectory_id") or name))
    for number, entry in enumerate(record["calls"], start=1):
        if (reason := _wrong(entry)) is not None:
            yield Flaw(f"call {number}: {reason}")
            continue
        call = trajectory.propose(
            entry["tool"], entry["arguments"], state_changing=entry.get("state_changing")
        )
        yield Proposed(call)
        yield from trajectory.settle(
            call, error=entry.get("error"), as_intended=entry.get("as_intended")
        )
    yield from trajectory.end()


def _wrong(entry: Any) -> str | None:
    """Say what keeps an entry from being a call."""
    if not isinstance(entry, Mapping):
        return "not an object"
    if not isinstance(entry.get("tool"), str) or not entry["tool"]:
        return '"tool" must be the name of a tool'
    if not isinstance(entry.get("arguments"), Mapping):
        return '"arguments" must be an object'
    for label in ("state_changing", "error", "as_intended"):
        if not isinstance(entry.get(label), bool | None):
            return f'"{label}" must be true, false or null'
    return None
